"""What people see of a plan, of a run as it goes, and of a run that is over."""

import dataclasses
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from beam_jobs.progress import Progress
from pipeline import interruption
from pipeline.planning import Plan
from pipeline.runs import Run, Step
from pipeline.summary import candidate_rows, decision_lines, feature_rows, metric_rows, warnings
from pipeline.terminal import MARKS, ledger_words, table

_LEAVE_OR_CANCEL = click.Choice(["leave", "cancel"])


class LiveWatcher:
    """Prints a line a finished step, and under them, on a terminal, how far the running one is."""

    def __init__(self, console: Console, config: str) -> None:
        self.console, self.config = console, config

    def started(self, run: str, steps: Sequence[str], finished: Collection[str]) -> None:
        """Names the run."""
        self.width = max(len(step) for step in steps)
        left = len(steps) - len(finished)
        words = f" goes on: {left} of {len(steps)} steps" if finished else f": {len(steps)} steps"
        self.console.print(f"Run [bold]{run}[/]{words} of {escape(self.config)}")

    def note(self, text: str) -> None:
        """Prints it."""
        self.console.print(escape(text), style="yellow", soft_wrap=True)

    def leaves(self, step: str, link: str) -> bool:
        """Asks on a terminal; elsewhere nobody answers, and nothing that was paid for is thrown away unasked."""
        self.note(f"The service goes on with step '{step}' ({link}).")
        if not (self.console.is_terminal and sys.stdin.isatty()):
            return True
        with interruption.asking():
            try:
                return (
                    click.prompt("Leave it running, or cancel it?", type=_LEAVE_OR_CANCEL, default="leave") == "leave"
                )
            except (click.Abort, KeyboardInterrupt):
                return True

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[Progress], None]]:
        """Shows rows, rejects, rate and time left while the step runs; lines that stay are printed above."""
        state = _RunningStep(name, self.width)

        def hear(progress: Progress) -> None:
            state.add(progress)
            if progress.line:
                self.note(f"  {progress.line}")

        live = (
            Live(state, console=self.console, refresh_per_second=8, transient=True)
            if self.console.is_terminal
            else nullcontext()
        )
        with live:
            yield hear

    def finished(self, name: str, step: Step, before: bool = False) -> None:
        """Prints the step's last line."""
        if step.is_resolver:
            return
        seconds = "reused " if step.state == "CACHED" else f"{step.seconds:5.1f} s"
        self.console.print(
            f"{MARKS[step.state]} {name:<{self.width}} {'earlier' if before else seconds}  {escape(_outcome(step))}"
        )
        unusable = step.properties.get("cache_unusable")
        if unusable and step.state == "COMPLETE" and not before:
            self.console.print(f"  not taken from the cache: {escape(unusable)}", style="yellow", soft_wrap=True)


class _RunningStep:
    """A renderable that counts."""

    def __init__(self, name: str, width: int) -> None:
        self.name, self.width, self.since = name, width, time.monotonic()
        self.read = self.rejected = self.expected = 0
        self.note = ""

    def add(self, progress: Progress) -> None:
        """Called from Beam's worker threads; integers only ever grow, so no lock is needed to show them."""
        self.read += progress.read
        self.rejected += progress.rejected
        self.expected += progress.expected
        self.note = progress.note or self.note

    def __rich__(self) -> Text:
        seconds = time.monotonic() - self.since
        words = [f"{seconds:5.0f} s"]
        if self.read:
            share = f" of {self.expected:,}" if self.expected else ""
            words.append(f"{self.read:,}{share} rows")
        if self.rejected:
            words.append(f"{self.rejected:,} rejected")
        if self.read and self.expected > self.read:
            words.append(f"about {seconds * (self.expected - self.read) / self.read:.0f} s left")
        if self.note:
            words.append(self.note)
        return Text(f"… {self.name:<{self.width}} " + "  ".join(words))


