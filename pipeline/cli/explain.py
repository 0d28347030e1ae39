"""`braid explain`: the question `braid lineage why`, under the name that whoever looks at the cache would look for."""

import click

from pipeline.cli.questions import why

command = click.Command("explain", params=why.command.params, callback=why.command.callback, help=why.command.help)
