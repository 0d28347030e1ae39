"""Exact counts of the rows whose value does not fit, read from the one column at fault.

Statistics list a column's first thousand texts and a number's extremes; beyond that, the rows are asked.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.table import Table, read_batches
from components.listed_columns import listed_column

MOST_VALUES = 10_000
"""Distinct values kept while counting; rows beyond them are counted all the same."""

Fits = Callable[[pa.Array], pa.Array]
"""Says for each value, as TFDV sees it (int64, float, large_binary), whether it fits: a boolean array."""


@dataclass(frozen=True)
class Offenders:
    """Rows that do not fit.

    Attributes:
      rows: how many.
      values: the values found, most frequent first, each with its rows.
    """

    rows: int
    values: tuple[tuple[str, int], ...]


def one_of(allowed: Sequence[str]) -> Fits:
    """Fits the texts in `allowed`."""
    known = pa.array([text.encode() for text in allowed], pa.large_binary())
    return lambda values: pc.is_in(values, value_set=known)


def between(low: float, high: float) -> Fits:
    """Fits the numbers from `low` to `high`; not-a-number fits, as it has an anomaly of its own."""
    return lambda values: pc.invert(pc.or_(pc.less(values, low), pc.greater(values, high)))


def never(values: pa.Array) -> pa.Array:
    """Fits nothing: every value offends."""
    return pa.array([False] * len(values))


def finite_or(kind: str) -> Fits:
    """Fits all but not-a-number (`nan`) or infinity (`inf`)."""
    return lambda values: pc.invert(pc.is_nan(values) if kind == "nan" else pc.is_inf(values))


def column_values(table: Table, split: str, column: str) -> Iterator[pa.Array]:
    """The present values of one column of one split, batch by batch, as TFDV sees them; nothing else is read."""
    for batch in read_batches(table, split, [column]):
        yield listed_column(batch.column(0)).flatten()


def offenders(values: Iterator[pa.Array], fits: Fits) -> Offenders:
    """Counts the values that do not fit."""
    rows = 0
    counted: Counter[str] = Counter()
    for batch in values:
        strays = batch.filter(pc.invert(fits(batch)))
        rows += len(strays)
        for pair in strays.value_counts().to_pylist():
            value = shown(pair["values"])
            if value in counted or len(counted) < MOST_VALUES:
                counted[value] += pair["counts"]
    return Offenders(rows, ranked(counted))


def ranked(counts: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Values by rows, most first, equal ones by value."""
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def shown(value: bytes | float) -> str:
    """A value as messages show it: text in quotes, numbers short."""
    if isinstance(value, bytes):
        return f"'{value.decode(errors='replace')}'"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