def _outcome(step: Step) -> str:
    """The ledger of the step's table, if it writes one."""
    for outputs in step.outputs.values():
        for output in outputs:
            if "ledger" in output.properties and output.type != "Rejects":
                return ledger_words(output.properties["ledger"])
    return ""


def summary(console: Console, run: Run, with_steps: bool = True) -> None:
    """Everything worth knowing at the end of a run; without the steps where they were shown as they went."""
    console.print(f"\nRun [bold]{run.name}[/] of pipeline [bold]{run.pipeline}[/]: {run.state.lower()}")
    if with_steps:
        _ledgers(console, run)
    _features(console, run)
    for warning in warnings(run):
        console.print(f"\n[yellow]Warning:[/] {escape(warning)}")
    _rows(console, "\nMetrics (with 95% confidence intervals)", *metric_rows(run))
    _rows(console, "\nCandidates", *candidate_rows(run))
    for line in decision_lines(run):
        console.print(line, highlight=False, markup=False)
    _places(console, run)


def _ledgers(console: Console, run: Run) -> None:
    shown = table("step", "state", "seconds", "rows", title="Steps and ledgers")
    for step in (step for step in run.steps if not step.is_resolver):
        shown.add_row(step.name, step.state.lower(), f"{step.seconds:.1f}", escape(_outcome(step)))
    console.print(shown)


def _features(console: Console, run: Run) -> None:
    rows = feature_rows(run)
    if not rows:
        return
    shown = table("rank", "feature", "gain", "permutation", "", title="\nFeatures")
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    console.print(shown)


def _rows(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    shown = table(*header, title=title)
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    console.print(shown)


def _places(console: Console, run: Run) -> None:
    console.print("\nWhere things are")
    for step in run.steps:
        for key, outputs in step.outputs.items():
            for output in outputs if not step.is_resolver else ():
                console.print(f"  {step.name}.{key}: {escape(output.uri)}", soft_wrap=True)


def run_list(console: Console, found: Sequence[Run]) -> None:
    """One line a run."""
    shown = table("run", "pipeline", "state", "steps run", "reused")
    for run in found:
        steps = [step for step in run.steps if not step.is_resolver]
        cached = sum(step.state == "CACHED" for step in steps)
        state = run.state.lower() + (", pinned" if run.pinned else "")
        shown.add_row(run.name, run.pipeline, state, str(len(steps) - cached), str(cached))
    console.print(shown)


def plan(console: Console, checked: Plan) -> None:
    """What a pipeline would do."""
    for name, source in checked.sources.items():
        console.print(f"source [bold]{name}[/]  {escape(source.config.path)}")
        console.print("  " + escape(", ".join(f"{f.name} {f.type}" for f in source.schema)), soft_wrap=True)
    for name, step in checked.steps.items():
        others = [name for name in step.query.tables if name != step.query.stream]
        words = f"streams {step.query.stream}" + (f", broadcasts {', '.join(others)}" if others else "")
        console.print(f"step [bold]{name}[/]  {words}")
        console.print("  " + escape(", ".join(f"{f.name} {f.type}" for f in step.query.output)), soft_wrap=True)
    label = checked.loaded.config.examples.label
    console.print(
        f"label [bold]{label}[/] ({checked.examples.query.output.field(label).type}); schema {escape(checked.schema_file)}",
        soft_wrap=True,
    )
    console.print("[green]The configuration is sound.[/]")


def plan_as_dict(checked: Plan) -> dict[str, Any]:
    """A plan for programs."""
    return {
        "sources": {
            n: {"path": s.config.path, "columns": {f.name: str(f.type) for f in s.schema}}
            for n, s in checked.sources.items()
        },
        "steps": {
            n: {
                "stream": s.query.stream,
                "tables": s.query.tables,
                "columns": {f.name: str(f.type) for f in s.query.output},
            }
            for n, s in checked.steps.items()
        },
        "label": checked.loaded.config.examples.label,
        "schema_file": checked.schema_file,
    }


def as_dict(run: Run) -> dict[str, Any]:
    """A run for programs."""
    return {**dataclasses.asdict(run), "state": run.state}
