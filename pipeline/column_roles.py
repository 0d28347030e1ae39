"""What the columns of an undescribed table are good for: texts that are dates or numbers, identifiers, empty ones."""

import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs import duck, splits

DATE_FORMATS = (
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%b %d %Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%B %d, %Y",
)
TIMES_OF_DAY = ("", " %H:%M", " %H:%M:%S")
MOST_VALUES = 20_000
MOST_NEW = 0.5
_DECIMAL_COMMA = re.compile(r"[-+]?\d+(,\d+)?")
_IDENTIFIER = re.compile(r"(^|[_\W])(id|uuid|guid|key|index|idx|no|nr|num|number|rownames?|column_1)$", re.IGNORECASE)


def conversions(rows: pa.Table, delimiter: str) -> dict[str, str]:
    """SQL that makes of text what it says: dates in one format other than ISO's, and numbers with a decimal comma."""
    found = {}
    for field in rows.schema:
        if pa.types.is_string(field.type):
            values = pc.unique(rows[field.name].drop_null()).slice(0, MOST_VALUES).to_pylist()
            expression = _conversion(duck.quote(field.name), values, delimiter) if values else ""
            if expression:
                found[field.name] = expression
    return found


def _conversion(column: str, values: list[str], delimiter: str) -> str:
    if delimiter != "," and all(map(_DECIMAL_COMMA.fullmatch, values)):
        return f"TRY_CAST(replace({column}, ',', '.') AS DOUBLE)"
    layout = date_format(values)
    if not layout:
        return ""
    parsed = f"try_strptime({column}, {duck.literal(layout)})"
    return parsed if "%H" in layout else f"CAST({parsed} AS DATE)"


def date_format(values: list[str]) -> str:
    """The one strptime format that reads all values, or '' when none does, or two do (day or month first?)."""
    fitting = [
        day + time
        for time in TIMES_OF_DAY
        for day in DATE_FORMATS
        if all(_parses(value.strip(), day + time) for value in values)
    ]
    return fitting[0] if len(fitting) == 1 else ""


def _parses(value: str, layout: str) -> bool:
    try:
        datetime.datetime.strptime(value, layout)
    except ValueError:
        return False
    return True


def converted(rows: pa.Table, expressions: dict[str, str]) -> pa.Table:
    """The rows as the query with these expressions gives them."""
    if not expressions:
        return rows
    with duck.connect() as connection:
        connection.register("rows", rows)
        table: pa.Table = connection.sql(query("rows", expressions)).to_arrow_table()
    return table


def query(table: str, expressions: dict[str, str]) -> str:
    """A query that replaces columns by expressions and leaves the others as they are."""
    if not expressions:
        return f"SELECT * FROM {duck.quote(table)}"
    replaced = ",\n".join(f"  {expression} AS {duck.quote(name)}" for name, expression in expressions.items())
    return f"SELECT * REPLACE (\n{replaced}\n)\nFROM {duck.quote(table)}\n"


def useless(rows: pa.Table, label: str, split: splits.Split) -> dict[str, str]:
    """Columns that no model should read, with the reason: without a value where it learns, row numbers, names of rows."""
    train = rows.filter(pa.array(assigned(rows, split) == split.names.index("train")))
    reasons = {}
    for name in rows.column_names:
        if name == label:
            continue
        if train[name].null_count == len(train):
            reasons[name] = "no value in any row" if rows[name].null_count == len(rows) else "no value in 'train'"
        elif is_identifier(name, rows[name]):
            reasons[name] = "another whole number in every row"
        elif _is_mostly_new_text(rows[name]):
            reasons[name] = "another text in most rows"
    return reasons


def is_identifier(name: str, column: pa.ChunkedArray) -> bool:
    """Whether whole numbers, all different, only tell rows apart: they count rows, or the name says so."""
    if (
        not pa.types.is_integer(column.type)
        or column.null_count
        or len(pc.unique(column)) < len(column)
        or not len(column)
    ):
        return False
    ends = pc.min_max(column).as_py()
    return ends["max"] - ends["min"] == len(column) - 1 or bool(_IDENTIFIER.search(name))


def _is_mostly_new_text(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(column.type):
        return False
    return bool(len(pc.unique(column.drop_null())) > MOST_NEW * (len(column) - column.null_count))


def assigned(rows: pa.Table, split: splits.Split) -> splits.Assigned:
    """For each row, the place of its split in `split.names`."""
    parts = [splits.assign(batch, split) for batch in rows.to_batches()]
    return np.concatenate([np.zeros(0, np.int8), *parts])
