"""Rows of a test as the Parquet files of a table."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.table import ROW, Part, row_id


def pieces(rows: pa.Table, parts: int) -> Iterator[tuple[int, pa.Table]]:
    """Each part's first row and its rows."""
    size = max(1, -(-rows.num_rows // parts))
    return ((start, rows.slice(start, size)) for start in range(0, rows.num_rows, size))


def write_part(
    folder: Path,
    relative: str,
    rows: pa.Table,
    chunk: int,
    split: str = "",
    row_group_rows: int = 1_000,
    stores_rows: bool = True,
) -> Part:
    """Writes one file below `folder`; with `stores_rows` it carries `_row`, as what a job writes does."""
    if stores_rows:
        ids = np.arange(rows.num_rows, dtype=np.int64) + row_id(chunk, 0)
        rows = rows.append_column(ROW, pa.array(ids))
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, compression="zstd", row_group_size=row_group_rows)
    written = pq.ParquetFile(path).metadata
    return Part(relative, tuple(written.row_group(i).num_rows for i in range(written.num_row_groups)), chunk, split)
