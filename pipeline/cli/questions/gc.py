"""`braid lineage gc`."""

import os
import sys
from typing import TYPE_CHECKING

import click
from rich import filesize
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from pipeline.collecting import Collected
    from pipeline.lineage.retention import Plan, Removal

_CAUSES = {
    "unneeded": "nothing needs it",
    "failed": "left behind by failed attempts",
    "unfinished": "left over by an earlier gc",
    "orphaned": "no artifact names it",
}


@click.command("gc")
@click.option(
    "--days", type=click.FloatRange(min=0), default=30, show_default=True, help="Keep the runs of these last days."
)
@click.option(
    "--failed-days",
    type=click.FloatRange(min=0),
    default=7,
    show_default=True,
    help="Keep for so many days what failed attempts left behind.",
)
@click.option("--delete", is_flag=True, help="Delete; without it, only tell what would be deleted.")
@click.option("--list", "lists", is_flag=True, help="Name every folder.")
@options.workspace
@options.store
@options.as_json
def command(
    days: float, failed_days: float, delete: bool, lists: bool, workspace: str, store: str, as_json: bool
) -> None:
    """Remove what no serving model, no pinned run and no run of the last days needs; a dry run unless told.

    What is deleted is marked in the store first, so that no later run takes it from the cache. Exits 1 when something
    could not be deleted.
    """
    from pipeline import collecting, terminal
    from pipeline.lineage import retention
    from pipeline.lineage.keeping import Policy
    from pipeline.workspace import Workspace

    place, policy = Workspace(os.path.abspath(workspace), store), Policy(days, failed_days)
    archive = opened.archive(workspace, store)
    if not delete:
        plan = retention.plan(archive, collecting.roots(archive, place), policy)
        if as_json:
            options.print_json({**plan.to_dict(), "deleted": []})
        else:
            show_plan(terminal.console(), plan, lists)
        return
    collected = collecting.collect(place, policy)
    if as_json:
        options.print_json(_as_dict(collected))
    else:
        show_collected(terminal.console(), collected, lists)
    if collected.failed:
        sys.exit(1)


def _as_dict(collected: "Collected") -> dict[str, object]:
    return {
        **collected.plan.to_dict(),
        "deleted": [removal.path for removal in collected.deleted],
        "failed": [{"path": removal.path, "reason": reason} for removal, reason in collected.failed],
    }


def show_plan(console: "Console", plan: "Plan", lists: bool) -> None:
    """What would go and what stays."""
    _kept(console, plan)
    if not plan.removals:
        console.print("There is nothing to delete.")
        return
    _removals(console, plan.removals, lists)
    console.print(f"Nothing was deleted; `--delete` frees {filesize.decimal(plan.bytes)}.")


def show_collected(console: "Console", collected: "Collected", lists: bool) -> None:
    """What is gone and what stays."""
    _kept(console, collected.plan)
    _removals(console, collected.deleted, lists)
    freed = sum(removal.bytes or 0 for removal in collected.deleted)
    console.print(f"Deleted {len(collected.deleted):,} folders, {filesize.decimal(freed)}.")
    for removal, reason in collected.failed:
        console.print(
            f"[red]Not deleted:[/] {escape(removal.path)}: {escape(reason)}; gc will try again.", soft_wrap=True
        )


def _kept(console: "Console", plan: "Plan") -> None:
    reasons = list(plan.kept_runs.values())
    counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
    console.print(f"{plan.kept:,} artifacts stay" + (f"; of these runs all: {counts}." if reasons else "."))
    by_reason: dict[str, int] = {}
    for refusal in plan.refusals:
        by_reason[refusal.reason] = by_reason.get(refusal.reason, 0) + len(refusal.artifacts)
    for reason, count in by_reason.items():
        console.print(f"[yellow]{count:,} artifacts that nothing needs stay, being {escape(reason)}.[/]")


def _removals(console: "Console", removals: "Iterable[Removal]", lists: bool) -> None:
    from pipeline import terminal

    totals: dict[tuple[str, str, str], tuple[int, int]] = {}
    for one in removals:
        key = (one.pipeline, one.step, _CAUSES[one.cause])
        count, size = totals.get(key, (0, 0))
        totals[key] = (count + 1, size + (one.bytes or 0))
    if not totals:
        return
    shown = terminal.table("pipeline", "step", "why", "folders", "bytes")
    for (pipeline, step, why), (count, size) in sorted(totals.items()):
        shown.add_row(escape(pipeline), escape(step), why, f"{count:,}", filesize.decimal(size))
    console.print(shown)
    for one in removals if lists else ():
        console.print(f"  {escape(one.path)}", soft_wrap=True)
