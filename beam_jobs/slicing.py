"""Slices: the rows that share a column's value, or the values of several columns."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import DataError, listed, nearest

NULL = "(null)"
OTHER = "(other)"
MOST_VALUES = 50
MOST_DISTINCT = 100_000

Ints = npt.NDArray[np.int64]
Columns = tuple[str, ...]
"""What rows are sliced by: one column, or several that are crossed; none for all rows."""
Values = tuple[str, ...]
"""A slice: a value of each of its columns."""
ValueCounts = Mapping[Columns, Counter[Values]]
_FEW_CODES = 1 << 22


def check_slices(schema: pa.Schema, columns: Iterable[str]) -> None:
    """Refuses what cannot be sliced by.

    Raises:
      DataError: a column is not in the examples, or holds neither text nor booleans nor integers.
    """
    for name in columns:
        if name not in schema.names:
            raise DataError(
                f"The examples have no column '{name}' to slice by.{nearest(name, schema.names)}",
                f"They have: {listed(schema.names)}. A slice column must be in the examples, but need not be a feature.",
            )
        if not _can_slice(schema.field(name).type):
            raise DataError(
                f"Column '{name}' of type {schema.field(name).type} cannot be sliced by: text, booleans and integers can.",
                f"Bucket it in the query, for example: CAST(floor({name} / 10) AS INTEGER) AS {name}_bucket.",
            )


def _can_slice(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _can_slice(kind.value_type)
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind) or types.is_integer(kind)
    ) or kind in (pa.string_view(), pa.null())


def count_values(batch: pa.RecordBatch, slices: Iterable[Columns]) -> ValueCounts:
    """Rows by value of each column, and by the values of crossed columns; the text of a value is its name.

    Raises:
      DataError: there are too many values.
    """
    return _few({columns: _counter(batch, columns) for columns in slices})


def add_counts(parts: Iterable[ValueCounts]) -> ValueCounts:
    """Adds counts up.

    Raises:
      DataError: there are too many values.
    """
    added: dict[Columns, Counter[Values]] = {}
    for part in parts:
        for columns, counter in part.items():
            added.setdefault(columns, Counter()).update(counter)
    return _few(added)


def _few(counts: dict[Columns, Counter[Values]]) -> ValueCounts:
    for columns, counter in counts.items():
        if len(counter) > MOST_DISTINCT:
            if len(columns) > 1:
                raise DataError(
                    f"Columns {listed(columns)} have more than {MOST_DISTINCT:,} combinations: too many to slice by.",
                    "Cross other columns, or group their values in the query.",
                )
            raise DataError(
                f"Column '{columns[0]}' has more than {MOST_DISTINCT:,} values: that is an identifier, not a slice.",
                "Slice by another column, or group its values in the query.",
            )
    return counts


def _counter(batch: pa.RecordBatch, columns: Columns) -> Counter[Values]:
    values, numbers = _valued(batch, columns)
    counter: Counter[Values] = Counter()
    for value, rows in zip(values, np.bincount(numbers, minlength=len(values)).tolist(), strict=True):
        counter[value] += rows  # a dictionary may hold a value twice, or a null
    return counter


@dataclass(frozen=True)
class Slices:
    """The slices of a job.

    Attributes:
      values: for each column, or cross of columns, what has a slice of its own, most frequent first; the rest is OTHER.
      others: for each how many values and rows share OTHER.
    """

    values: Mapping[Columns, tuple[Values, ...]]
    others: Mapping[Columns, tuple[int, int]]

    @classmethod
    def most_frequent(cls, counts: ValueCounts) -> "Slices":
        """The MOST_VALUES most frequent values of each column or cross, ties in the order of their text."""
        ordered = {columns: sorted(c.items(), key=lambda item: (-item[1], item[0])) for columns, c in counts.items()}
        return cls(
            {columns: tuple(value for value, _ in items[:MOST_VALUES]) for columns, items in ordered.items()},
            {
                columns: (len(items) - MOST_VALUES, sum(rows for _, rows in items[MOST_VALUES:]))
                for columns, items in ordered.items()
                if len(items) > MOST_VALUES
            },
        )

    def names(self, columns: Columns) -> tuple[Values, ...]:
        """The slices of a column or cross by their number; the one slice () of no columns."""
        return (*self.values[columns], (OTHER,) * len(columns)) if columns else ((),)

    def numbers(self, batch: pa.RecordBatch, columns: Columns) -> Ints:
        """The slice's number of each row: (rows,)."""
        if not columns:
            return np.zeros(batch.num_rows, np.int64)
        place = {value: number for number, value in enumerate(self.values[columns])}
        values, numbers = _valued(batch, columns)
        return np.array([place.get(value, len(place)) for value in values], np.int64)[numbers]


def column_texts(batch: pa.RecordBatch, column: str) -> list[str]:
    """The name of each row's value: (rows,)."""
    values, numbers = _valued(batch, (column,))
    return [values[number][0] for number in numbers.tolist()]


def _valued(batch: pa.RecordBatch, columns: Columns) -> tuple[list[Values], Ints]:
    """The values that occur, perhaps more than once, and which of them each row has: (rows,)."""
    values: list[Values] = [()]
    numbers = np.zeros(batch.num_rows, np.int64)
    for name in columns:
        encoded = _encoded(batch.column(name))
        texts = [*_texts(encoded), NULL]
        present, numbers = _compact(numbers * len(texts) + _indices(encoded), len(values) * len(texts))
        values = [(*values[code // len(texts)], texts[code % len(texts)]) for code in present.tolist()]
    return values, numbers


def _compact(codes: Ints, space: int) -> tuple[Ints, Ints]:
    """The codes that occur, ascending, and the place among them of each row's. Codes are less than `space`."""
    if space > _FEW_CODES:
        present, numbers = np.unique(codes, return_inverse=True)
        return present, numbers
    present = np.flatnonzero(np.bincount(codes, minlength=space))
    places = np.zeros(space, np.int64)
    places[present] = np.arange(len(present))
    return present, places[codes]


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _indices(encoded: pa.DictionaryArray) -> Ints:
    """(rows,) the place in the dictionary, its length for null."""
    filled = encoded.indices.cast(pa.int64()).fill_null(len(encoded.dictionary))
    indices: Ints = filled.to_numpy()
    return indices


def _texts(encoded: pa.DictionaryArray) -> Sequence[str]:
    return [NULL if text is None else text for text in pc.cast(encoded.dictionary, pa.string()).to_pylist()]
