"""Parquet parts as a job writes them: even row groups, `_row` last, one file a split."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import publish, storage
from beam_jobs.errors import DataError
from beam_jobs.splits import Split, assign
from beam_jobs.table import ROW, ROW_GROUP_ROWS, Part

_COMPRESSION = "zstd"


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of the files of a table: the user's columns, then `_row`."""
    return schema.append(pa.field(ROW, pa.int64(), nullable=False))


class PartWriter:
    """Writes one Parquet file, gathering batches of any size into row groups of 131,072 rows.

    Args:
      schema: of the file; a last column `_row` is stored as differences, which cost next to nothing.
    """

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self.path = path
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._row_groups: list[int] = []
        with _writing(path):
            self._stream: BinaryIO = storage.open_output(path)
            self._writer = pq.ParquetWriter(self._stream, schema, compression=_COMPRESSION, **_encodings(schema))

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows.

        Raises:
          DataError: the file cannot be written, for example because the disk is full.
        """
        self._waiting.append(batch)
        self._rows += batch.num_rows
        while self._rows >= ROW_GROUP_ROWS:
            self._flush(ROW_GROUP_ROWS)

    def close(self) -> tuple[int, ...]:
        """Writes what waits and ends the file; returns the rows of each row group."""
        if self._rows:
            self._flush(self._rows)
        with _writing(self.path):
            self._writer.close()
            self._stream.close()
        return tuple(self._row_groups)

    def abandon(self) -> None:
        """Lets go of the file after an error; whatever it holds, its attempt is never published."""
        self._waiting.clear()
        # The writer's destructor would write its footer anyhow; on a full disk that fails once more.
        with suppress(OSError):
            self._writer.close()
        with suppress(OSError):
            self._stream.close()

    def _flush(self, rows: int) -> None:
        waiting = pa.Table.from_batches(self._waiting, self._schema)
        with _writing(self.path):
            self._writer.write_table(waiting.slice(0, rows), row_group_size=ROW_GROUP_ROWS)
        self._row_groups.append(rows)
        self._waiting = waiting.slice(rows).to_batches()
        self._rows -= rows


def _encodings(schema: pa.Schema) -> dict[str, object]:
    others = [name for name in schema.names if name != ROW]
    if len(others) == len(schema):
        return {"use_dictionary": True}
    return {"use_dictionary": others, "column_encoding": {ROW: "DELTA_BINARY_PACKED"}}


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Writing '{path}' failed: {error}.", "Check the free space and the permissions there, then run again."
        ) from error


class AttemptWriter:
    """What one attempt at one chunk writes: a file for each split that gets rows.

    Use as a context: leaving it by an error abandons the files.

    Args:
      root: the table's folder; files go under its `_pending/`.
      attempt: from `publish.new_attempt`.
      schema: the user's columns, without `_row`.
    """

    def __init__(self, root: str, attempt: str, chunk: int, schema: pa.Schema, split: Split | None) -> None:
        self.attempt = attempt
        self.rows = 0
        self._root, self._chunk, self._split = root, chunk, split
        self._schema = stored_schema(schema)
        self._writers: dict[str, PartWriter] = {}

    def __enter__(self) -> "AttemptWriter":
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
                self._writer(name).write(rows)
        self.rows += batch.num_rows

    def close(self) -> tuple[Part, ...]:
        """Ends the files."""
        return tuple(
            Part(self._relative(name), writer.close(), self._chunk, name) for name, writer in self._writers.items()
        )

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
            path = publish.pending(self._root, self.attempt, self._relative(split))
            self._writers[split] = PartWriter(path, self._schema)
        return self._writers[split]

    def _relative(self, split: str) -> str:
        name = f"part-{self._chunk:06d}.parquet"
        return f"Split-{split}/{name}" if split else name
