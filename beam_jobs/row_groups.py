"""Chunks of a table at rest: neighbouring row groups of one Parquet file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import storage
from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.table import ROW, ROW_GROUP_ROWS, Part, Table, row_id

MOST_CHUNKS = 256
"""About how many chunks a large table is cut into: a job that counts sends each one's counts on."""


@dataclass(frozen=True)
class Chunk:
    """Neighbouring row groups of one file.

    Attributes:
      first: the `_row` of the first row, for files that do not store it; else None.
    """

    path: str
    split: str
    row_groups: tuple[int, ...]
    first: int | None


def chunks_of(table: Table, splits: Sequence[str]) -> list[Chunk]:
    """Cuts the splits into chunks of one row group or more.

    Raises:
      DataError: the table has no row in one of the splits.
    """
    for split in splits:
        if not table.splits.get(split):
            raise DataError(
                f"The examples have no row in split '{split}'.{nearest(split, table.splits)}",
                f"Their splits: {listed(f'{name} ({rows:,} rows)' for name, rows in table.splits.items())}.",
            )
    rows = sum(table.splits[split] for split in splits)
    enough = max(ROW_GROUP_ROWS, rows // MOST_CHUNKS)
    return [chunk for split in splits for part in table.in_split(split) for chunk in _cut(table, part, enough)]


def _cut(table: Table, part: Part, enough: int) -> Iterator[Chunk]:
    start, gathered, rows_before = 0, 0, 0
    for place, rows in enumerate(part.row_groups):
        gathered += rows
        if gathered >= enough or place == len(part.row_groups) - 1:
            first = None if table.stores_rows else row_id(part.chunk, rows_before)
            yield Chunk(table.path(part), part.split, tuple(range(start, place + 1)), first)
            start, gathered, rows_before = place + 1, 0, rows_before + gathered


def read_chunk(chunk: Chunk, columns: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """Streams the columns of a chunk, `_row` last."""
    wanted = list(dict.fromkeys(columns))
    with storage.open_input(chunk.path) as stream:
        file, place = pq.ParquetFile(stream), 0
        stored = [*wanted, ROW] if chunk.first is None else wanted
        for batch in file.iter_batches(ROW_GROUP_ROWS, row_groups=list(chunk.row_groups), columns=stored):
            if chunk.first is None:
                yield batch
            else:
                ids = np.arange(batch.num_rows, dtype=np.int64) + chunk.first + place
                yield batch.append_column(ROW, pa.array(ids))
            place += batch.num_rows
