"""Flat Arrow columns as the list columns that TFDV and TFX's own components read.

A value becomes a list of one, a null becomes a missing list. TFX knows integers, floats and bytes alone, so:

| flat column | inside the list |
|---|---|
| integer, bool | int64 (false 0, true 1); uint64 stays, as its upper half has no int64 |
| date32, date64 | int64, days since 1970-01-01 |
| timestamp, time, duration | int64, in the column's own unit |
| float16, float32, float64 | float32 for float16, else unchanged |
| decimal | float64 |
| string, binary, dictionary of them | large_binary (text as UTF-8) |
| null | null: never present |

`for_tensors` narrows this to what TensorFlow's readers know: every number is int64 or float32.
"""

from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import StepError

DAY = pa.date32()


def value_type(flat: pa.DataType, for_tensors: bool = False) -> pa.DataType:
    """The type inside the list for a flat column's type.

    Raises:
      StepError: the type is nested, or one that nothing downstream can read.
    """
    if pa.types.is_dictionary(flat):
        return value_type(flat.value_type, for_tensors)
    if pa.types.is_null(flat):
        return flat
    if pa.types.is_floating(flat) or pa.types.is_decimal(flat):
        return _float_type(flat, for_tensors)
    if pa.types.is_boolean(flat) or pa.types.is_integer(flat) or pa.types.is_temporal(flat):
        return flat if flat == pa.uint64() and not for_tensors else pa.int64()
    if _is_text(flat):
        return pa.large_binary()
    raise StepError(
        f"A column of type {flat} cannot be profiled or learned from.",
        "Turn it into flat columns in the query (for example with unnest, list_extract or struct_extract).",
    )


def _float_type(flat: pa.DataType, for_tensors: bool) -> pa.DataType:
    if for_tensors or pa.types.is_float16(flat):
        return pa.float32()
    return pa.float64() if pa.types.is_decimal(flat) else flat


def _is_text(flat: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(flat)
        or types.is_large_string(flat)
        or types.is_string_view(flat)
        or types.is_binary(flat)
        or types.is_large_binary(flat)
        or types.is_fixed_size_binary(flat)
    )


def listed_schema(schema: pa.Schema, for_tensors: bool = False) -> pa.Schema:
    """The schema of the list columns for a flat schema; columns that are lists already stay.

    Raises:
      StepError: a column cannot be listed; the message names it.
    """
    return pa.schema([(column.name, _listed_type(column, for_tensors)) for column in schema])


def _listed_type(column: pa.Field, for_tensors: bool) -> pa.DataType:
    if _is_list(column.type) or pa.types.is_null(column.type):
        return column.type
    try:
        return pa.large_list(value_type(column.type, for_tensors))
    except StepError as error:
        raise StepError(f"Column '{column.name}': {error}", error.hint) from None


def _is_list(flat: pa.DataType) -> bool:
    return bool(pa.types.is_list(flat) or pa.types.is_large_list(flat))


def listed_column(column: pa.Array, for_tensors: bool = False) -> pa.Array:
    """Wraps a flat column, shape (rows,), as LargeList, shape (rows,), each of one value or null."""
    if _is_list(column.type) or pa.types.is_null(column.type):
        return column
    wanted = value_type(column.type, for_tensors)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    present = np.asarray(column.is_valid()) if column.null_count else None
    values = _cast(column.drop_null() if column.null_count else column, wanted)
    if present is None:
        return pa.LargeListArray.from_arrays(pa.array(np.arange(len(column) + 1)), values)
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(present, out=offsets[1:])
    return pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~present))


def _cast(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    if values.type == wanted:
        return values
    if pa.types.is_date(values.type):
        return values.cast(DAY).cast(pa.int32()).cast(wanted)
    if pa.types.is_time32(values.type):
        return values.cast(pa.int32()).cast(wanted)
    if pa.types.is_fixed_size_binary(values.type):
        return values.cast(pa.binary()).cast(wanted)
    if pa.types.is_string_view(values.type):
        return values.cast(pa.large_string()).cast(wanted)
    return pc.cast(values, wanted)


def listed_batch(batch: pa.RecordBatch, for_tensors: bool = False) -> pa.RecordBatch:
    """Wraps every column of a batch.

    Raises:
      StepError: a column cannot be listed; the message names it.
    """
    listed_schema(batch.schema, for_tensors)
    columns = [listed_column(column, for_tensors) for column in batch.columns]
    return cast(pa.RecordBatch, pa.RecordBatch.from_arrays(columns, batch.schema.names))
