from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.errors import DataError
from beam_jobs.part_writer import PartWriter
from beam_jobs.table import ROW_GROUP_ROWS, Part


def rows(first: int, count: int) -> pa.Table:
    return pa.table({"n": range(first, first + count), "s": ["x"] * count})


def test_row_groups_have_the_contracts_size_whatever_the_pieces(tmp_path: Path) -> None:
    with PartWriter(str(tmp_path), "try", 3, "train") as writer:
        for first in range(0, 300_000, 60_000):
            writer.write(rows(first, 60_000))
    assert writer.parts == (
        Part("Split-train/part-000003.parquet", (ROW_GROUP_ROWS, ROW_GROUP_ROWS, 37_856), 3, "train"),
    )
    file = pq.ParquetFile(tmp_path / "_pending/try/Split-train/part-000003.parquet")
    assert tuple(file.metadata.row_group(i).num_rows for i in range(3)) == writer.parts[0].row_groups
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.read()["n"].to_pylist() == list(range(300_000))


def test_no_rows_no_file(tmp_path: Path) -> None:
    with PartWriter(str(tmp_path), "try", 0) as writer:
        writer.write(rows(0, 0))
    assert (writer.parts, writer.rows, list(tmp_path.iterdir())) == ((), 0, [])


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), PartWriter(str(tmp_path), "try", 0) as writer:
        writer.write(rows(0, ROW_GROUP_ROWS))
        raise ValueError("stop")
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "_pending").mkdir()
    (tmp_path / "_pending/try").mkdir()
    (tmp_path / "_pending/try/part-000000.parquet").symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left on device"), PartWriter(str(tmp_path), "try", 0) as writer:
        for first in range(20):
            writer.write(rows(first * ROW_GROUP_ROWS, ROW_GROUP_ROWS))
