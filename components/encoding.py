"""Columns become numbers: one float32 matrix and one float32 label vector, the same in training and prediction.

| kind     | columns                                       | number                                                       |
|----------|-----------------------------------------------|--------------------------------------------------------------|
| numeric  | integers, floats, decimals                    | the value; infinite or too large for float32: missing        |
| bool     | booleans                                      | 0 or 1                                                       |
| category | text, plain or dictionary-encoded             | the place in the recorded vocabulary; unknown value: missing |
| time     | dates, timestamps, times of day, durations    | days, for a date or timestamp since 1970-01-01 UTC           |

Missing is NaN everywhere. A float32 holds today's dates to within three minutes, which is why days are used and
not seconds. A date is one number, that is, a trend: a tree cannot follow it beyond the last day it has seen,
so that seasons and hours are better derived in SQL (`month(day)`, `hour(at)`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import listed, nearest
from components.errors import StepError
from components.model_contract import ClassValue, Feature, Kind, ModelContract

Floats = npt.NDArray[np.float32]
VOCABULARY_CAP = 1_000
UNITS_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def kind_of(column_type: pa.DataType) -> Kind | None:
    """How a column of this Arrow type is encoded; None where it cannot be (nested, binary, all null)."""
    if pa.types.is_dictionary(column_type):
        return kind_of(column_type.value_type)
    if pa.types.is_boolean(column_type):
        return "bool"
    if _is_text(column_type):
        return "category"
    if pa.types.is_temporal(column_type) and not pa.types.is_interval(column_type):
        return "time"
    if pa.types.is_integer(column_type) or pa.types.is_floating(column_type) or pa.types.is_decimal(column_type):
        return "numeric"
    return None


def _is_text(column_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(column_type) or pa.types.is_large_string(column_type)) or (
        column_type == pa.string_view()
    )


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array of its values, dictionary-encoding undone."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    # Arrow's kernels do not know the view type yet.
    return values.cast(pa.large_string()) if values.type == pa.string_view() else values


@dataclass(frozen=True)
class CategoryCounts:
    """Rows of each text value, exact and mergeable: the sum is the same in whatever batches the rows came.

    Attributes:
      table: columns `value` (large_string, distinct, not null) and `rows` (int64).
    """

    table: pa.Table

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray) -> "CategoryCounts":
        """Counts one column's values; nulls are left out."""
        counted = pc.value_counts(plain(column).cast(pa.large_string()).drop_null())
        return cls(pa.table({"value": counted.field("values"), "rows": counted.field("counts")}))

    @classmethod
    def sum(cls, counts: Iterable["CategoryCounts"]) -> "CategoryCounts":
        """Adds the counts value by value."""
        schema = pa.schema([("value", pa.large_string()), ("rows", pa.int64())])
        together = pa.concat_tables([schema.empty_table(), *(c.table for c in counts)])
        added = together.group_by("value", use_threads=False).aggregate([("rows", "sum")])
        return cls(added.rename_columns({"rows_sum": "rows"}).select(["value", "rows"]))

    def vocabulary(self, cap: int = VOCABULARY_CAP) -> tuple[str, ...]:
        """The `cap` most frequent values, most frequent first, then by code point."""
        ordered = self.table.sort_by([("rows", "descending"), ("value", "ascending")])
        return tuple(ordered["value"].slice(0, cap).to_pylist())


def fit_vocabularies(
    batches: Iterable[pa.RecordBatch], names: Iterable[str], cap: int = VOCABULARY_CAP
) -> dict[str, tuple[str, ...]]:
    """The vocabulary of each named text column, in one pass over the batches."""
    counts: dict[str, CategoryCounts] = {name: CategoryCounts.sum([]) for name in names}
    for batch in batches:
        for name, before in counts.items():
            counts[name] = CategoryCounts.sum([before, CategoryCounts.of(batch.column(name))])
    return {name: count.vocabulary(cap) for name, count in counts.items()}


def features_of(
    schema: pa.Schema, names: Iterable[str], vocabularies: Mapping[str, tuple[str, ...]]
) -> tuple[Feature, ...]:
    """The features that the named columns of a table make.

    Raises:
      StepError: a column has a type that cannot be encoded.
    """
    return tuple(_feature(schema.field(name), vocabularies.get(name, ())) for name in names)


