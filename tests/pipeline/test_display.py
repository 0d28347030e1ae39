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
