"""`braid rollback`."""

import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from pipeline.serving.made_with import MadeWith
    from pipeline.serving.rollback import RolledBack


@click.command("rollback")
@click.argument("model", metavar="MODEL")
@click.option(
    "--to", default="", metavar="VERSION", help="The version to go to.  [default: the one that served before]"
)
@click.option("--why", default="", metavar="TEXT", help="The reason, which is put on record.  [required]")
@click.option("--by", default="", metavar="WHO", help="Who does it.  [default: USER@HOST]")
@options.workspace
@options.store
@options.as_json
def command(model: str, to: str, why: str, by: str, workspace: str, store: str, as_json: bool) -> None:
    """Make an earlier version of MODEL (a pipeline's name) the one that serves, and withdraw the one that does.

    The predictions that were made with it are listed, with the commands that score them again.
    """
    from pipeline.cli.questions import opened
    from pipeline.serving import rollback
    from pipeline.serving.made_with import made_with
    from pipeline.workspace import Workspace

    room = Workspace(os.path.abspath(workspace), store)
    done = rollback.roll_back(room, model, to, why, by or _who())
    archive = opened.archive(workspace, store)
    stale = made_with(archive, done.withdrawn, done.pipeline) if done.withdrawn else []
    if as_json:
        options.print_json(_as_dict(done, stale))
    else:
        _print(done, stale, _place(workspace, store))


def _who() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _place(workspace: str, store: str) -> list[str]:
    """The options that a command needs to find the same workspace; the environment's are there anyhow."""
    given = os.environ.get("BRAID_WORKSPACE", ".braid"), os.environ.get("BRAID_STORE", "")
    words = ["--workspace", workspace] if workspace != given[0] else []
    return words + (["--store", store] if store != given[1] else [])


def _print(done: "RolledBack", stale: "list[MadeWith]", place: list[str]) -> None:
    from pipeline import terminal

    console = terminal.console()

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, soft_wrap=True, markup=False)

    say(f"Version {done.serves.name} of '{done.pipeline}' serves, which run {done.serves.run} has pushed.", "green")
    if done.withdrawn:
        say(f"Version {done.withdrawn.name} is withdrawn: no run pushes that model again.")
        back = ["braid", "rollback", done.pipeline, "--to", done.withdrawn.name, "--why", "...", *place]
        say(f"It is put back with: {shlex.join(back)}")
    if not stale:
        return
    say(f"\nPredictions that were made with version {done.withdrawn.name if done.withdrawn else ''}:")
    for one in stale:
        rows = "" if one.rows is None else f", {one.rows:,} rows"
        say(f"- {one.folder} (run {one.run}{rows})")
        if one.command:
            say(f"  {one.command}")


def _as_dict(done: "RolledBack", stale: "list[MadeWith]") -> dict[str, Any]:
    return {
        "pipeline": done.pipeline,
        "folder": done.folder,
        "withdrawn": done.withdrawn.name if done.withdrawn else None,
        "serves": done.serves.name,
        "execution": done.execution,
        "predictions": [vars(one) for one in stale],
    }
