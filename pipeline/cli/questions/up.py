"""`braid lineage up`."""

from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.questions import formats, opened


@click.command("up")
@click.argument("subject", metavar="X")
@options.workspace
@options.store
@formats.options
def command(subject: str, workspace: str, store: str, **wanted: Any) -> None:
    """Tell everything that made X: steps, parameters, code, tables' ledgers, down to the source files.

    X is an artifact's id, RUN, RUN/step or RUN/step.output ("latest" is the newest run), a URI or path, or a name.
    """
    from pipeline.lineage import ancestry

    form, archive = formats.form(**wanted), opened.archive(workspace, store)
    formats.give(archive, ancestry.up(archive, subject), form)
