"""One Parquet part of a pending table, written in row groups of the contract's size."""

import contextlib
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import publish, storage
from beam_jobs.errors import DataError
from beam_jobs.table import ROW_GROUP_ROWS, Part


class PartWriter:
    """Gathers rows into row groups and writes them under an attempt's name; no rows, no file.

    Used as a context: the part is whole once it is left without an error; on an error the file is removed.

    Raises:
      DataError: the file cannot be written, for example because the disk is full.
    """

    def __init__(self, root: str, attempt: str, chunk: int, split: str = "") -> None:
        self._root, self._attempt, self._chunk, self._split = root, attempt, chunk, split
        name = f"part-{chunk:06d}.parquet"
        self._path = f"Split-{split}/{name}" if split else name
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._stream: Any = None
        self._writer: Any = None
        self._row_groups: list[int] = []

    @property
    def rows(self) -> int:
        """Rows given to it so far."""
        return sum(self._row_groups) + self._waiting_rows

    @property
    def parts(self) -> tuple[Part, ...]:
        """The part that it wrote, if it had rows."""
        return (Part(self._path, tuple(self._row_groups), self._chunk, self._split),) if self._row_groups else ()

    def write(self, rows: pa.Table) -> None:
        """Adds rows; all calls must have the same schema."""
        self._waiting.append(rows)
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._flush(self._waiting_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS)

    def _flush(self, count: int) -> None:
        rows = pa.concat_tables(self._waiting)
        self._waiting = [rows.slice(count)]
        self._waiting_rows -= count
        try:
            for first in range(0, count, ROW_GROUP_ROWS):
                group = rows.slice(first, min(ROW_GROUP_ROWS, count - first))
                self._open(rows.schema).write_table(group, row_group_size=ROW_GROUP_ROWS)
                self._row_groups.append(group.num_rows)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _open(self, schema: pa.Schema) -> Any:
        if self._writer is None:
            texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
            self._stream = storage.open_output(publish.pending(self._root, self._attempt, self._path))
            self._writer = pq.ParquetWriter(self._stream, schema, compression="zstd", use_dictionary=texts)
        return self._writer

    def _cannot_write(self, error: OSError) -> DataError:
        return DataError(
            f"'{self._root}' cannot be written: {error.strerror or error}.",
            "Free some space or name another place, then run again: finished steps are not repeated.",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        if self._waiting_rows:
            self._flush(self._waiting_rows)
        if self._writer is not None:
            try:
                self._writer.close()
                self._stream.close()
            except OSError as error:
                raise self._cannot_write(error) from error

    def _abandon(self) -> None:
        # Closed first, or the writer would complain when it is collected; what the disk refuses here no longer
        # matters, since the error under way is what the user hears of.
        for opened in (self._writer, self._stream):
            with contextlib.suppress(OSError):
                if opened is not None:
                    opened.close()
        storage.remove_tree(publish.pending(self._root, self._attempt, "").rstrip("/"))
