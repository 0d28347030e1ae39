import itertools
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs import publish, storage
from beam_jobs.errors import DataError
from beam_jobs.parts import ROW_FIELD, AttemptWriter, PartWriter
from beam_jobs.splits import SplitByColumn
from beam_jobs.table import ROW, ROW_GROUP_ROWS, Part

SCHEMA = pa.schema([("a", pa.int64()), ("part", pa.string())])


def rows(count: int, part: str = "x", first: int = 0) -> pa.RecordBatch:
    columns = [pa.array(range(first, first + count)), pa.array([part] * count)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def table(count: int, first: int = 0) -> pa.Table:
    return pa.Table.from_batches([rows(count, first=first)])


@pytest.mark.parametrize("size", [1_000, 50_000, 60_000, 300_000])
def test_row_groups_have_the_contracts_size_whatever_the_pieces(tmp_path: Path, size: int) -> None:
    with PartWriter(str(tmp_path), "try", 3, "train") as writer:
        for first in range(0, 300_000, size):
            writer.write(table(size, first))
            assert writer.rows == first + size
    groups = (ROW_GROUP_ROWS, ROW_GROUP_ROWS, 37_856)
    path = tmp_path / "_pending/try/Split-train/part-000003.parquet"
    digest = storage.bytes_digest(str(path))
    assert writer.parts == (Part("Split-train/part-000003.parquet", groups, 3, "train", digest),)
    written = pq.ParquetFile(path)
    assert [written.metadata.row_group(i).num_rows for i in range(3)] == [131_072, 131_072, 37_856]
    assert written.metadata.row_group(0).column(0).compression == "ZSTD"
    assert written.read().column("a").to_pylist() == list(range(300_000))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 120_000), max_size=12), st.integers(1, 300_000))
def test_the_same_rows_are_the_same_bytes_in_whatever_pieces_they_come(sizes: list[int], count: int) -> None:
    whole = table(count)
    cuts = [0, *(cut for cut in np.cumsum(np.array(sizes, np.int64)).tolist() if cut < count), count]
    digests = set()
    with tempfile.TemporaryDirectory() as folder:
        for name, ends in (("whole", [0, count]), ("pieces", cuts)):
            with PartWriter(folder, name, 3) as writer:
                for first, last in itertools.pairwise(ends):
                    writer.write(whole.slice(first, last - first))
            (part,) = writer.parts
            assert part.digest == storage.bytes_digest(publish.pending(folder, name, part.path))
            digests.add(part.digest)
    assert len(digests) == 1


def test_text_is_stored_once_a_value_and_row_ids_cost_next_to_nothing(tmp_path: Path) -> None:
    ids = np.arange(100_000, dtype=np.int64) + (5 << 32)
    with PartWriter(str(tmp_path), "try", 5) as writer:
        writer.write(table(100_000).append_column(ROW_FIELD, pa.array(ids)))
    path = tmp_path / "_pending/try" / writer.parts[0].path
    row_group = pq.ParquetFile(path).metadata.row_group(0)
    assert "RLE_DICTIONARY" in row_group.column(1).encodings
    column = row_group.column(2)
    assert column.path_in_schema == ROW and "DELTA_BINARY_PACKED" in column.encodings
    assert column.total_compressed_size < 5_000
    assert pq.read_table(path).column(ROW).to_pylist() == ids.tolist()


def test_no_rows_no_file(tmp_path: Path) -> None:
    with PartWriter(str(tmp_path), "try", 0) as writer:
        writer.write(table(0))
    assert (writer.parts, writer.rows, list(tmp_path.iterdir())) == ((), 0, [])


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), PartWriter(str(tmp_path), "try", 0) as writer:
        writer.write(table(ROW_GROUP_ROWS))
        raise ValueError("stop")
    assert not list(tmp_path.rglob("*.parquet"))


def test_an_error_leaves_no_file_of_any_split_and_none_of_another_attempts(tmp_path: Path) -> None:
    with PartWriter(str(tmp_path), "other", 0) as other:
        other.write(table(10))
    split = SplitByColumn("part", {"train": ["x"], "eval": ["y"]})
    with pytest.raises(ValueError, match="stop"), AttemptWriter(str(tmp_path), "try", 0, SCHEMA, split) as writer:
        for part in ("x", "y"):
            writer.write(rows(ROW_GROUP_ROWS, part), np.arange(ROW_GROUP_ROWS))
        assert len(list(tmp_path.rglob("try/Split-*/*.parquet"))) == 2
        raise ValueError("stop")
    assert [path.parent.name for path in tmp_path.rglob("*.parquet")] == ["other"]


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


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    # /dev/full is a device that is always full.
    (tmp_path / "_pending/try").mkdir(parents=True)
    (tmp_path / "_pending/try/part-000000.parquet").symlink_to("/dev/full")
    with (
        pytest.raises(
            DataError, match=r"Writing '.*part-000000\.parquet' failed: No space left on device\.$"
        ) as caught,
        PartWriter(str(tmp_path), "try", 0) as writer,
    ):
        for first in range(20):
            writer.write(table(ROW_GROUP_ROWS, first * ROW_GROUP_ROWS))
    assert "Free some space" in caught.value.hint
