"""`braid lineage down`."""

from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.questions import formats, opened


@click.command("down")
@click.argument("subject", metavar="X")
@options.workspace
@options.store
@formats.options
def command(subject: str, workspace: str, store: str, **wanted: Any) -> None:
    """Tell everything made from X, down to models and predictions; those that serve now are marked.

    X is an artifact's id, RUN, RUN/step or RUN/step.output ("latest" is the newest run), a URI or path, or a name.
    """
    from pipeline.lineage import ancestry

    form, archive = formats.form(**wanted), opened.archive(workspace, store)
    formats.give(archive, ancestry.down(archive, subject), form)
