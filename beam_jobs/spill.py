"""Rows on their way between the two phases of a partitioned job: Arrow files, and small references to their batches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import storage

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True, order=True)
class Reference:
    """The batches of one spill file that belong to one partition.

    Attributes:
      table: the table's name in the query.
      chunk: the number of the table's chunk, by which a partition's rows keep the table's order.
      batches: the batches' places in the file, in order.
    """

    table: str
    chunk: int
    path: str
    batches: tuple[int, ...]
    rows: int


def write_spill(
    path: str, table: str, chunk: int, batches: Iterable[tuple[pa.RecordBatch, npt.NDArray[np.uint64]]], partitions: int
) -> list[tuple[int, Reference]]:
    """Writes rows sorted by partition, batch by batch; returns each partition's reference.

    Args:
      batches: rows, and the hash of each row's partition columns; partition = hash modulo `partitions`.

    Raises:
      DataError: the file cannot be written.
    """
    places: dict[int, list[int]] = {}
    rows: dict[int, int] = {}
    written = 0
    with storage.writing(path), storage.open_output(path) as stream, _Writer(stream) as writer:
        for batch, hashes in batches:
            for partition, mine in divide(batch, hashes, partitions):
                writer.write(mine)
                places.setdefault(partition, []).append(written)
                rows[partition] = rows.get(partition, 0) + mine.num_rows
                written += 1
    return [(p, Reference(table, chunk, path, tuple(places[p]), rows[p])) for p in sorted(places)]


class _Writer:
    """An Arrow file writer that takes its schema from the first batch."""

    def __init__(self, stream: object) -> None:
        self._stream = stream
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = pa.ipc.new_file(self._stream, batch.schema, options=_OPTIONS)
        self._writer.write_batch(batch)


def divide(
    batch: pa.RecordBatch, hashes: npt.NDArray[np.uint64], partitions: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields the rows of each partition that has any, in their order."""
    owner = (hashes % np.uint64(partitions)).astype(np.int16)
    # A stable sort keeps the table's order within a partition, so that answers do not depend on the cut.
    by_partition = batch.take(pa.array(np.argsort(owner, kind="stable")))
    ends = np.cumsum(np.bincount(owner, minlength=partitions))
    start = 0
    for partition, end in enumerate(ends):
        if end > start:
            yield partition, by_partition.slice(start, int(end) - start)
        start = int(end)


def read_spill(references: Sequence[Reference], schema: pa.Schema) -> pa.Table:
    """Loads the rows of one partition of one table, in the table's order."""
    batches: list[pa.RecordBatch] = []
    for reference in sorted(references):
        with storage.open_input(reference.path) as stream:
            file = pa.ipc.open_file(stream)
            batches.extend(file.get_batch(place) for place in reference.batches)
    return pa.Table.from_batches(batches, schema)
