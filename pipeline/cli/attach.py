"""`braid attach`."""

import os
import shlex
from typing import Any

import click

from pipeline.cli import options

_COMMANDS = ("run", "score")


@click.command("attach")
@click.argument("run", metavar="RUN", default="latest")
@options.workspace
@options.store
@click.pass_context
def command(context: click.Context, run: str, workspace: str, store: str) -> None:
    """Go on waiting for the job of RUN that was left at a service, and do the rest of the run."""
    from pipeline import stores
    from pipeline.lineage.archive import Archive
    from pipeline.remote.recorded_job import job_of_run
    from pipeline.workspace import Workspace

    opened = stores.open_store(Workspace(os.path.abspath(workspace), store).store)
    found, _ = job_of_run(opened, run)
    words = _command(Archive(opened).run(found.name))
    place = options.recorded_at(workspace, store)
    assert context.parent is not None
    group = context.parent.command
    assert isinstance(group, click.Group)
    chosen = group.get_command(context.parent, words[0])
    assert chosen is not None
    arguments = [*words[1:], *place, "--resume", found.name]
    with chosen.make_context(words[0], arguments, parent=context.parent) as again:
        chosen.invoke(again)


def _command(recorded: Any) -> list[str]:
    """The words behind `braid` of the command that began the run.

    Raises:
      RunError: it was not recorded.
    """
    from pipeline.errors import RunError
    from pipeline.lineage.records import plain

    told = plain(recorded.properties) | plain(recorded.custom_properties)
    words = shlex.split(str(told.get("command", "")))[1:]
    if not words or words[0] not in _COMMANDS:
        raise RunError(
            f"How run '{recorded.name}' was begun is not on record.",
            f"Give the command again that began it, with --resume {recorded.name}.",
        )
    return words
