"""Rows and text in files that are seen whole or not at all, on a disk or in a bucket."""

import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import storage
from beam_jobs.errors import DataError, listed

T = TypeVar("T")


def write_rows(path: str, batches: pa.RecordBatchReader) -> int:
    """Writes Parquet; returns how many rows."""

    def fill(stream: BinaryIO) -> int:
        written = 0
        with pq.ParquetWriter(stream, batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                written += batch.num_rows
            if not written:  # a file without a row group is not read everywhere
                writer.write_table(batches.schema.empty_table())
        return written

    return _write(path, fill)


def write_pieces(path: str, pieces: Iterable[bytes]) -> None:
    """Writes bytes as they come."""

    def fill(stream: BinaryIO) -> None:
        for piece in pieces:
            stream.write(piece)

    _write(path, fill)


def _write(path: str, fill: Callable[[BinaryIO], T]) -> T:
    """Writes a file that is seen whole or not at all; returns what `fill` does."""
    # An object of a bucket appears whole, as it is closed; attempts at the same chunk may write at the same time.
    temporary = path if storage.is_remote(path) else f"{path}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        with storage.open_output(temporary) as stream:
            done = fill(stream)
        if temporary != path:
            os.replace(temporary, path)
        return done
    except BaseException:
        if temporary != path:
            with suppress(OSError):
                os.remove(temporary)
        raise


def read_rows(path: str, columns: Sequence[str] | None) -> pa.Table:
    """Reads Parquet that `write_rows` wrote, in memory.

    Args:
      path: the file.
      columns: those to read; all unless given.

    Raises:
      DataError: the file cannot be read, or lacks a column.
    """
    try:
        with storage.open_input(path) as stream:
            found: pa.Table = pq.ParquetFile(stream).read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"'{path}' cannot be read: {error}.", "The failed run's output was cleared or damaged."
        ) from error
    missing = [name for name in columns or () if name not in found.column_names]
    if missing:
        raise DataError(
            f"The rows kept in '{path}' have no column '{missing[0]}': the query did not read it when it failed.",
            f"They have: {listed(found.column_names)}. Run the step again to keep others.",
        )
    return found if columns is None else found.select(columns)
