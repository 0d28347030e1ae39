"""Options that several commands share."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def configuration(function: F) -> F:
    """CONFIG, --overlay and --set."""
    for option in (
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set one value, such as train.rounds=200. May be repeated.",
        ),
        click.option(
            "--overlay",
            "overlays",
            multiple=True,
            metavar="FILE",
            help="Lay another configuration file over CONFIG. May be repeated.",
        ),
        click.argument("config", metavar="CONFIG"),
    ):
        function = option(function)
    return function


workspace = click.option(
    "--workspace",
    default=".braid",
    show_default=True,
    envvar="BRAID_WORKSPACE",
    help="The folder of outputs and metadata.",
)
store = click.option(
    "--store",
    default="",
    metavar="ADDRESS",
    envvar="BRAID_STORE",
    help="The metadata store: an SQLite file, postgresql://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE. "
    "[default: the workspace's]",
)
target = click.option(
    "--target",
    default="local",
    show_default=True,
    help="Where the Beam jobs are done: a name in configs/targets, or a YAML file. --set lays its keys over it.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def recorded_at(workspace: str, store: str) -> list[str]:
    """The options that say where a run is recorded, but for an address with a password, which the environment keeps."""
    words = [] if workspace == ".braid" else ["--workspace", workspace]
    return words + (["--store", store] if store and "://" not in store else [])


def print_json(value: Any) -> None:
    """Prints a value for a program to read."""
    click.echo(json.dumps(value, indent=2, default=str))
