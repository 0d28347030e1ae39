"""Rows that arrive as JSON become a table of known types, as lines of a JSON Lines source would. Loads neither TFX nor Beam."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from beam_jobs.column_types import type_name
from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.json_lines import JsonParser

Rows = Sequence[Mapping[str, Any]]
_SHOWN = 100


def table_of(rows: Sequence[Any], schema: pa.Schema, where: str = "instances") -> pa.Table:
    """The rows with the columns that any of them names, in the schema's order; a key that a row lacks is null.

    Args:
      rows: JSON values.
      schema: of all columns that there may be.
      where: what the rows are called in messages.

    Raises:
      DataError: a row is no object, names an unknown column, or holds a value of another type; row and column are named.
    """
    for number, row in enumerate(rows):
        _check_keys(row, schema, f"{where}[{number}]")
    named = {key for row in rows for key in row}
    if rows and not named:
        raise DataError(f"No row of the {where} has a value.", f"Columns: {listed(schema.names, 40)}.")
    wanted = pa.schema([field for field in schema if field.name in named])
    plain = pa.schema([pa.field(field.name, _plain(field)) for field in wanted])
    parser = JsonParser(plain)
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    try:
        return parser.parse(lines).cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _blamed(rows, wanted, where, error) from error


def rows_of(columns: Mapping[str, Any], where: str = "inputs") -> list[dict[str, Any]]:
    """Rows of columns as lists of one length.

    Raises:
      DataError: a column is no list, or has another length than the first.
    """
    for name, values in columns.items():
        if not isinstance(values, list):
            raise DataError(
                f"{where}['{name}'] is {_shown(values)}, not a list.", "Give each column as a list with a value a row."
            )
    lengths = {name: len(values) for name, values in columns.items()}
    first = next(iter(lengths), "")
    for name, length in lengths.items():
        if length != lengths[first]:
            raise DataError(
                f"{where}['{name}'] has {length:,} values, {where}['{first}'] has {lengths[first]:,}.",
                "Give each column a value for every row; null stands for a missing one.",
            )
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _check_keys(row: Any, schema: pa.Schema, where: str) -> None:
    if not isinstance(row, dict):
        raise DataError(
            f"{where} is {_shown(row)}, not an object.", 'Give each row as an object: {"column": value, ...}.'
        )
    for key in row:
        if key not in schema.names:
            raise DataError(
                f"{where}: there is no column '{key}'.{nearest(key, schema.names)}",
                f"Columns: {listed(schema.names, 40)}.",
            )


def _plain(field: pa.Field) -> pa.DataType:
    """The type as which JSON is read, before it is cast to the column's own.

    Raises:
      DataError: JSON has no values of the column's type.
    """
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_decimal(kind):
        return pa.string()
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_duration(kind):
        raise DataError(
            f"Column '{field.name}' is {kind}, which JSON has no values for.",
            "Leave it out, or score a file with `braid score`.",
        )
    return kind


def _blamed(rows: Rows, schema: pa.Schema, where: str, error: Exception) -> DataError:
    """The error with the row and the column at fault."""
    for number, row in enumerate(rows):
        for key, value in row.items():
            if not _fits(schema.field(key), value):
                kind = type_name(schema.field(key).type)
                return DataError(
                    f"{where}[{number}]['{key}'] is {_shown(value)}; the column is {kind}.", _spelling(kind)
                )
    return DataError(f"The {where} cannot be read: {error}.", "Send rows as the source of the model had them.")


def _fits(field: pa.Field, value: Any) -> bool:
    schema = pa.schema([field])
    try:
        parsed = JsonParser(pa.schema([pa.field(field.name, _plain(field))]))
        parsed.parse(json.dumps({field.name: value}).encode() + b"\n").cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _spelling(kind: str) -> str:
    examples = {
        "date": 'a date such as "2013-05-31"',
        "timestamp": 'a moment such as "2013-05-31 23:59:00"',
        "timestamp[UTC]": 'a moment such as "2013-05-31T23:59:00Z"',
        "string": "text in quotes",
        "bool": "true or false",
    }
    return f"Give {examples.get(kind, f'a number that {kind} can hold')}, or null where the value is missing."


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
