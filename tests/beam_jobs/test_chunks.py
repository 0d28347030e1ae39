from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from small_tables import write_source

from beam_jobs.chunks import CHUNK_ROWS, chunk_rows_for, chunks_of, read_chunk, where_stood
from beam_jobs.ledger import Ledger
from beam_jobs.table import Part, Table, row_id

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


def test_a_row_is_traced_to_its_file(tmp_path: Path) -> None:
    rows = pa.table({"a": range(20)})
    in_place = write_source(tmp_path / "place", rows, parts=2)
    assert where_stood(in_place, row_id(1, 3)) == f"row 4 of '{in_place.path(in_place.parts[1])}'"
    ingested = write_source(tmp_path / "stored", rows, parts=2, stores_rows=True)
    assert where_stood(ingested, row_id(1, 3)) == "row 14 of 'source.csv'"
    assert where_stood(ingested, row_id(9, 3)) == f"_row {row_id(9, 3)}"
