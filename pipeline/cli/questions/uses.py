"""`braid lineage uses`."""

import click
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened


@click.command("uses")
@click.argument("column", metavar="SOURCE.COLUMN")
@options.workspace
@options.store
@options.as_json
def command(column: str, workspace: str, store: str, as_json: bool) -> None:
    """Tell which models use a source's column, such as flights.dep_time: in a feature, in the label, to choose rows."""
    from pipeline import terminal
    from pipeline.lineage import columns

    found = columns.uses_of(opened.archive(workspace, store), column)
    if as_json:
        options.print_json({"uses": [use.to_dict() for use in found.uses], "untold": found.untold})
        return
    console = terminal.console()
    if found.untold:
        first = next(iter(found.untold.values()))
        console.print(f"[yellow]Of {len(found.untold)} models it cannot be told.[/] For one: {escape(first)}")
    if not found.uses:
        told = "No model" if not found.untold else "No other model"
        console.print(
            f"{told} uses {escape(column)}: no kept feature and no label comes from it, and it chooses no rows."
        )
        return
    shown = terminal.table("model", "made by", "serves", "features", "label", "chooses rows")
    for use in found.uses:
        features, label, chooses = ", ".join(use.features), "yes" if use.is_label else "", "yes" if use.filters else ""
        serves = "now" if use.serves_from else ""
        shown.add_row(str(use.model.id), f"{use.run}/{use.step}", serves, escape(features), label, chooses)
    console.print(shown)
