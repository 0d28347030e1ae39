"""`braid lineage pin`."""

import os

import click

from pipeline.cli import options


@click.command("pin")
@click.argument("run")
@click.option("--off", is_flag=True, help="Let it go again.")
@options.workspace
def command(run: str, off: bool, workspace: str) -> None:
    """Keep RUN (`latest` is the newest), and all that it was made from, from being removed by gc."""
    from pipeline import collecting
    from pipeline.workspace import Workspace

    name = collecting.pin(Workspace(os.path.abspath(workspace)), run, pinned=not off)
    click.echo(f"Run {name} is {'not pinned any more' if off else 'pinned'}.")
