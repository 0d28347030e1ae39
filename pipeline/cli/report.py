"""`braid report`."""

import os
from typing import Any

import click

from pipeline.cli import options


@click.command("report")
@click.argument("run", default="latest")
@click.option("--to", "file", default="", metavar="FILE", help="The file to write; RUN.html unless given.")
@options.workspace
@options.store
@options.as_json
def command(run: str, file: str, workspace: str, store: str, as_json: bool) -> None:
    """Write the report on RUN (the newest unless named): one HTML page that needs nothing but itself.

    It shows the outcome, candidates, metrics by slice, explanations, features, tuning and steps, as far as the run came.
    """
    from pipeline import stores
    from pipeline.report import gathering
    from pipeline.workspace import Workspace

    found = gathering.gather(stores.open_store(Workspace(os.path.abspath(workspace), store).store), run)
    if as_json and not file:
        options.print_json(found)
        return
    path = os.path.abspath(file or f"{found['run']['name'].replace('/', '-')}.html")
    _write(path, _text(found, as_json))
    click.echo(f"Wrote {file or os.path.basename(path)}.")


def _text(found: dict[str, Any], as_json: bool) -> str:
    if as_json:
        import json

        return json.dumps(found, indent=2, default=str)
    from pipeline.report import page

    return page.text(found)


def _write(path: str, text: str) -> None:
    """Raises:
    RunError: the file cannot be written.
    """
    from beam_jobs.whole_files import write_pieces
    from pipeline.errors import RunError

    try:
        write_pieces(path, [text.encode()])
    except OSError as error:
        raise RunError(
            f"The report cannot be written to '{path}': {error.strerror or error}.", "Name another file with --to."
        ) from error
