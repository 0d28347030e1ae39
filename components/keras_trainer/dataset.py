"""Examples as Keras takes them: Parquet, transformed slice by slice, shuffled by a seed, as a `tf.data.Dataset`."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_jobs.errors import BraidError
from beam_jobs.row_groups import read_row_groups
from beam_jobs.table import Table
from components.encoding import Floats
from components.errors import StepError
from components.keras_trainer.transform_graph import Arrays, TransformGraph
from components.model_contract import ModelContract
from components.target import LabelCounts

SLICE_ROWS = 16_384
"""Rows that are transformed at once."""
GROUPS_AT_ONCE = 8
"""Row groups that a streamed epoch reads in turns."""
POOL_BYTES = 256 << 20
"""Rows that a streamed epoch mixes, in bytes."""
BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Rows:
    """Transformed rows with their labels, shape (rows,)."""

    inputs: Arrays
    labels: Floats

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Any) -> "Rows":
        """The rows at these places, or where a mask is true."""
        return Rows({name: values[places] for name, values in self.inputs.items()}, self.labels[places])

    @classmethod
    def concat(cls, parts: "list[Rows]") -> "Rows":
        """One after the other."""
        inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}
        return cls(inputs, np.concatenate([part.labels for part in parts]))


@dataclass(frozen=True)
class RowGroup:
    """One row group of one file."""

    path: str
    number: int


class TransformedSplit:
    """The labelled rows of one split, transformed.

    Rows without a usable label are left out and counted in `counts`, in the first pass that reads all.

    Args:
      cached: keep the transformed rows in memory, so that Parquet is read once.
      pool_bytes: what a streamed epoch may hold to mix its rows.

    Attributes:
      not_finite: rows with NaN or infinity, by the transform's output.
      failure: what ended the reading inside TensorFlow, which would tell of it in words of its own.
    """

    def __init__(
        self,
        table: Table,
        split: str,
        contract: ModelContract,
        transform: TransformGraph,
        cached: bool,
        pool_bytes: int = POOL_BYTES,
    ) -> None:
        self.split, self.contract, self.transform = split, contract, transform
        self.counts = LabelCounts()
        self.not_finite: dict[str, int] = {}
        self.failure: BraidError | None = None
        self._groups = [
            RowGroup(table.path(part), n) for part in table.in_split(split) for n in range(len(part.row_groups))
        ]
        self._cached, self._pool_rows = cached, max(SLICE_ROWS, pool_bytes // max(1, transform.row_bytes))
        self._cache: Rows | None = None

    def in_order(self) -> Iterator[Rows]:
        """All rows in slices, in the order of the files.

        Raises:
          StepError: no row has a label, or the examples do not fit the transform.
        """
        if self._cache is not None:
            for start in range(0, len(self._cache), SLICE_ROWS):
                yield self._cache.take(slice(start, start + SLICE_ROWS))
            return
        counts, not_finite = LabelCounts(), dict[str, int]()
        kept: list[Rows] = []
        for group in self._groups:
            for rows in self._read(group, counts, not_finite):
                if self._cached:
                    kept.append(rows)
                yield rows
        if not counts.labelled:
            raise StepError(
                f"No row of the split '{self.split}' has a usable label '{self.contract.label}'.",
                f"{counts.missing:,} rows have none, {counts.unseen.total():,} hold a class that training never saw.",
            )
        self.counts, self.not_finite = counts, not_finite
        self._cache = Rows.concat(kept) if self._cached else None

    def _read(self, group: RowGroup, counts: LabelCounts, not_finite: dict[str, int]) -> Iterator[Rows]:
        for batch in read_row_groups(group.path, self.contract.columns, SLICE_ROWS, [group.number]):
            labels = counts.add(batch.column(len(self.contract.features)), self.contract.classes)
            labelled = np.isfinite(labels)
            rows = Rows(self.transform.apply(batch), labels)
            rows = rows if labelled.all() else rows.take(labelled)
            for name, values in rows.inputs.items():
                odd = 0 if values.dtype.kind != "f" or np.isfinite(values).all() else _odd_rows(values)
                if odd:
                    not_finite[name] = not_finite.get(name, 0) + odd
            if len(rows):
                yield rows

    def batches(self, batch_rows: int, seed: Any) -> Iterator[Rows]:
        """All rows in another order, which the seed alone sets, in batches; the last may be smaller."""
        generator = np.random.default_rng(seed)
        if self._cache is not None:
            yield from _cut(self._cache, generator.permutation(len(self._cache)), batch_rows)
            return
        pool: list[Rows] = []
        held, most = 0, max(self._pool_rows, 2 * batch_rows)
        for rows in self._interleaved(generator):
            pool.append(rows)
            held += len(rows)
            if held >= most:
                mixed, places = Rows.concat(pool), generator.permutation(held)
                going = held // 2 // batch_rows * batch_rows
                yield from _cut(mixed, places[:going], batch_rows)
                pool, held = [mixed.take(places[going:])], held - going
        if held:
            yield from _cut(Rows.concat(pool), generator.permutation(held), batch_rows)

    def _interleaved(self, generator: np.random.Generator) -> Iterator[Rows]:
        """Slices of a few row groups in turns, the row groups in another order."""
        waiting = deque(self._groups[place] for place in generator.permutation(len(self._groups)))
        reading: deque[Iterator[Rows]] = deque()
        while waiting or reading:
            while waiting and len(reading) < GROUPS_AT_ONCE:
                reading.append(self._read(waiting.popleft(), LabelCounts(), {}))
            source = reading.popleft()
            rows = next(source, None)
            if rows is not None:
                yield rows
                reading.append(source)

    def dataset(self, batch_rows: int, seed: Any) -> Any:
        """`batches` as a `tf.data.Dataset` of (dict of tensors, labels), made ready ahead of the training."""
        import tensorflow as tf

        columns = self.transform.columns.values()
        inputs = {column.name: tf.TensorSpec([None, *column.shape], column.dtype) for column in columns}

        def pairs() -> Iterator[tuple[Arrays, Floats]]:
            try:
                for rows in self.batches(batch_rows, seed):
                    yield rows.inputs, rows.labels
            except BraidError as failure:
                self.failure = failure
                raise

        labels = tf.TensorSpec([None], tf.float32)
        return tf.data.Dataset.from_generator(pairs, output_signature=(inputs, labels)).prefetch(BATCHES_AHEAD)


def _odd_rows(values: Any) -> int:
    finite = np.isfinite(values)
    return int((~(finite if finite.ndim == 1 else finite.all(axis=1))).sum())


def _cut(rows: Rows, places: Any, batch_rows: int) -> Iterator[Rows]:
    for start in range(0, len(places), batch_rows):
        yield rows.take(places[start : start + batch_rows])
