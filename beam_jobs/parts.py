"""Parquet parts as a job writes them: even row groups, `_row` last, one file a split."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import io_lineage, publish, storage
from beam_jobs.digested_output import DigestedOutput, open_digested
from beam_jobs.splits import Split, assign
from beam_jobs.table import ROW, ROW_GROUP_ROWS, Part

_COMPRESSION = "zstd"


ROW_FIELD = pa.field(ROW, pa.int64(), nullable=False)
"""The last column of the files of a table that stores `_row`."""


class PartWriter:
    """Writes the Parquet file of one chunk and split under an attempt's name; no rows, no file.

    Batches of any size are gathered into row groups of 131,072 rows. Used as a context: the part is whole once it is
    left without an error; on an error all that the attempt has written is removed.

    Args:
      root: the table's folder; files go under its `_pending/`.
      attempt: from `publish.new_attempt`.

    Raises:
      DataError: the file cannot be written, for example because the disk is full.
    """

    def __init__(self, root: str, attempt: str, chunk: int, split: str = "") -> None:
        name = f"part-{chunk:06d}.parquet"
        self._root, self._attempt, self._chunk, self._split = root, attempt, chunk, split
        self._relative = f"Split-{split}/{name}" if split else name
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._stream: DigestedOutput | None = None
        self._writer: pq.ParquetWriter | None = None
        self._row_groups: list[int] = []
        self._digest = ""

    @property
    def rows(self) -> int:
        """Rows given to it so far."""
        return sum(self._row_groups) + self._waiting_rows

    @property
    def parts(self) -> tuple[Part, ...]:
        """The part that it wrote, once it is closed, if it had rows."""
        whole = Part(self._relative, tuple(self._row_groups), self._chunk, self._split, self._digest)
        return (whole,) if self._row_groups else ()

    def write(self, rows: pa.Table) -> None:
        """Adds rows; all calls must have the same schema.

        A last column `_row` is stored as differences, which cost next to nothing.
        """
        self._waiting.append(rows)
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._flush(self._waiting_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS)

    def close(self) -> None:
        """Writes what waits and ends the file."""
        if self._waiting_rows:
            self._flush(self._waiting_rows)
        with storage.writing(self._path):
            self._close_file()
        if self._row_groups:
            io_lineage.writes(f"{self._root.rstrip('/')}/{self._relative}")

    def abandon(self) -> None:
        """Lets go of the file after an error, and removes what the attempt has written."""
        self._waiting.clear()
        # The writer's destructor would write its footer anyhow; on a full disk that fails once more.
        with suppress(OSError):
            self._close_file()
        storage.remove_tree(publish.pending(self._root, self._attempt, "").rstrip("/"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    @property
    def _path(self) -> str:
        return publish.pending(self._root, self._attempt, self._relative)

    def _flush(self, count: int) -> None:
        rows = pa.concat_tables(self._waiting)
        self._waiting = [rows.slice(count)]
        self._waiting_rows -= count
        with storage.writing(self._path):
            for first in range(0, count, ROW_GROUP_ROWS):
                # In one piece, as pages end where pieces do: the same rows are the same bytes, however they come.
                group = rows.slice(first, min(ROW_GROUP_ROWS, count - first)).combine_chunks()
                self._open(rows.schema).write_table(group, row_group_size=ROW_GROUP_ROWS)
                self._row_groups.append(group.num_rows)

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        if self._writer is None:
            self._stream = open_digested(self._path)
            self._writer = pq.ParquetWriter(self._stream, schema, compression=_COMPRESSION, **_encodings(schema))
        return self._writer

    def _close_file(self) -> None:
        writer, stream = self._writer, self._stream
        self._writer = self._stream = None
        try:
            if writer is not None:
                writer.close()
        finally:
            if stream is not None:
                stream.close()
                self._digest = stream.digest


def _encodings(schema: pa.Schema) -> dict[str, object]:
    others = [name for name in schema.names if name != ROW]
    if len(others) == len(schema):
        return {"use_dictionary": True}
    return {"use_dictionary": others, "column_encoding": {ROW: "DELTA_BINARY_PACKED"}}


class AttemptWriter:
    """What one attempt at one chunk writes: a file for each split that gets rows.

    Use as a context: leaving it by an error removes the files.

    Args:
      root: the table's folder; files go under its `_pending/`.
      attempt: from `publish.new_attempt`.
      schema: the user's columns, without `_row`.
    """

    def __init__(self, root: str, attempt: str, chunk: int, schema: pa.Schema, split: Split | None) -> None:
        self._root, self._attempt, self._chunk, self._split = root, attempt, chunk, split
        self._schema = schema.append(ROW_FIELD)
        self._writers: dict[str, PartWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            for writer in self._writers.values():
                writer.abandon()

    def write(self, batch: pa.RecordBatch, row_ids: npt.NDArray[np.int64]) -> None:
        """Divides rows over the splits and writes them with their `_row`.

        Raises:
          DataError: a row has no split, or a file cannot be written.
        """
        whole = pa.RecordBatch.from_arrays([*batch.columns, pa.array(row_ids)], schema=self._schema)
        for name, rows in self._divide(whole):
            if rows.num_rows:
                self._writer(name).write(pa.Table.from_batches([rows]))

    def close(self) -> tuple[Part, ...]:
        """Ends the files."""
        for writer in self._writers.values():
            writer.close()
        return tuple(part for writer in self._writers.values() for part in writer.parts)

    def _divide(self, batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        if self._split is None:
            yield "", batch
            return
        assigned = assign(batch, self._split)
        present = np.flatnonzero(np.bincount(assigned, minlength=len(self._split.names)))
        for place in present:
            mine = batch if len(present) == 1 else batch.filter(pa.array(assigned == place))
            yield self._split.names[place], mine

    def _writer(self, split: str) -> PartWriter:
        if split not in self._writers:
            self._writers[split] = PartWriter(self._root, self._attempt, self._chunk, split)
        return self._writers[split]
