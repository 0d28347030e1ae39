"""Chunks of a table at rest: ranges of row groups, the unit of work of every job that reads one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from beam_jobs.row_groups import read_row_groups
from beam_jobs.table import ROW, ROW_GROUP_ROWS, ROW_PLACE_BITS, Origin, Part, Table, row_id

CHUNK_ROWS = 4 * ROW_GROUP_ROWS
"""Rows of a chunk of a large table: enough to hide what a chunk costs, few enough to fit many times in memory."""
_LEAST_CHUNKS = 8


@dataclass(frozen=True)
class Chunk:
    """A range of row groups of one Parquet file.

    Attributes:
      number: the chunk's number in the job, from 0, in the table's order.
      path: where the file can be opened.
      split: the split that its rows belong to, '' for none.
      first_row: rows of the file before the chunk.
      rows: rows in the chunk.
      row_groups: the row groups' numbers in the file.
      row_base: the `_row` of the file's first row, for a file that does not store `_row`; else None.
    """

    number: int
    path: str
    split: str
    first_row: int
    rows: int
    row_groups: tuple[int, ...]
    row_base: int | None

    @property
    def words(self) -> str:
        """Where its rows stand, for messages."""
        return f"rows {self.first_row + 1:,} to {self.first_row + self.rows:,} of '{self.path}'"


def chunk_rows_for(rows: int) -> int:
    """Rows a chunk for a table of so many: smaller chunks where the table is small, so that every worker gets some."""
    return min(CHUNK_ROWS, max(ROW_GROUP_ROWS, rows // _LEAST_CHUNKS))


def chunks_of(table: Table, chunk_rows: int = 0, splits: Sequence[str] | None = None) -> list[Chunk]:
    """Cuts parts of a table into chunks of whole row groups.

    Args:
      chunk_rows: most rows of a chunk (a larger row group is a chunk of its own); by the table's size unless given.
      splits: those to cut, in this order; all unless given.
    """
    most = chunk_rows or chunk_rows_for(table.rows)
    chunks: list[Chunk] = []
    parts = table.parts if splits is None else [part for split in splits for part in table.in_split(split)]
    for part in parts:
        base = None if table.stores_rows else row_id(part.chunk, 0)
        for first_row, groups in _ranges(part, most):
            rows = sum(part.row_groups[group] for group in groups)
            chunks.append(Chunk(len(chunks), table.path(part), part.split, first_row, rows, groups, base))
    return chunks


def _ranges(part: Part, most: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The first row and the row groups of each chunk of one file."""
    first_row, groups, rows = 0, list[int](), 0
    for group, group_rows in enumerate(part.row_groups):
        if groups and rows + group_rows > most:
            yield first_row, tuple(groups)
            first_row, groups, rows = first_row + rows, [], 0
        groups.append(group)
        rows += group_rows
    if rows:
        yield first_row, tuple(groups)


def read_chunk(chunk: Chunk, columns: Sequence[str], batch_rows: int = ROW_GROUP_ROWS) -> Iterator[pa.RecordBatch]:
    """Streams the named columns of a chunk, in that order; `_row` may be among them.

    Raises:
      DataError: the file cannot be read.
    """
    if ROW not in columns or chunk.row_base is None:
        yield from read_row_groups(chunk.path, columns, batch_rows, chunk.row_groups)
        return
    stored = [name for name in columns if name != ROW]
    first = chunk.row_base + chunk.first_row
    for batch in read_row_groups(chunk.path, stored, batch_rows, chunk.row_groups):
        ids = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
        yield batch.append_column(ROW, ids).select(list(columns))
        first += batch.num_rows


def where_stood(table: Table, row: int) -> str:
    """Words where a row with this `_row` came from, as far as the table's manifest knows: file and place."""
    chunk, place = row >> ROW_PLACE_BITS, row & ((1 << ROW_PLACE_BITS) - 1)
    if not table.stores_rows:
        files = [table.path(part) for part in table.parts if part.chunk == chunk]
        return f"row {place + 1:,} of '{files[0]}'" if files else f"_row {row}"
    return next((_in_origin(origin, place) for origin in table.origins if origin.chunk == chunk), f"_row {row}")


def _in_origin(origin: Origin, place: int) -> str:
    if origin.unit == "rows":
        return f"row {origin.start + place + 1:,} of '{origin.file}'"
    return f"row {place + 1:,} of the chunk of '{origin.file}' that begins at byte {origin.start:,}"
