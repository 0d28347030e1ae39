"""`braid show`."""

import os

import click

from pipeline.cli import options


@click.command("show")
@click.argument("run", default="latest")
@options.workspace
@options.store
@options.as_json
def command(run: str, workspace: str, store: str, as_json: bool) -> None:
    """Show RUN (the newest unless named): steps, ledgers, kept features, metrics, blessing, places."""
    from pipeline import display, runs, stores, terminal
    from pipeline.workspace import Workspace

    found = runs.find_run(stores.open_store(Workspace(os.path.abspath(workspace), store).store), run)
    if as_json:
        options.print_json(display.as_dict(found))
    else:
        display.summary(terminal.console(), found)
