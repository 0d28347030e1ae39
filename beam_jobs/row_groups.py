"""Rows out of Parquet files: named columns of some row groups, or of all."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import storage
from beam_jobs.errors import DataError


def read_row_groups(
    path: str, columns: Sequence[str], batch_rows: int, row_groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Streams the named columns of one file, in that order; all row groups unless said.

    Every column may be null, whatever the file says: files of one table may differ in that.

    Raises:
      DataError: the file cannot be read.
    """
    wanted = list(columns)
    groups = None if row_groups is None else list(row_groups)
    try:
        with storage.open_input(path) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(batch_rows, row_groups=groups, columns=wanted):
                yield _nullable(batch.select(wanted))  # Parquet gives them in the file's order
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def _nullable(batch: pa.RecordBatch) -> pa.RecordBatch:
    if all(column.nullable for column in batch.schema):
        return batch
    return pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names)


def unreadable(path: str, error: Exception) -> DataError:
    """The error for a table's file that is no longer what the manifest says."""
    return DataError(
        f"'{path}' cannot be read: {str(error).rstrip('.')}.",
        "The file is damaged, or changed since it was written; run the step that writes it again, or fetch it again.",
    )
