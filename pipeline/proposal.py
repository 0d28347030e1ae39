"""A first configuration for a table that nobody has described: a sample is looked at, and the rest follows."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from beam_jobs import sql, storage
from beam_jobs.column_types import type_name
from beam_jobs.errors import listed
from components.target import Target, target_of
from pipeline import column_roles, proposed_split
from pipeline.config import NAME
from pipeline.errors import ConfigError
from pipeline.proposed_split import ProposedSplit
from pipeline.source_sample import Sample, column

MOST_DISTINCT = 1_000


@dataclass(frozen=True)
class Table:
    """A sampled table, its texts converted where they are dates or numbers.

    Attributes:
      taken: the sample as read.
      conversions: SQL expressions by column, for a prepare step.
      rows: the sample as that step gives it.
    """

    taken: Sample
    conversions: dict[str, str]
    rows: pa.Table


@dataclass(frozen=True)
class Proposal:
    """What a configuration will say.

    Attributes:
      excluded: columns that are no features, with the reason.
      notes: what a user should know before the first run.
    """

    name: str
    table: Table
    target: Target
    split: ProposedSplit
    excluded: dict[str, str]
    notes: tuple[str, ...]

    @property
    def task(self) -> str:
        """The kind of prediction, in words."""
        if not self.target.classes:
            return "a number: regression"
        shown = listed((" ".join(str(value).split()) for value in self.target.classes), 5)
        return (
            f"two classes: {shown}" if self.target.task == "binary" else f"{len(self.target.classes)} classes: {shown}"
        )


def describe(taken: Sample) -> Table:
    """Finds the conversions that the sample's columns need.

    Raises:
      SqlError: SQL cannot read the table, or tell its columns apart.
    """
    found = column_roles.conversions(taken.rows, taken.source.delimiter)
    name = taken.source.name
    sql.check_query(name, column_roles.query(name, found), name, {name: taken.rows.schema})
    return Table(taken, found, column_roles.converted(taken.rows, found))


def target(rows: pa.Table, label: str) -> Target:
    """What predicting the column means, as far as the sample shows.

    Raises:
      BraidError: there is no such column, or nothing can be learned from it.
    """
    values = pc.unique(rows[column(rows, label)].drop_null())
    if pa.types.is_floating(values.type):
        values = values.filter(pc.is_finite(values))
    if len(values) < 2:
        shown = repr(values[0].as_py()) if len(values) else "null"
        raise ConfigError(
            f"Column '{label}' is {shown} in all {len(rows):,} rows looked at; there is nothing to predict.",
            "Name another label.",
        )
    few = values.slice(0, MOST_DISTINCT)
    return target_of(label, values.type, sorted(pc.cast(few, _decoded(few.type)).to_pylist()))


def _decoded(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(kind):
        return pa.float64()
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def propose(table: Table, aim: Target, time: str | None, name: str) -> Proposal:
    """Chooses the split and the columns that no model should read.

    Args:
      table: the table.
      aim: what is predicted.
      time: the column to split by, 'none' for a hash, or None for the first one by which rows can be split.
      name: the pipeline's name.

    Raises:
      ConfigError: the rows cannot be split so.
    """
    rows = table.rows
    by = _time_column(rows, aim, time)
    split = proposed_split.propose(rows, aim, by, table.taken.whole)
    excluded = {by: "rows are split by it"} if by else {}
    excluded |= column_roles.useless(rows, aim.label, split.split)
    if not set(rows.column_names) - {aim.label, *excluded}:
        reasons = listed(f"{column} ({reason})" for column, reason in excluded.items())
        raise ConfigError(f"No column is left to learn from: {reasons}.", "Give a table with more columns.")
    return Proposal(name, table, aim, split, excluded, tuple(_notes(table, aim)))


def _time_column(rows: pa.Table, aim: Target, asked: str | None) -> str | None:
    if asked == "none":
        return None
    possible = proposed_split.time_columns(rows, aim) if asked is None else []
    if asked is None:
        return possible[0] if possible else None
    kind = rows.schema.field(column(rows, asked)).type
    if not proposed_split.is_moment(kind) or asked == aim.label:
        found = "the label" if asked == aim.label else f"of type {type_name(kind)}"
        times = listed(proposed_split.time_columns(rows, aim)) or "none"
        raise ConfigError(
            f"Rows cannot be split in time by '{asked}', which is {found}.",
            f"Columns by which they can: {times}; `--time none` splits by a hash.",
        )
    return asked


def _notes(table: Table, aim: Target) -> Iterator[str]:
    taken = table.taken
    if taken.source.columns:
        yield (
            "The first line holds values, not names, so the columns are called column_1, column_2 and so on. "
            "Name them under `columns`, or say --header if it does hold names."
        )
    if taken.rejects:
        yield f"{len(taken.rejects):,} of {taken.read:,} records looked at become rejects, the first one: {taken.rejects[0]}."
    missing = table.rows[aim.label].null_count
    if missing:
        yield f"{missing:,} of {len(table.rows):,} rows have no '{aim.label}'; models neither learn from them nor are judged by them."


def document(proposal: Proposal, folder: str) -> str:
    """The text of a configuration file in `folder`.

    Args:
      proposal: what it says.
      folder: relative paths will count from it.
    """
    source, target = proposal.table.taken.source, proposal.target
    prepared = f"{source.name}_typed" if proposal.table.conversions else ""
    parts = [
        "# Written by `braid init`. `braid check` tells whether it is sound; docs/configuration.md explains every key.\n"
        f"name: {proposal.name}\n",
        f"sources:\n  {source.name}: {_flow(_declaration(proposal.table.taken, folder))}\n",
        _prepare(prepared, source.name, proposal.table.conversions) if prepared else "",
        f"examples:\n  table: {prepared or source.name}\n  label: {_flow(target.label)}  # {proposal.task}\n"
        f"  split: {_flow(proposal.split.config)}\n",
        _select(proposal.excluded) if proposal.excluded else "",
        "# A bound that the model must keep on 'test' to be pushed, and columns by whose values it is also judged:\n"
        f"# evaluate:\n#   thresholds: {_THRESHOLDS[target.task]}\n#   slices: []\n",
    ]
    return "\n".join(filter(None, parts))


def _prepare(name: str, stream: str, conversions: dict[str, str]) -> str:
    lines = "".join(f"      {line}\n" for line in column_roles.query(stream, conversions).splitlines())
    return f"prepare:\n  {name}:\n    stream: {stream}\n    sql: |\n{lines}"


def _select(excluded: dict[str, str]) -> str:
    return "select:\n  exclude:\n" + "".join(f"    - {_flow(name)}  # {why}\n" for name, why in excluded.items())


_THRESHOLDS = {
    "binary": "{auc: {min: 0.7}}",
    "multiclass": "{accuracy: {min: 0.7}}",
    "regression": "{r2: {min: 0.5}}",
}


def _declaration(taken: Sample, folder: str) -> dict[str, Any]:
    source, path = taken.source, taken.source.path
    if not storage.is_remote(path) and not path.startswith(storage.PACKAGE_SCHEME):
        path = os.path.relpath(storage.resolve(path), folder)
    declared: dict[str, Any] = {"path": path}
    if source.delimiter != ",":
        declared["delimiter"] = source.delimiter
    if source.columns:
        declared["columns"] = list(source.columns)
    return declared


def _flow(value: Any) -> str:
    """The value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    line = text.removesuffix("...\n").strip()
    return json.dumps(value, ensure_ascii=False) if "\n" in line else line  # JSON is YAML, too


def checked_name(name: str) -> str:
    """The pipeline's name, once it is sure to be one.

    Raises:
      ConfigError: it is not.
    """
    if not NAME.match(name):
        raise ConfigError(
            f"'{name}' cannot name a pipeline.", "Use letters, digits and _, not beginning with a digit: --name NAME."
        )
    return name


def check_free(output: str, replacing: bool) -> None:
    """Makes sure, before anybody is asked anything, that the file may be written.

    Raises:
      ConfigError: it exists.
    """
    if os.path.exists(output) and not replacing:
        raise _exists(output)


def _exists(output: str) -> ConfigError:
    return ConfigError(f"'{output}' exists.", "Name another with --output, or overwrite it with --force.")


def write(text: str, output: str, replacing: bool) -> None:
    """Writes the configuration.

    Raises:
      ConfigError: the file exists and may not be replaced, or cannot be written.
    """
    try:
        with open(output, "w" if replacing else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise _exists(output) from error
    except OSError as error:
        raise ConfigError(f"'{output}' cannot be written: {error.strerror}.", "Name another with --output.") from error
