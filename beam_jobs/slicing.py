"""Slices: the rows that share a column's value."""

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

ValueCounts = Mapping[str, Counter[str]]


def check_slices(schema: pa.Schema, columns: Sequence[str]) -> None:
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


def count_values(batch: pa.RecordBatch, columns: Sequence[str]) -> ValueCounts:
    """Rows by value of each column; the text of a value is its name.

    Raises:
      DataError: a column has too many values.
    """
    return _few({name: _counter(batch.column(name)) for name in columns})


def add_counts(parts: Iterable[ValueCounts]) -> ValueCounts:
    """Adds counts up.

    Raises:
      DataError: a column has too many values.
    """
    added: dict[str, Counter[str]] = {}
    for part in parts:
        for name, counter in part.items():
            added.setdefault(name, Counter()).update(counter)
    return _few(added)


def _few(counts: dict[str, Counter[str]]) -> ValueCounts:
    for name, counter in counts.items():
        if len(counter) > MOST_DISTINCT:
            raise DataError(
                f"Column '{name}' has more than {MOST_DISTINCT:,} values: that is an identifier, not a slice.",
                "Slice by another column, or group its values in the query.",
            )
    return counts


def _counter(column: pa.Array) -> Counter[str]:
    encoded = _encoded(column)
    numbers = np.bincount(_indices(encoded), minlength=len(encoded.dictionary) + 1).tolist()
    counter: Counter[str] = Counter()
    for text, rows in zip([*_texts(encoded), NULL], numbers, strict=True):
        if rows:
            counter[text] += rows  # a dictionary may hold a value twice, or a null
    return counter


@dataclass(frozen=True)
class Slices:
    """The slices of a job.

    Attributes:
      values: for each column the values that have a slice of their own, most frequent first; the rest are OTHER.
      others: for each column how many values and rows share OTHER.
    """

    values: Mapping[str, tuple[str, ...]]
    others: Mapping[str, tuple[int, int]]

    @classmethod
    def most_frequent(cls, counts: ValueCounts) -> "Slices":
        """The MOST_VALUES most frequent values of each column, ties in the order of their text."""
        ordered = {name: sorted(c.items(), key=lambda item: (-item[1], item[0])) for name, c in counts.items()}
        return cls(
            {name: tuple(text for text, _ in items[:MOST_VALUES]) for name, items in ordered.items()},
            {
                name: (len(items) - MOST_VALUES, sum(rows for _, rows in items[MOST_VALUES:]))
                for name, items in ordered.items()
                if len(items) > MOST_VALUES
            },
        )

    def names(self, column: str) -> tuple[str, ...]:
        """The slices of a column by their number."""
        return (*self.values[column], OTHER)

    def numbers(self, batch: pa.RecordBatch, column: str) -> npt.NDArray[np.int64]:
        """The slice's number of each row: (rows,)."""
        place = {text: number for number, text in enumerate(self.values[column])}
        encoded = _encoded(batch.column(column))
        of_value = [place.get(text, len(place)) for text in [*_texts(encoded), NULL]]
        return np.array(of_value, np.int64)[_indices(encoded)]


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _indices(encoded: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    """(rows,) the place in the dictionary, its length for null."""
    filled = encoded.indices.cast(pa.int64()).fill_null(len(encoded.dictionary))
    indices: npt.NDArray[np.int64] = filled.to_numpy()
    return indices


def _texts(encoded: pa.DictionaryArray) -> list[str]:
    return [NULL if text is None else text for text in pc.cast(encoded.dictionary, pa.string()).to_pylist()]
