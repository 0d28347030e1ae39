"""`braid lineage file`."""

from typing import TYPE_CHECKING

import click
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.lineage.archive import Archive
    from pipeline.lineage.source_files import FileUse

_NOW = {
    "unchanged": "as it was read",
    "changed": "[yellow]changed since[/]",
    "gone": "[yellow]gone[/]",
    "unknown": "no digest on record",
}


@click.command("file")
@click.argument("path")
@click.option("--row", type=click.IntRange(min=1), help="Follow one record of the file, counted from 1.")
@click.option("--byte", type=click.IntRange(min=0), help="Follow the record that holds a byte of the file, from 0.")
@options.workspace
@options.store
@options.as_json
def command(path: str, row: int | None, byte: int | None, workspace: str, store: str, as_json: bool) -> None:
    """Tell the runs, models and predictions that the source file PATH went into.

    PATH may be relative, absolute, a link, package://..., gs://..., a folder or a glob; a file that was moved is known
    by its bytes. With --row or --byte, follow that one record of it.
    """
    from pipeline import terminal
    from pipeline.lineage import source_files

    archive = opened.archive(workspace, store)
    use = source_files.uses_of(archive, path)
    if row is not None or byte is not None:
        _one_row(archive, use, row, byte, as_json)
    elif as_json:
        options.print_json(use.to_dict())
    else:
        _show(terminal.console(), use)


def _one_row(archive: "Archive", use: "FileUse", row: int | None, byte: int | None, as_json: bool) -> None:
    from pipeline import terminal
    from pipeline.cli.questions.rows import show_followed
    from pipeline.lineage import source_places

    found = source_places.follow_place(archive, use, row, byte)
    if as_json:
        options.print_json([{"model": model.id, **followed.to_dict()} for model, followed in found])
        return
    console = terminal.console()
    for model, followed in found:
        console.print(f"\n[bold]Model {model.id}[/] ({escape(model.uri)})")
        show_followed(console, followed, limit=1)
    if not found:
        console.print("No model was made from that file.")


def _show(console: "Console", use: "FileUse") -> None:
    from pipeline import terminal

    versions = terminal.table("file", "source table", "digest", "now", title="Read as")
    for file in use.files:
        same = "" if file.found_by == "path" else " (same bytes under another name)"
        digest = file.digest or "not recorded"
        versions.add_row(escape(file.path) + same, str(file.table.id), digest, _NOW[file.now])
    console.print(versions)
    runs = terminal.table("run", "steps", title="\nRuns")
    for run, steps in use.runs.items():
        runs.add_row(run or "(not recorded)", ", ".join(steps))
    console.print(runs)
    made = [a for a in use.lineage.artifacts.values() if a.type in ("Model", "PushedModel", "Predictions")]
    if not made:
        console.print("\nNo model and no predictions were made from it.")
        return
    models = terminal.table("id", "type", "uri", "serves", title="\nModels and predictions")
    for artifact in made:
        serves = "now" if artifact.id in use.lineage.serving else ""
        models.add_row(str(artifact.id), artifact.type, escape(artifact.uri), serves)
    console.print(models)
