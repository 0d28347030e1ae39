"""`braid lineage waste`."""

from typing import TYPE_CHECKING

import click
from rich import filesize
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.lineage.waste import Spent, Waste


@click.command("waste")
@click.argument("pipeline", default="")
@click.option(
    "--since", "days", type=click.FloatRange(min=0), metavar="DAYS", help="Only what began in these last days."
)
@options.workspace
@options.store
@options.as_json
def command(pipeline: str, days: float | None, workspace: str, store: str, as_json: bool) -> None:
    """Add up the time and the bytes spent on what was never blessed or pushed, by step, of PIPELINE or of all.

    What came from the cache costs nothing; failed attempts count. What leads to no model, such as a check of the data,
    counts with the run that it is of.
    """
    from pipeline import terminal
    from pipeline.lineage import waste

    found = waste.waste(opened.archive(workspace, store), pipeline, days)
    if as_json:
        options.print_json(found.to_dict())
    else:
        show(terminal.console(), found)


def show(console: "Console", found: "Waste") -> None:
    """A line a step, the worst first, and the sums."""
    from pipeline import terminal

    if not found.steps:
        console.print(
            "No execution that has ended was found" + (f" in the last {found.days:g} days." if found.days else ".")
        )
        return
    shown = terminal.table("pipeline", "step", "executions", "wasted", "time", "wasted", "", "bytes", "wasted", "")
    for step in found.steps:
        shown.add_row(escape(step.pipeline), escape(step.step), *_cells(step.spent, step.wasted))
    shown.add_row("in all", "", *_cells(found.spent, found.wasted), style="bold")
    console.print(shown)
    if not found.judged:
        console.print("[yellow]No model of this store was ever blessed or pushed, so everything counts as wasted.[/]")
    if found.unfinished:
        console.print(f"{found.unfinished:,} executions are under way and count neither way.")
    if found.spent.unmeasured:
        console.print(
            f"{found.spent.unmeasured:,} outputs are gone and their bytes were not recorded, so they count as none."
        )


def _cells(spent: "Spent", wasted: "Spent") -> tuple[str, ...]:
    return (
        f"{spent.executions:,}",
        f"{wasted.executions:,}",
        _duration(spent.seconds),
        _duration(wasted.seconds),
        _share(wasted.seconds, spent.seconds),
        filesize.decimal(spent.bytes),
        filesize.decimal(wasted.bytes),
        _share(wasted.bytes, spent.bytes),
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else ""
