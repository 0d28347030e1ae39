"""How an undescribed table is best divided into train, eval and test, tried out on a sample of its rows."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs import splits
from beam_jobs.hashing import hash_rows, kind
from components.target import Target
from pipeline.column_roles import assigned, is_identifier
from pipeline.errors import ConfigError

FEW_ROWS = 5_000
SEEDS = 50
NEARLY = 0.99
KEY_ROWS = 50_000
A_DAY = 86_400_000_000
A_SECOND = 1_000_000
_EPOCH = datetime.datetime(1970, 1, 1)


@dataclass(frozen=True)
class ProposedSplit:
    """A split that leaves labelled rows on each side.

    Attributes:
      config: as `examples.split` of a configuration.
      counts: labelled rows of the sample, by split.
    """

    config: dict[str, Any]
    counts: dict[str, int]

    @property
    def split(self) -> splits.Split:
        """The split itself."""
        return splits.from_json(self.config)


def propose(rows: pa.Table, target: Target, column: str | None, whole: bool) -> ProposedSplit:
    """A split by time when a column is given, else by a hash of the columns that tell rows apart.

    Args:
      rows: the sampled rows.
      target: the label; each split gets some of its values, and of a class label two at least.
      column: a date or timestamp column, or None.
      whole: the sample is the whole table, so that what it lacks is lacking.

    Raises:
      ConfigError: no such split leaves labelled rows in each part.
    """
    if column is not None:
        found = by_time(rows, target, column)
        if found is None:
            raise ConfigError(
                f"Rows cannot be split by '{column}': its moments do not spread over the labelled rows so that train, "
                "eval and test each get some of them" + (", and more than one class." if target.classes else "."),
                "Leave --time out, or split by a hash: --time none.",
            )
        return found
    return _by_hash(rows, target, whole)


def time_columns(rows: pa.Table, target: Target) -> list[str]:
    """The date and timestamp columns, without a null, by which rows can be split."""
    found = [field.name for field in rows.schema if is_moment(field.type) and field.name != target.label]
    return [name for name in found if by_time(rows, target, name) is not None]


def is_moment(kind_of_column: pa.DataType) -> bool:
    """Whether a column of this type can split by time."""
    return bool(pa.types.is_timestamp(kind_of_column) or pa.types.is_date(kind_of_column))


def by_time(rows: pa.Table, target: Target, column: str) -> ProposedSplit | None:
    """Cuts at midnights, or for tables of some hours at seconds, near the shares of rows; None when that fails."""
    if rows[column].null_count or not len(rows):
        return None
    first, second = np.cumsum(list(_shares(len(rows)).values()))[:2]
    moments = np.sort(rows[column].cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy())
    for unit in (A_DAY, A_SECOND):
        units = moments // unit
        cuts = [int(units[int(share * len(units))]) for share in (first, second)]
        if units[0] < cuts[0] < cuts[1] <= units[-1]:
            texts = [_iso(cut * unit, unit) for cut in cuts]
            config = {"by": "time", "column": column, "eval_from": texts[0], "test_from": texts[1]}
            proposed = _tried(rows, target, config)
            if _serves(proposed, rows, target):
                return proposed
    return None


def _iso(microseconds: int, unit: int) -> str:
    moment = _EPOCH + datetime.timedelta(microseconds=microseconds)
    return moment.date().isoformat() if unit == A_DAY else moment.isoformat()


def _shares(rows: int) -> dict[str, float]:
    """More to eval and test where rows are few: 10% of 150 rows tell nothing."""
    few = rows < FEW_ROWS
    return {"train": 0.6, "eval": 0.2, "test": 0.2} if few else {"train": 0.8, "eval": 0.1, "test": 0.1}


def _by_hash(rows: pa.Table, target: Target, whole: bool) -> ProposedSplit:
    shares = _shares(len(rows))
    config = {"by": "hash", "columns": key_of(rows, target.label), "shares": shares}
    tried = [_tried(rows, target, {**config, **seed}) for seed in _seeds(rows, whole)]
    serving = [proposed for proposed in tried if _serves(proposed, rows, target)]
    if not serving:
        raise ConfigError(
            f"The {len(rows):,} rows cannot be divided so that train, eval and test each get rows with a "
            f"'{target.label}'" + (", of more than one class." if target.classes else "."),
            "Give a table with more rows, or another label.",
        )
    return min(serving, key=lambda proposed: _imbalance(proposed, shares) > 0.25)


def _seeds(rows: pa.Table, whole: bool) -> Iterator[dict[str, int]]:
    """Seed 0 needs no words; others are worth a try only where a few rows decide."""
    yield {}
    if whole and len(rows) < FEW_ROWS:
        yield from ({"seed": seed} for seed in range(1, SEEDS))


def _imbalance(proposed: ProposedSplit, shares: dict[str, float]) -> float:
    """The largest relative distance of a split's rows from its share."""
    total = sum(proposed.counts.values())
    return max(abs(proposed.counts[name] / (share * total) - 1) for name, share in shares.items())


def _tried(rows: pa.Table, target: Target, config: dict[str, Any]) -> ProposedSplit:
    split = splits.from_json(config)
    labelled = rows[target.label].is_valid().to_numpy()
    counts = np.bincount(assigned(rows, split)[labelled], minlength=len(split.names))
    return ProposedSplit(config, {name: int(count) for name, count in zip(split.names, counts, strict=True)})


def _serves(proposed: ProposedSplit, rows: pa.Table, target: Target) -> bool:
    """Whether every split has labelled rows; of a class label, two classes; and train all classes of several rows."""
    if not all(proposed.counts.values()):
        return False
    if not target.classes:
        return True
    places, names = assigned(rows, proposed.split), proposed.split.names
    values = {name: rows[target.label].filter(pa.array(places == place)) for place, name in enumerate(names)}
    if any(len(pc.unique(column.drop_null())) < 2 for column in values.values()):
        return False
    counted = pc.value_counts(rows[target.label].drop_null())
    common = counted.field("values").filter(pc.greater_equal(counted.field("counts"), len(names)))
    return bool(pc.all(pc.is_in(common, value_set=pc.unique(values["train"]))).as_py())


def key_of(rows: pa.Table, label: str) -> list[str]:
    """The fewest columns, greedily, that tell apart nearly all rows that all of its columns tell apart.

    A split by their hash keeps equal rows together. Those with the most values come first; row numbers, which
    would part equal rows, only where there is nothing else.
    """
    some = rows.take(pa.array(np.arange(0, len(rows), max(1, len(rows) // KEY_ROWS)))).combine_chunks()
    usable = [name for name in rows.column_names if name != label and kind(rows.schema.field(name).type)]
    usable = [name for name in usable if not is_identifier(name, rows[name])] or usable
    different = {name: _distinct(some, [name]) for name in usable}
    order = sorted(usable, key=lambda name: (-different[name], pa.types.is_floating(rows.schema.field(name).type)))
    if not order:
        raise ConfigError(f"The table has no column beside '{label}' to learn from.", "Give a table with more columns.")
    most, chosen, reached = NEARLY * _distinct(some, order), order[:1], different[order[0]]
    for name in order[1:]:
        more = _distinct(some, [*chosen, name]) if reached < most else reached
        if more > reached:
            chosen, reached = [*chosen, name], more
    return chosen


def _distinct(rows: pa.Table, names: list[str]) -> int:
    """How many different rows the columns make."""
    columns = [rows[name].combine_chunks() for name in names]
    arrays = [pa.concat_arrays(c.chunks) if isinstance(c, pa.ChunkedArray) else c for c in columns]
    return len(np.unique(hash_rows(arrays)))
