"""A group of commands whose modules load only when they run, so that help answers at once."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from beam_jobs.errors import nearest


class LazyGroup(click.Group):
    """Commands by name with their help lines; each is `command` in the module `<package>.<name>`."""

    def __init__(self, *args: Any, package: str, table: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.package, self.table = package, table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a first acquaintance."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported from its module."""
        if cmd_name not in self.table:
            return None
        command: click.Command = importlib.import_module(f"{self.package}.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Adds the nearest command to the message about an unknown one."""
        if args and not args[0].startswith("-") and args[0] not in self.table:
            raise click.UsageError(f"There is no command '{args[0]}'.{nearest(args[0], self.table)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))
