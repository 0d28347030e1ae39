"""`braid runs`."""

import os

import click

from pipeline.cli import options


@click.command("runs")
@options.workspace
@options.store
@options.as_json
def command(workspace: str, store: str, as_json: bool) -> None:
    """List past runs, newest first."""
    from pipeline import display, runs, stores, terminal
    from pipeline.workspace import Workspace

    found = runs.list_runs(stores.open_store(Workspace(os.path.abspath(workspace), store).store))
    if as_json:
        options.print_json([display.as_dict(run) for run in found])
    else:
        display.run_list(terminal.console(), found)
