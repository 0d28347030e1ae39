"""`braid runs`."""

import os

import click

from pipeline.cli import options


@click.command("runs")
@options.workspace
@options.as_json
def command(workspace: str, as_json: bool) -> None:
    """List past runs, newest first."""
    from pipeline import display, runs, terminal
    from pipeline.workspace import Workspace

    found = runs.list_runs(runs.connect(Workspace(os.path.abspath(workspace)).store))
    if as_json:
        options.print_json([display.as_dict(run) for run in found])
    else:
        display.run_list(terminal.console(), found)
