"""`braid serve`."""

import json
import os
import shlex
from typing import TYPE_CHECKING

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from pipeline.serving.endpoint import Endpoint
    from pipeline.serving.http_server import Server


@click.command("serve")
@click.argument("model", metavar="MODEL")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(0, 65535), help="0 for any that is free.")
@click.option(
    "--source", "places", metavar="NAME=PATH", multiple=True, help="Another place of a side table. May be repeated."
)
@click.option("--prepared", is_flag=True, help="Take rows that have the model's features: run no query on them.")
@click.option("--keep-all-rows", is_flag=True, help="Score also rows that training would have filtered out.")
@options.workspace
@options.store
@click.option("--verbose", is_flag=True, help="Print a line a request; let TensorFlow and Beam log.")
def command(
    model: str,
    port: int,
    places: tuple[str, ...],
    prepared: bool,
    keep_all_rows: bool,
    workspace: str,
    store: str,
    verbose: bool,
) -> None:
    """Answer requests for predictions of MODEL over HTTP, for programs on this machine, until Ctrl-C.

    Requests have the shape of TensorFlow Serving's REST API; rows are those of the source that the model learned from.
    """
    from pipeline.cli import quiet

    click.get_current_context().with_resource(quiet.silence(verbose))
    from pipeline import terminal
    from pipeline.serving import loading
    from pipeline.serving.endpoint import Endpoint
    from pipeline.serving.http_server import Server
    from pipeline.workspace import Workspace

    room = Workspace(os.path.abspath(workspace), store)
    with terminal.console(stderr=True).status("Loading the model ..."), quiet.native_logs(verbose):
        live = loading.load(room, model, _places(places), prepared, keep_all_rows)
    with Server(Endpoint(live.model), port, live.example, verbose) as server:
        _announce(server, server.endpoint, live.example)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Stopped.")


def _places(given: tuple[str, ...]) -> dict[str, str]:
    for text in given:
        if not all(text.partition("=")[::2]):
            raise click.UsageError(f"--source takes NAME=PATH, not '{text}'.")
    return {name: path for name, _, path in (text.partition("=") for text in given)}


def _announce(server: "Server", endpoint: "Endpoint", example: dict[str, object]) -> None:
    title = endpoint.model.found.title
    click.echo(f"{title} answers at {server.address}/v1/models/{endpoint.name} (Ctrl-C stops it). For example:")
    request = json.dumps({"instances": [example]}, ensure_ascii=False)
    click.echo(f"  curl -d {shlex.quote(request)} {server.address}/v1/models/{endpoint.name}:predict")
    click.echo(f"A page to try rows on: {server.address}/")
