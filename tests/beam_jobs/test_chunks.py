from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parquet_parts import write_part
from small_tables import write_source

from beam_jobs.chunks import CHUNK_ROWS, chunk_rows_for, chunks_of, read_chunk, where_stood
from beam_jobs.errors import DataError
from beam_jobs.ledger import Ledger
from beam_jobs.table import ROW, Part, Table, row_id

parts = st.lists(st.lists(st.integers(1, 300), max_size=6), max_size=4)


@given(parts, st.integers(1, 500), st.booleans())
def test_chunks_cover_every_row_group_once_in_order(sizes: list[list[int]], most: int, stores_rows: bool) -> None:
    files = tuple(Part(f"/{number}.parquet", tuple(groups), number) for number, groups in enumerate(sizes))
    chunks = chunks_of(Table("/", pa.schema([]), files, stores_rows, Ledger()), most)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    for file in files:
        mine = [chunk for chunk in chunks if chunk.path == file.path]
        assert [group for chunk in mine for group in chunk.row_groups] == list(range(len(file.row_groups)))
        for chunk in mine:
            assert chunk.first_row == sum(file.row_groups[: chunk.row_groups[0]])
            assert chunk.rows == sum(file.row_groups[group] for group in chunk.row_groups)
            assert chunk.rows <= most or len(chunk.row_groups) == 1
            assert chunk.row_base == (None if stores_rows else row_id(file.chunk, 0))


def test_a_small_table_is_cut_for_several_workers_a_large_one_by_memory() -> None:
    assert chunk_rows_for(10**9) == CHUNK_ROWS
    assert chunk_rows_for(336_776) * 2 < 336_776


def test_reads_the_columns_of_its_rows(tmp_path: Path) -> None:
    table = write_source(tmp_path, pa.table({"a": range(120), "b": range(120)}), row_group_rows=50)
    second = chunks_of(table, 50)[1]
    read = pa.Table.from_batches(read_chunk(second, ["b", "a"]))
    assert read.column_names == ["b", "a"] and read.column("b").to_pylist() == list(range(50, 100))


@pytest.mark.parametrize("most", [1, 1_500, 10**9])
@pytest.mark.parametrize("stores_rows", [True, False])
def test_chunks_hold_every_row_once_whatever_their_size(tmp_path: Path, most: int, stores_rows: bool) -> None:
    rows = pa.table({"a": range(5_000)})
    files = [("eval", 0, rows.slice(0, 100)), ("test", 0, rows.slice(0, 1_666)), ("test", 1, rows.slice(1_666))]
    parts = tuple(
        write_part(tmp_path, f"{split}-{chunk}.parquet", piece, chunk, split, stores_rows=stores_rows)
        for split, chunk, piece in files
    )
    chunks = chunks_of(Table(str(tmp_path), rows.schema, parts, stores_rows, Ledger()), most, ["test"])
    assert {chunk.split for chunk in chunks} == {"test"}
    batches = [batch for chunk in chunks for batch in read_chunk(chunk, [ROW, "a"], 300)]
    assert {tuple(batch.schema.names) for batch in batches} == {(ROW, "a")}
    ids = [n for batch in batches for n in batch.column(ROW).to_pylist()]
    assert ids == [row_id(0, n) for n in range(1_666)] + [row_id(1, n) for n in range(3_334)]
    assert [n for batch in batches for n in batch.column("a").to_pylist()] == list(range(5_000))


def test_a_file_that_is_no_longer_sound_is_named(tmp_path: Path) -> None:
    table = write_source(tmp_path, pa.table({"a": range(10)}))
    Path(table.path(table.parts[0])).write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"part-000000\.parquet' cannot be read: .*[^.]\.$") as caught:
        list(read_chunk(chunks_of(table)[0], ["a"]))
    assert caught.value.hint


def test_columns_may_be_null_whatever_the_file_says(tmp_path: Path) -> None:
    required = pa.table({"a": [1]}, schema=pa.schema([pa.field("a", pa.int64(), nullable=False)]))
    read = next(read_chunk(chunks_of(write_source(tmp_path, required))[0], ["a"]))
    assert read.schema == pa.schema([("a", pa.int64())])


def test_a_row_is_traced_to_its_file(tmp_path: Path) -> None:
    rows = pa.table({"a": range(20)})
    in_place = write_source(tmp_path / "place", rows, parts=2)
    assert where_stood(in_place, row_id(1, 3)) == f"row 4 of '{in_place.path(in_place.parts[1])}'"
    ingested = write_source(tmp_path / "stored", rows, parts=2, stores_rows=True)
    assert where_stood(ingested, row_id(1, 3)) == "row 14 of 'source.csv'"
    assert where_stood(ingested, row_id(9, 3)) == f"_row {row_id(9, 3)}"
