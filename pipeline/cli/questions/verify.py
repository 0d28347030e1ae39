"""`braid lineage verify`."""

import os
import sys
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.lineage.archive import Archive
    from pipeline.lineage.verification import Scope, Verification


@click.command("verify")
@click.argument("name", metavar="[X]", default="")
@options.workspace
@options.as_json
def command(name: str, workspace: str, as_json: bool) -> None:
    """Compute digests again and tell what is missing or changed: of a run, a step or an artifact X, or of everything.

    Without X also source files as their newest run read them, and folders that nothing names. Exits 1 when something is
    wrong.
    """
    from pipeline import collecting, terminal
    from pipeline.lineage import verification
    from pipeline.workspace import Workspace

    archive = opened.archive(workspace)
    roots = collecting.roots(archive, Workspace(os.path.abspath(workspace)))
    todo = verification.scope(archive, name, roots)
    found = _verified(archive, todo)
    if as_json:
        options.print_json(found.to_dict())
    else:
        show(terminal.console(), found)
    if not found.is_sound:
        sys.exit(1)


def _verified(archive: "Archive", todo: "Scope") -> "Verification":
    """Verifies, with a bar on a terminal for how far it is."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from pipeline import terminal
    from pipeline.lineage import verification

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal.console(stderr=True), transient=True) as progress:
        progress.disable = not progress.console.is_terminal
        task = progress.add_task("", total=todo.bytes or None)
        return verification.verify(archive, todo, lambda size: progress.advance(task, size))


def show(console: "Console", found: "Verification") -> None:
    """What is wrong, then what was looked at, and how closely."""
    from pipeline import terminal

    if found.findings:
        shown = terminal.table("what", "where", "artifact", "recorded", "found")
        for one in found.findings:
            artifact = "" if one.artifact is None else f"{one.artifact} of {one.made_by}"
            cells = (one.place, artifact, one.recorded, one.found or one.note)
            shown.add_row(f"[red]{one.problem}[/]", *map(escape, cells))
        console.print(shown)
    console.print(
        f"{found.by_digest:,} artifacts were compared by digest, {found.by_existence:,} have none recorded and were only "
        f"looked for, {found.source_files:,} source files were compared."
    )
    if found.removed:
        console.print(f"{found.removed:,} artifacts were removed by gc.")
    if found.superseded:
        console.print(
            f"{found.superseded:,} older states of sources were left out: their runs can be verified by name."
        )
    for sentence in found.unknown:
        console.print(f"[yellow]{escape(sentence)}[/]", soft_wrap=True)
    console.print(
        "[green]Nothing is wrong.[/]" if found.is_sound else f"[red]{len(found.findings):,} things are wrong.[/]"
    )
