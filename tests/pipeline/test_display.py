"""What is seen of a run as it goes."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from beam_jobs import progress
from beam_jobs.progress import Progress
from pipeline.display import LiveWatcher


@pytest.fixture(params=[True, False], ids=["terminal", "elsewhere"])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(file=io.StringIO(), force_terminal=request.param, width=60)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return Text.from_ansi(console.file.getvalue()).plain


def test_a_line_stays_and_a_note_does_not(console: Console) -> None:
    watcher = LiveWatcher(console, "flights.yaml")
    watcher.started("run-1", ["departures"], [])
    with watcher.step("departures") as listener, progress.listening(listener):
        progress.told(
            Progress(line="A worker failed, the service tries again: [bold]no[/] such thing, in 'a/b.parquet'")
        )
        progress.told(Progress(read=10, note="running, 2 workers"))
    said = [line for line in shown(console).splitlines() if "A worker failed" in line]
    assert len(said) == 1
    assert "[bold]no[/] such thing, in 'a/b.parquet'" in said[0]  # in one line, and no markup
    assert ("running, 2 workers" in shown(console)) == console.is_terminal


class Terminal(io.StringIO):
    """Standard input on which somebody has typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "leaves"), [("\n", True), ("leave\n", True), ("cancel\n", False), ("", True)])
def test_who_stops_a_process_at_a_terminal_is_asked_about_the_job(
    monkeypatch: pytest.MonkeyPatch, typed: str, leaves: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert LiveWatcher(Console(force_terminal=True, file=io.StringIO()), "x").leaves("departures", "LINK") is leaves


def test_where_nobody_can_answer_a_job_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("cancel\n"))
    told = io.StringIO()
    assert LiveWatcher(Console(file=told), "x").leaves("departures", "LINK")
    assert "goes on with step 'departures' (LINK)" in told.getvalue()
