"""`braid init`."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from components.target import Target
    from pipeline.proposal import Proposal, Table


@click.command("init")
@click.argument("table", required=False)
@click.option("--label", help="The column to predict.")
@click.option("--time", help="The date or timestamp column to split by; 'none' splits by a hash.")
@click.option("--name", help="The pipeline's name; the table's unless given.")
@click.option("--output", help="The file to write; NAME.yaml unless given.")
@click.option("--header/--no-header", default=None, help="Whether the first line of a CSV file holds column names.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def command(
    table: str | None,
    label: str | None,
    time: str | None,
    name: str | None,
    output: str | None,
    header: bool | None,
    force: bool,
) -> None:
    """Write a configuration for TABLE: a file, a folder or a glob in CSV, JSON Lines or Parquet.

    Asks for what is not given.
    """
    from pipeline import proposal, source_sample

    def read(path: str) -> "Table":
        return proposal.describe(source_sample.sample(path, header))

    described = read(table) if table else _ask("Table (a file, a folder or a glob)", "TABLE", read)
    name = proposal.checked_name(name or described.taken.source.name)
    output = output or f"{name}.yaml"
    proposal.check_free(output, force)
    if label is None:
        _show_columns(described)
        aim: Target = _ask("Column to predict", "--label", lambda text: proposal.target(described.rows, text))
        time = _ask_time(described, aim) if time is None else time
    else:
        aim = proposal.target(described.rows, label)
    proposed = proposal.propose(described, aim, time, name)
    proposal.write(proposal.document(proposed, os.path.dirname(os.path.abspath(output))), output, force)
    _tell(proposed, output)


def _ask(question: str, option: str, convert: Callable[[str], Any], **options: Any) -> Any:
    """Asks until the answer converts."""
    from beam_jobs.errors import BraidError

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except BraidError as error:
            raise click.UsageError(f"{error} {error.hint}") from error

    try:
        return click.prompt(question, value_proc=converted, **options)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):
            raise click.UsageError(f"Nobody answers here: give {option} on the command line.") from error
        raise


def _show_columns(described: "Table") -> None:
    from beam_jobs.column_types import type_name

    click.echo(f"Columns of {described.taken.source.name}:")
    width = max(len(field.name) for field in described.rows.schema)
    for field in described.rows.schema:
        values = described.rows[field.name].drop_null()
        example = str(values[0].as_py())[:40] if len(values) else "no value"
        click.echo(f"  {field.name:<{width}}  {type_name(field.type):<14}  {example}")


def _ask_time(described: "Table", aim: "Target") -> str:
    """Asks only where there is a choice."""
    from pipeline import proposed_split

    times = proposed_split.time_columns(described.rows, aim)
    if not times:
        return "none"
    question = f"Split by time, so that later rows judge the model? Column ({', '.join(times)}) or 'none'"
    chosen: str = _ask(question, "--time", str, default=times[0])
    return chosen


def _tell(proposed: "Proposal", output: str) -> None:
    split = proposed.split.config
    by = f"time ('{split['column']}')" if split["by"] == "time" else f"a hash of {', '.join(split['columns'])}"
    counts = ", ".join(f"{rows:,} {name}" for name, rows in proposed.split.counts.items())
    looked = "rows" if proposed.table.taken.whole else "sampled rows"
    click.echo(f"Wrote {output}.")
    click.echo(f"  predicts  {proposed.target.label} ({proposed.task})")
    click.echo(f"  splits    by {by}: {counts} {looked}")
    for column, sql in proposed.table.conversions.items():
        click.echo(f"  converts  {column}: {sql}")
    for column, reason in proposed.excluded.items():
        click.echo(f"  excludes  {column}: {reason}")
    for note in proposed.notes:
        click.echo(f"  note      {note}")
    click.echo(f"Next: braid run {output}")
