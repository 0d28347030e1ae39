"""The `braid` command: finds the command asked for, and words errors."""

import importlib
import sys
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from beam_jobs.errors import BraidError, nearest

COMMANDS = {
    "run": "Run a pipeline.",
    "check": "Check a configuration without running it.",
    "runs": "List past runs.",
    "show": "Show one run: steps, ledgers, features, metrics, places.",
    "init": "Write a configuration for a table of yours.",
    "config": "Print the merged configuration and where each value comes from.",
}


class LazyGroup(click.Group):
    """Loads a command's module only when that command runs, so that help answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a first acquaintance."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported from `pipeline.cli.<name>`."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pipeline.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Adds the nearest command to the message about an unknown one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"There is no command '{args[0]}'.{nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option("0.1.0", prog_name="braid")
@click.pass_context
def braid(context: click.Context, debug: bool) -> None:
    """A hybrid data-and-ML pipeline: Beam jobs and TFX components, recorded in ML Metadata."""
    context.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; exits 0, 1 on an error, 2 on wrong usage, 130 on Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:  # accepted before and after the command's name
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        braid.main(args=arguments, prog_name="braid", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _tell("Stopped.", "Finished steps are kept: the same command goes on from there.")
        sys.exit(130)
    except BraidError as error:
        if debug:
            raise
        _tell(str(error), error.hint, bug=getattr(error, "is_bug", False))
        sys.exit(1)


def _tell(message: str, hint: str, bug: bool = False) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]Error:[/] {escape(message)}")
    if hint:
        console.print(escape(hint))
    if bug:
        console.print("This is not a mistake that Braid knows how to explain; --debug shows the traceback.")


if __name__ == "__main__":
    main()
