"""`braid check`."""

import os

import click

from pipeline.cli import options


@click.command("check")
@options.configuration
@options.workspace
@options.as_json
def command(
    config: str, overlays: tuple[str, ...], assignments: tuple[str, ...], workspace: str, as_json: bool
) -> None:
    """Check CONFIG: keys, sources, column types, queries, names; all that can be known from a sample, in seconds."""
    from pipeline import display, loading, planning, terminal
    from pipeline.workspace import Workspace

    memo = Workspace(os.path.abspath(workspace)).memo
    plan = planning.plan(
        loading.load(config, overlays, assignments), memo if os.path.isdir(os.path.dirname(memo)) else None
    )
    if as_json:
        options.print_json(display.plan_as_dict(plan))
    else:
        display.plan(terminal.console(), plan)
