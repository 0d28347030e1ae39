"""`braid lineage rows`."""

from typing import TYPE_CHECKING

import click
from rich.markup import escape

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from pipeline.lineage.rows import Followed, ModelRows


@click.command("rows")
@click.argument("source")
@click.argument("condition")
@click.option("--model", metavar="MODEL", help="Follow the rows into this model alone, and list them.")
@click.option("--limit", default=10, show_default=True, help="How many rows to list.")
@options.workspace
@options.store
@options.as_json
def command(
    source: str, condition: str, model: str | None, limit: int, workspace: str, store: str, as_json: bool
) -> None:
    """Follow the rows of SOURCE for which CONDITION holds, such as "tailnum = 'N14228'".

    Names the models that must be retrained if those rows are erased. With --model, tells which of the rows reached
    that model's splits, and where the others were left out.
    """
    from pipeline import terminal
    from pipeline.lineage import naming, rows

    archive = opened.archive(workspace, store)
    if model:
        followed = rows.follow(archive, naming.find_model(archive, model), source, condition)
        if as_json:
            options.print_json({**followed.to_dict(), "rows": _as_dicts(followed, limit)})
        else:
            show_followed(terminal.console(), followed, limit)
        return
    found = rows.models_with(archive, source, condition)
    if as_json:
        options.print_json([one.to_dict() for one in found])
    else:
        _models(terminal.console(), source, condition, found)


def _as_dicts(followed: "Followed", limit: int) -> list[dict[str, object]]:
    return [{"_row": row, "where": where, "fate": fate} for row, where, fate in followed.listed(limit)]


def show_followed(console: "Console", followed: "Followed", limit: int) -> None:
    """What became of the rows, step by step, and the first of them."""
    from pipeline import terminal

    console.print(f"{followed.matched:,} rows of '{escape(followed.source)}' match.")
    for passage in followed.passages:
        console.print(f"  {passage.step}: {passage.reached:,} came in, {passage.left_out:,} were left out")
    if followed.passages:
        console.print(f"  in the examples: {_counts(followed.splits)}")
    if followed.influenced is not None:
        console.print(f"  examples that are there, or are as they are, because of them: {_counts(followed.influenced)}")
    if followed.unread:
        told = (
            f"{followed.unread_mentioning:,} of these hold the condition's texts" if followed.unread_mentioning else ""
        )
        console.print(
            f"  [yellow]{followed.unread:,} rows of the source could not be read, so they were not tested[/]"
            + (f"; {told}" if told else "")
        )
    console.print(verdict(followed))
    if followed.matched and limit:
        shown = terminal.table("_row", "what became of it", "where it stands", title="\nRows")
        for row, where, fate in followed.listed(limit):
            shown.add_row(str(row), escape(fate or "see above"), escape(where))
        console.print(shown)
        if followed.matched > limit:
            console.print(f"... and {followed.matched - limit:,} more: --limit {followed.matched} lists all.")


def verdict(followed: "Followed") -> str:
    """Whether a model of these examples would be another without the rows."""
    if followed.shaped_the_model:
        return "[bold]The model learned from them[/]: were they erased, it must be retrained."
    if any(followed.splits.values()) or any((followed.influenced or {}).values()):
        return "The model did not learn from them, but was judged by them: its metrics would change."
    return "None of them reached the model."


def _counts(splits: "Mapping[str, int]") -> str:
    return ", ".join(f"{split or 'rows'} {rows:,}" for split, rows in splits.items()) or "none"


def _models(console: "Console", source: str, condition: str, found: "list[ModelRows]") -> None:
    from pipeline import terminal

    if not found:
        console.print(f"Source '{escape(source)}' was read, but no model was made from it.")
        return
    shown = terminal.table("model", "made by", "rows", "in train and eval", "serves", "if the rows are erased")
    for one in found:
        followed = one.followed
        learned = {split: rows for split, rows in (followed.influenced or followed.splits).items() if split != "test"}
        shown.add_row(
            str(one.model.id),
            f"{one.run}/{one.step}",
            f"{followed.matched:,}",
            f"{sum(learned.values()):,}",
            "now" if one.serves_from else "",
            "[bold]retrain[/]" if one.must_be_retrained else "keep",
        )
    console.print(f"Models made from '{escape(source)}', and rows where {escape(condition)}:")
    console.print(shown)
    console.print(f'One in detail: braid lineage rows {source} "{escape(condition)}" --model {found[0].model.id}')
