"""Splits: which rows train, which evaluate and which test."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.hashing import check_hashable, hash_rows

TIME_SPLITS = ("train", "eval", "test")
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY = 86_400 * 10**9
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

Assigned = npt.NDArray[np.int8]


@dataclass(frozen=True)
class SplitByTime:
    """Rows before `eval_from` train, rows before `test_from` evaluate, the rest test.

    Attributes:
      column: a date or timestamp column; a date means its midnight, a timestamp without zone is UTC.
      eval_from: ISO 8601, a date or a moment; UTC unless it names an offset.
      test_from: the same, later.
    """

    column: str
    eval_from: str
    test_from: str

    def __post_init__(self) -> None:
        if nanoseconds(self.eval_from) >= nanoseconds(self.test_from):
            raise DataError(
                f"The split's eval_from '{self.eval_from}' is not before its test_from '{self.test_from}'.",
                "Rows before eval_from train, rows from there to test_from evaluate, the rest test.",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The splits in order."""
        return TIME_SPLITS

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide."""
        return (self.column,)


@dataclass(frozen=True)
class SplitByHash:
    """Rows are dealt by the hash of key columns (see `hashing`): rows of one key stay together.

    The fraction `(hash >> 11) / 2**53` falls into the first split whose cumulative share exceeds it.

    Attributes:
      columns: the key columns, in order.
      shares: each split's share of the keys; they sum to 1.
      seed: another seed makes another division.
    """

    columns: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 0.8, "eval": 0.1, "test": 0.1})
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError("A split by hash needs at least one key column.", "Name the columns that make a key.")
        for name, share in self.shares.items():
            if not 0 < share <= 1:
                raise DataError(
                    f"Split '{name}' has share {share}; a share is above 0 and at most 1.",
                    "Leave out a split of share 0.",
                )
        if abs(sum(self.shares.values()) - 1) > 1e-9:
            raise DataError(f"The splits' shares sum to {sum(self.shares.values()):g}, not to 1: {dict(self.shares)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The splits in order."""
        return tuple(self.shares)


@dataclass(frozen=True)
class SplitByColumn:
    """A column of text, integers or booleans that already says it.

    Attributes:
      values: for each split, the values that mean it.
    """

    column: str
    values: Mapping[str, Sequence[str | int | bool]]

    def __post_init__(self) -> None:
        owner: dict[tuple[type, str | int | bool], str] = {}
        for name, values in self.values.items():
            for value in values:
                if owner.setdefault((type(value), value), name) != name:
                    other = owner[(type(value), value)]
                    raise DataError(f"The value {value!r} of column '{self.column}' means both '{other}' and '{name}'.")

    @property
    def names(self) -> tuple[str, ...]:
        """The splits in order."""
        return tuple(self.values)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide."""
        return (self.column,)


Split = SplitByTime | SplitByHash | SplitByColumn


def from_json(data: Mapping[str, Any]) -> Split:
    """Makes a split from a configuration: `by` is 'time', 'hash' or 'column', the rest are its attributes.

    Raises:
      DataError: a value cannot be.
    """
    given = {key: value for key, value in data.items() if key != "by"}
    if data["by"] == "hash":
        return SplitByHash(**{**given, "columns": tuple(given["columns"])})
    return SplitByTime(**given) if data["by"] == "time" else SplitByColumn(**given)


def to_json(split: Split) -> dict[str, Any]:
    """The split as a configuration; `from_json` makes it again."""
    kinds = {SplitByTime: "time", SplitByHash: "hash", SplitByColumn: "column"}
    return {"by": kinds[type(split)], **dataclasses.asdict(split)}


def nanoseconds(moment: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO 8601 date or moment.

    Raises:
      DataError: it is neither.
    """
    try:
        parsed = datetime.datetime.fromisoformat(moment)
    except ValueError as error:
        raise DataError(
            f"'{moment}' is not an ISO 8601 date or moment.", "Write 2013-11-01 or 2013-11-01T06:00:00Z."
        ) from error
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)
    return (aware - _EPOCH) // datetime.timedelta(microseconds=1) * 1_000


def check_split(split: Split, schema: pa.Schema) -> None:
    """Checks a split against the columns of the output, before any row is read.

    Raises:
      DataError: a column is missing or of a type that cannot split so.
    """
    for name in split.columns:
        if name not in schema.names:
            raise DataError(
                f"The split names column '{name}', which the output does not have.{nearest(name, schema.names)}",
                f"It has: {listed(schema.names)}.",
            )
        column_type = schema.field(name).type
        if isinstance(split, SplitByHash):
            check_hashable(name, column_type)
        elif isinstance(split, SplitByTime):
            _unit(name, column_type)
        else:
            for value in (value for values in split.values.values() for value in values):
                _check_value(split, column_type, value)


