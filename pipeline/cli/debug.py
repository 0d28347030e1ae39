"""`braid debug`."""

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.debugging.making import Made
    from pipeline.lineage.archive import Archive


@click.command("debug")
@click.argument("step", metavar="RUN/STEP")
@click.option("--to", "folder", metavar="DIR", help="Where the capsule goes; WORKSPACE/capsules/ unless given.")
@click.option(
    "--execution",
    default=0,
    type=click.IntRange(min=0),
    metavar="ID",
    help="The attempt meant, where the step was tried several times.",
)
@click.option("--copy", is_flag=True, help="Copy inputs of any size into the capsule.")
@click.option(
    "--sample", default=0, type=click.IntRange(min=0), metavar="N", help="Cut tables down to N rows of each split."
)
@click.option("--run", "replays", is_flag=True, help="Replay at once, and compare the outputs with the original ones.")
@click.option(
    "--set", "assignments", multiple=True, metavar="PARAMETER=VALUE", help="Replay with one parameter changed."
)
@click.option("--sql", metavar="FILE", help="Replay with this query in place of the step's.")
@click.option("--code", metavar="PATH", default="", help="Replay with another checkout of the project.")
@click.option("--checkout", is_flag=True, help="Replay with the run's commit, in a git worktree inside the capsule.")
@click.option("--env", "builds", is_flag=True, help="Build the run's environment from its lock, inside the capsule.")
@click.option("--pdb", is_flag=True, help="Replay, and stop in pdb where it fails.")
@click.option(
    "--listen",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Replay once a debugger attaches to PORT of this machine.",
)
@click.option("--shrink", is_flag=True, help="Find the fewest rows that still fail; write them with a pytest test.")
@options.workspace
@options.store
@options.as_json
def command(
    step: str,
    folder: str | None,
    execution: int,
    workspace: str,
    store: str,
    as_json: bool,
    shrink: bool,
    **wishes: Any,
) -> None:
    """Make a capsule of RUN/STEP: a folder with a program that replays the step with the inputs it had.

    Open it in VS Code or PyCharm, set a breakpoint in the step's code, run replay.py. Nothing that is recorded and no
    original output is touched. RUN may be `latest`; the step may have failed, or finished long ago.
    """
    from pipeline import terminal
    from pipeline.cli import quiet
    from pipeline.debugging import making, recorded
    from pipeline.debugging.capsule import claim
    from pipeline.debugging.copying import Wishes

    if wishes["code"] and wishes["checkout"]:
        raise click.UsageError("--code and --checkout both name the code to replay with.")
    archive = opened.archive(workspace, store)
    found = recorded.find(archive, step, execution)
    place = os.path.abspath(folder or making.default_folder(workspace, found))
    claim(place)
    code, interpreter = _code_and_interpreter(found, place, wishes)
    with quiet.silence():  # where a component has to be imported, TFX loads
        made = making.make(found, place, Wishes(wishes["copy"], wishes["sample"], code, interpreter))
    console = terminal.console(stderr=as_json)
    if shrink:
        _shrink(archive, made, console, as_json)
        return
    _tell(made, interpreter, console)
    if (
        wishes["replays"]
        or wishes["pdb"]
        or wishes["listen"] is not None
        or wishes["assignments"]
        or wishes["sql"]
        or code
    ):
        sys.exit(_replay(made, interpreter, wishes, as_json))
    if as_json:
        options.print_json({"capsule": made.capsule.folder, "notes": made.notes})


def _code_and_interpreter(found: Any, folder: str, wishes: dict[str, Any]) -> tuple[str, str]:
    """The code to replay with, '' for this program's own, and the Python to replay in."""
    from pipeline.debugging import environment, making
    from pipeline.errors import RunError

    ran_in, code, interpreter = making.recorded_environment(found.properties), wishes["code"], sys.executable
    if code:
        environment.check_replays(code)
    if wishes["checkout"]:
        code = environment.checkout(ran_in, os.path.join(folder, "code"))
        environment.check_replays(code)
    if wishes["builds"]:
        lock = environment.lock_of(ran_in)
        if lock is None:
            raise RunError(
                "The run's lock is not to be had.", "Its commit would hold it: fetch that; or leave --env out."
            )
        requirements = os.path.join(folder, "requirements.txt")
        os.makedirs(folder, exist_ok=True)
        with open(requirements, "w", encoding="utf-8") as stream:
            stream.write(lock)
        interpreter = environment.build(requirements, os.path.join(folder, ".venv"), ran_in.python)
    return code, interpreter


def _tell(made: "Made", interpreter: str, console: "Console") -> None:
    capsule = made.capsule
    console.print(
        f"Capsule of {escape(capsule.name)} ({capsule.state.lower()}): [bold]{escape(capsule.folder)}[/]",
        soft_wrap=True,
    )
    if capsule.error:
        console.print(f"It failed: {escape(capsule.error)}", soft_wrap=True)
    for note in made.notes:
        console.print(f"- {escape(note)}", soft_wrap=True)
    console.print(f"Replay:  {escape(interpreter)} {escape(capsule.path('replay.py'))}", soft_wrap=True)


def _replay(made: "Made", interpreter: str, wishes: dict[str, Any], as_json: bool) -> int:
    """Runs the capsule's program in a process of its own: its code may be another checkout's."""
    arguments = [word for assignment in wishes["assignments"] for word in ("--set", assignment)]
    arguments += ["--sql", os.path.abspath(wishes["sql"])] if wishes["sql"] else []
    arguments += ["--pdb"] if wishes["pdb"] else []
    arguments += ["--listen", str(wishes["listen"])] if wishes["listen"] is not None else []
    arguments += ["--json"] if as_json else []
    sys.stdout.flush()
    return subprocess.run([interpreter, made.capsule.path("replay.py"), *arguments], check=False).returncode


def _shrink(archive: "Archive", made: "Made", console: "Console", as_json: bool) -> None:
    from pipeline.debugging import failing
    from pipeline.debugging.recorded import layers_of

    found = failing.shrink(made.capsule.folder, layers_of(archive, made.capsule.run))
    if as_json:
        options.print_json(found)
        return
    for one in found:
        words = "no row can be left out" if one["minimal"] else "stopped before it was sure that no row can be left out"
        console.print(
            f"{one['failure']}: {one['rows']:,} of {one['of_rows']:,} rows fail alike, found in {one['runs']} runs; {words}."
        )
        if not one["as_kept"]:
            console.print("  [yellow]They fail otherwise than in the run: the code, or a table, has changed since.[/]")
        for row in one["values"]:
            console.print(f"  {escape(str(row))}", soft_wrap=True)
        console.print(
            f"  rows: {escape(one['parquet'])}\n  test: {sys.executable} -m pytest {escape(one['test'])}",
            soft_wrap=True,
        )
