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
@options.store
@options.as_json
def command(name: str, workspace: str, store: str, as_json: bool) -> None:
    """Compute digests again and tell what is missing or changed: of a run, a step or an artifact X, or of everything.

    Without X also source files as their newest run read them, and folders that nothing names. Exits 1 when something is
    wrong.
    """
    from pipeline import collecting, terminal
    from pipeline.lineage import verification
    from pipeline.workspace import Workspace

    archive = opened.archive(workspace, store)
    roots = collecting.roots(archive, Workspace(os.path.abspath(workspace), store))
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
    for one in found.findings:
        console.print(f"[red]{one.problem}[/] {escape(one.place)}", soft_wrap=True)
        artifact = "" if one.artifact is None else f"artifact {one.artifact} by {one.made_by or '(not recorded)'}; "
        digests = f"recorded {one.recorded}, found {one.found}" if one.found else one.note
        console.print(f"  {escape(artifact + digests)}", soft_wrap=True)
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
