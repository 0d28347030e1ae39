"""`braid lineage columns`."""

from typing import TYPE_CHECKING

import click
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from beam_jobs.sql_lineage import Trace


@click.command("columns")
@click.argument("model", default="latest")
@click.option("--all", "shows_all", is_flag=True, help="Show the columns that were not kept, too.")
@options.workspace
@options.store
@options.as_json
def command(model: str, shows_all: bool, workspace: str, store: str, as_json: bool) -> None:
    """Tell, for each feature of MODEL, its importance and the source columns and expressions behind it."""
    from pipeline import terminal
    from pipeline.lineage import columns

    found = columns.columns_of(opened.archive(workspace, store), model)
    if as_json:
        options.print_json(found.to_dict())
        return
    console = terminal.console()
    shown = terminal.table("rank", "feature", "gain", "permutation", "from", "computed as")
    for feature in found.features:
        if not (feature.is_kept or shows_all):
            continue
        worth = feature.importance
        shown.add_row(
            "label" if worth is None else str(worth.rank or "-"),
            escape(feature.name),
            f"{worth.gain:.3f}" if worth else "",
            f"{worth.permutation_mean:.4f}" if worth else "",
            escape("\n".join(".".join(column) for column in feature.trace.leaves) or "no column"),
            escape("\n".join(_steps(feature.trace))),
        )
    console.print(f"Model {found.model.id} ({escape(found.model.uri)}):")
    console.print(shown)
    if found.filters:
        names = ", ".join(".".join(column) for column in found.filters)
        console.print(f"\nWhich rows become examples is decided by: {escape(names)}")


def _steps(trace: "Trace") -> list[str]:
    computed = [node for node in trace.nodes if node.expression]
    if len(computed) == 1:
        return [computed[0].expression]
    return [f"{node.table}.{node.column} = {node.expression}" for node in computed]
