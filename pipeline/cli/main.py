"""The `braid` command: finds the command asked for, and words errors."""

import atexit
import os
import sys
import threading
from typing import NoReturn

import click
from rich.console import Console
from rich.markup import escape

from pipeline import interruption
from pipeline.cli.lazy import LazyGroup
from pipeline.errors import explain
from pipeline.remote.leaving import LeftRunning

COMMANDS = {
    "run": "Run a pipeline.",
    "check": "Check a configuration without running it.",
    "attach": "Go on waiting for a job that was left at a service.",
    "cancel": "Cancel the job that a run waits for at a service.",
    "runs": "List past runs.",
    "show": "Show one run: steps, ledgers, features, metrics, places.",
    "report": "Write the report on one run: a page with its models, metrics and explanations.",
    "debug": "Replay a step of a run in your IDE, with the inputs it had.",
    "explain": "Tell why a step ran again, or came from the cache.",
    "score": "Score every row of a table with a trained model.",
    "models": "List the models that were pushed, and which one serves.",
    "rollback": "Go back to an earlier version of a model.",
    "serve": "Try a model over HTTP on this machine.",
    "lineage": "Ask what made a model, what a file went into, what changed.",
    "deploy": "Write images and templates for Google Cloud.",
    "init": "Write a configuration for a table of yours.",
    "config": "Print the merged configuration and where each value comes from.",
}


@click.group(
    cls=LazyGroup, package="pipeline.cli", table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option("0.1.0", prog_name="braid")
@click.pass_context
def braid(context: click.Context, debug: bool) -> None:
    """A hybrid data-and-ML pipeline: Beam jobs and TFX components, recorded in ML Metadata."""
    context.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script.

    Exits 0, 1 on an error, 2 on wrong usage, 75 where a service's job is left because the service does not answer, 130 on
    Ctrl-C, 143 on SIGTERM.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:  # accepted before and after the command's name
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        with interruption.interruptible():
            braid.main(args=arguments, prog_name="braid", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LeftRunning as left:
        _tell(str(left), f"{left.hint}\n{left.link}".strip(), title="Left running.")
        sys.exit(left.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        _tell("Finished steps are kept: the same command goes on from there.", title="Stopped.")
        _exit(getattr(stop, "exit_code", 130))
    except Exception as error:
        if debug:
            raise
        _tell(*explain(error))
        sys.exit(1)


def _tell(message: str, hint: str = "", title: str = "Error:") -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]{title}[/] {escape(_printable(message))}")
    if hint:
        console.print(escape(_printable(hint)))


def _printable(text: str) -> str:
    """Text that quotes data, without the control characters that a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _exit(code: int) -> NoReturn:
    """Ends the process, although a worker thread that cannot be interrupted may still be busy with its chunk."""
    busy = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if busy:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def program() -> NoReturn:
    """The console script: `main`, and out, without the second that freeing all of TensorFlow's objects would take."""
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    atexit._run_exitfuncs()  # what others registered still runs, as at any exit
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    program()