def _feature(field: pa.Field, vocabulary: tuple[str, ...]) -> Feature:
    kind = kind_of(field.type)
    if kind is None:
        raise StepError(
            f"Column '{field.name}' of type {field.type} cannot be a feature.",
            "Leave it out, or turn it into numbers, text or dates in a prepare step.",
        )
    return Feature(field.name, kind, str(field.type), vocabulary)


def matrix(batch: pa.RecordBatch | pa.Table, contract: ModelContract, out: Floats | None = None) -> Floats:
    """Encodes the features of a batch.

    Args:
      out: where to write, shape (rows, features); a new array in column order unless given.

    Returns:
      Shape (rows, features), NaN for missing.

    Raises:
      StepError: a column is missing, or is of another kind than in training.
    """
    values = np.empty((batch.num_rows, len(contract.features)), np.float32, "F") if out is None else out
    for place, feature in enumerate(contract.features):
        values[:, place] = encode(feature_column(batch, feature), feature)
    return values


def feature_column(batch: pa.RecordBatch | pa.Table, feature: Feature) -> pa.Array:
    """The column of a feature as one array, which has the feature's kind or no value at all.

    Raises:
      StepError: the column is missing, or is of another kind than in training.
    """
    return _checked(_column(batch, feature.name, "the model's"), feature)


def _column(batch: pa.RecordBatch | pa.Table, name: str, whose: str) -> pa.Array | pa.ChunkedArray:
    names = batch.schema.names
    if name not in names:
        raise StepError(
            f"The table lacks {whose} column '{name}'.{nearest(name, names)}",
            f"It has: {listed(names)}. Prepare the table as for training, or train again.",
        )
    return batch.column(name)


def encode(column: pa.Array | pa.ChunkedArray, feature: Feature) -> Floats:
    """Encodes one column: shape (rows,), NaN for missing.

    Raises:
      StepError: the column is of another kind than in training. A column without any value is of no kind: all NaN.
    """
    array = _checked(column, feature)
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan, np.float32)
    if feature.kind == "category":
        return _codes(array, feature.vocabulary)
    if feature.kind == "time":
        return _days(plain(array))
    return _numbers(plain(array))


def _checked(column: pa.Array | pa.ChunkedArray, feature: Feature) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_null(array.type) and kind_of(array.type) != feature.kind:
        raise StepError(
            f"Column '{feature.name}' is of type {array.type}; the model was trained on {feature.type} ({feature.kind}).",
            "Cast it in the prepare step, or train again.",
        )
    return array


def _codes(array: pa.Array, vocabulary: tuple[str, ...]) -> Floats:
    values = plain(array.dictionary if pa.types.is_dictionary(array.type) else array)
    codes = pc.index_in(values, value_set=pa.array(vocabulary, values.type))
    return _floats(codes.take(array.indices) if pa.types.is_dictionary(array.type) else codes)


def _days(array: pa.Array) -> Floats:
    kind = array.type
    a_day = 1 if pa.types.is_date32(kind) else 86_400_000 if pa.types.is_date64(kind) else UNITS_A_DAY[kind.unit]
    integers = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    ticks: npt.NDArray[np.float64] = integers.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return (ticks / a_day).astype(np.float32)


def _numbers(array: pa.Array) -> Floats:
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    values = _floats(array)
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.float32(np.nan))


def _floats(array: pa.Array) -> Floats:
    values: Floats = array.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return values


def labels(batch: pa.RecordBatch | pa.Table, contract: ModelContract) -> Floats:
    """Encodes the label: shape (rows,); the class's code, or the value itself for a regression.

    NaN where there is no label, which includes a class that training never saw.

    Raises:
      StepError: the table lacks the label's column.
    """
    return label_codes(_column(batch, contract.label, "the label's"), contract.classes)


def label_codes(column: pa.Array | pa.ChunkedArray, classes: tuple[ClassValue, ...]) -> Floats:
    """The place of each value in `classes`, or with no classes the number itself; NaN where missing or unseen."""
    array = plain(column)
    if not classes:
        return _numbers(array)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    return _floats(pc.index_in(array, value_set=pa.array(classes).cast(array.type)))


def unseen_labels(column: pa.Array | pa.ChunkedArray, classes: tuple[ClassValue, ...]) -> dict[str, int]:
    """Rows of each label value that is none of `classes`, by its text; empty for a regression."""
    array = plain(column)
    if not classes:
        return {}
    unseen = array.filter(pc.and_(pc.is_valid(array), pa.array(np.isnan(label_codes(array, classes)))))
    counted = pc.value_counts(unseen)
    return {str(value["values"]): int(value["counts"]) for value in counted.to_pylist()}