def _unit(name: str, column_type: pa.DataType) -> int:
    """Nanoseconds of the column's unit."""
    if pa.types.is_timestamp(column_type):
        return _NANOSECONDS[column_type.unit]
    if pa.types.is_date(column_type):
        return _DAY if pa.types.is_date32(column_type) else _NANOSECONDS["ms"]
    raise DataError(
        f"Column '{name}' is of type {column_type}; a split by time needs a date or a timestamp.",
        f"Make one in the query, for example CAST({name} AS TIMESTAMP) AS {name}, or make_timestamp(...).",
    )


def _check_value(split: SplitByColumn, column_type: pa.DataType, value: str | int | bool) -> None:
    base = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    wanted: type
    if pa.types.is_boolean(base):
        wanted = bool
    elif pa.types.is_integer(base):
        wanted = int
    elif pa.types.is_string(base) or pa.types.is_large_string(base):
        wanted = str
    else:
        raise DataError(
            f"Column '{split.column}' is of type {column_type}; a split by column needs text, integers or booleans.",
            f"Cast it in the query, for example CAST({split.column} AS VARCHAR) AS {split.column}.",
        )
    if type(value) is not wanted:
        raise DataError(
            f"Column '{split.column}' is of type {column_type}, so the split's value {value!r} never stands in it.",
            'Quote text ("2013"), and do not quote numbers and booleans.',
        )


def assign(batch: pa.RecordBatch, split: Split) -> Assigned:
    """For each row, the place of its split in `split.names`.

    Raises:
      DataError: a row has no split: its time is missing, or its value is none of those declared.
    """
    if isinstance(split, SplitByTime):
        return _by_time(batch.column(split.column), split)
    if isinstance(split, SplitByHash):
        return _by_hash([batch.column(name) for name in split.columns], split)
    return _by_column(batch.column(split.column), split)


def _by_time(column: pa.Array, split: SplitByTime) -> Assigned:
    unit = _unit(split.column, column.type)
    if column.null_count:
        raise DataError(
            f"Column '{split.column}', by which rows are split, is missing in {column.null_count:,} of {len(column):,} rows.",
            f"Leave them out in the query: WHERE {split.column} IS NOT NULL.",
        )
    numbers = _time_numbers(column)
    bounds = [-(-nanoseconds(moment) // unit) for moment in (split.eval_from, split.test_from)]
    return (numbers >= bounds[0]).astype(np.int8) + (numbers >= bounds[1])


def _time_numbers(column: pa.Array) -> npt.NDArray[np.int64]:
    stored = pa.int32() if pa.types.is_date32(column.type) else pa.int64()
    return np.asarray(column.cast(stored).to_numpy(zero_copy_only=False))


def _by_hash(columns: Sequence[pa.Array], split: SplitByHash) -> Assigned:
    fractions = (hash_rows(columns, split.seed) >> np.uint64(11)) * 2.0**-53
    bounds = np.cumsum(list(split.shares.values()))[:-1]
    return np.searchsorted(bounds, fractions, side="right").astype(np.int8)


def _by_column(column: pa.Array, split: SplitByColumn) -> Assigned:
    base = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    plain = column.cast(base)
    values = [value for values in split.values.values() for value in values]
    owners = [place for place, of_split in enumerate(split.values.values()) for _ in of_split]
    found = pc.index_in(plain, value_set=pa.array(values, base))
    if found.null_count:
        raise _no_split(plain, found, split)
    assigned: Assigned = np.array(owners, np.int8)[found.to_numpy(zero_copy_only=False)]
    return assigned


def _no_split(column: pa.Array, found: pa.Array, split: SplitByColumn) -> DataError:
    stray = column.filter(found.is_null())
    value = stray[0].as_py()
    count = pc.sum(pc.equal(stray, stray[0])).as_py() if value is not None else stray.null_count
    shown = "no value" if value is None else repr(value)
    near = nearest(value, (str(v) for vs in split.values.values() for v in vs)) if isinstance(value, str) else ""
    return DataError(
        f"Column '{split.column}' has {shown} in {count:,} rows, and no split is declared for it.{near}",
        f"Add it to a split's values, or leave such rows out in the query. Declared: {dict(split.values)}.",
    )


def time_range(batch: pa.RecordBatch, split: Split) -> tuple[int, int] | None:
    """First and last time of the splitting column, in nanoseconds since 1970 UTC; None when there is none."""
    if not isinstance(split, SplitByTime) or not batch.num_rows:
        return None
    column = batch.column(split.column)
    unit, numbers = _unit(split.column, column.type), _time_numbers(column)
    return int(numbers.min()) * unit, int(numbers.max()) * unit


def moment(nanoseconds_since_epoch: int) -> str:
    """ISO 8601 of a time in nanoseconds since 1970 UTC, to the second."""
    return (_EPOCH + datetime.timedelta(seconds=nanoseconds_since_epoch // 10**9)).isoformat()
