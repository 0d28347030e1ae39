"""`braid lineage pin`."""

import os

import click

from pipeline.cli import options
from pipeline.cli.questions import opened


@click.command("pin")
@click.argument("run", default="")
@click.option("--off", is_flag=True, help="Let it go again.")
@options.workspace
@options.store
def command(run: str, off: bool, workspace: str, store: str) -> None:
    """Keep RUN (`latest` is the newest), and all that it was made from, from being removed by gc.

    Without RUN, list those that are pinned.
    """
    from pipeline import collecting
    from pipeline.lineage import keeping
    from pipeline.workspace import Workspace

    if not run:
        click.echo("\n".join(keeping.pinned(opened.archive(workspace, store))) or "No run is pinned.")
        return
    name = collecting.pin(Workspace(os.path.abspath(workspace), store), run, pinned=not off)
    click.echo(f"Run {name} is {'not pinned any more' if off else 'pinned'}.")
