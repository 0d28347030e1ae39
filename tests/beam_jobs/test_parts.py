from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import publish
from beam_jobs.errors import DataError
from beam_jobs.parts import AttemptWriter, PartWriter, stored_schema
from beam_jobs.splits import SplitByColumn
from beam_jobs.table import ROW, ROW_GROUP_ROWS

SCHEMA = pa.schema([("a", pa.int64()), ("part", pa.string())])


def rows(count: int, part: str = "x") -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(range(count)), pa.array([part] * count)], schema=SCHEMA)


@pytest.mark.parametrize("size", [1_000, 50_000, 300_000])
def test_row_groups_are_even_whatever_the_batches(tmp_path: Path, size: int) -> None:
    writer = PartWriter(str(tmp_path / "deep" / "part.parquet"), SCHEMA)
    for _ in range(300_000 // size):
        writer.write(rows(size))
    assert writer.close() == (ROW_GROUP_ROWS, ROW_GROUP_ROWS, 300_000 - 2 * ROW_GROUP_ROWS)
    written = pq.ParquetFile(tmp_path / "deep" / "part.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(3)] == [131_072, 131_072, 37_856]
    assert written.read().column("a").to_pylist() == list(range(size)) * (300_000 // size)


def test_row_ids_cost_next_to_nothing(tmp_path: Path) -> None:
    schema = stored_schema(SCHEMA)
    ids = np.arange(100_000, dtype=np.int64) + (5 << 32)
    writer = PartWriter(str(tmp_path / "part.parquet"), schema)
    writer.write(pa.RecordBatch.from_arrays([*rows(100_000).columns, pa.array(ids)], schema=schema))
    writer.close()
    column = pq.ParquetFile(tmp_path / "part.parquet").metadata.row_group(0).column(2)
    assert column.path_in_schema == ROW and "DELTA_BINARY_PACKED" in column.encodings
    assert column.total_compressed_size < 5_000
    assert pq.read_table(tmp_path / "part.parquet").column(ROW).to_pylist() == ids.tolist()


def test_each_split_gets_a_file_when_it_gets_a_row(tmp_path: Path) -> None:
    split = SplitByColumn("part", {"train": ["x"], "eval": ["y"], "test": ["z"]})
    with AttemptWriter(str(tmp_path), "try", 7, SCHEMA, split) as writer:
        writer.write(rows(3, "y"), np.arange(3))
        mixed = pa.Table.from_batches([rows(2, "x"), rows(2, "y")]).combine_chunks().to_batches()[0]
        writer.write(mixed, np.arange(3, 7))
        parts = {part.split: part for part in writer.close()}
    assert {name: part.rows for name, part in parts.items()} == {"train": 2, "eval": 5}
    assert parts["train"].path == "Split-train/part-000007.parquet"
    kept = pq.read_table(publish.pending(str(tmp_path), "try", parts["eval"].path), partitioning=None)
    assert kept.column(ROW).to_pylist() == [0, 1, 2, 5, 6]


def test_what_cannot_be_written_is_one_clear_error() -> None:
    # /dev/full is a device that is always full.
    writer = PartWriter("/dev/full", SCHEMA)
    with pytest.raises(DataError, match=r"Writing '/dev/full' failed.*No space left"):
        writer.write(rows(1_000_000))
        writer.close()
    writer.abandon()
