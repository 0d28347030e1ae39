"""Columns that cannot help, whatever the model: found by looking at each alone, label unseen."""

import pyarrow as pa
import pyarrow.compute as pc

from components import encoding

NEAR_CONSTANT = 0.999
IDENTIFIER = 0.9


def unusable(column: pa.ChunkedArray) -> str:
    """Why the column can never be a feature, or ''."""
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return f"no value in any of {len(column):,} rows"
    if encoding.kind_of(column.type) is None:
        return f"a column of type {column.type} cannot be a feature"
    return ""


def uninformative(column: pa.ChunkedArray) -> str:
    """Why the column is not worth giving to a model, or ''.

    Constant, one value (null being one) in at least 99.9% of the rows, or text that is nearly always another.
    """
    counted = pc.value_counts(encoding.plain(column))
    rows, values = counted.field("counts"), counted.field("values")
    place = pc.index(rows, pc.max(rows)).as_py()
    share, value = rows[place].as_py() / len(column), values[place].as_py()
    shown = "null" if value is None else repr(value)
    if len(values) == 1:
        return f"constant: every row holds {shown}"
    if share >= NEAR_CONSTANT:
        return f"near-constant: {share:.2%} of the rows hold {shown}"
    valid, distinct = len(column) - column.null_count, len(values) - (column.null_count > 0)
    if encoding.kind_of(column.type) == "category" and distinct > IDENTIFIER * valid:
        return f"identifier-like text: {distinct:,} different values in {valid:,} rows"
    return ""
