"""Sets of rows by `_row`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.ledger import Ledger
from beam_jobs.table import ROW, Part, Table, row_id
from pipeline.lineage import row_sets
from pipeline.lineage.errors import LineageError

GROUP = 100


def table(folder: Path, name: str = "part.parquet", stores_rows: bool = True, groups: int = 3) -> Table:
    """A file of rows with ids 0, 1, 2 ... in row groups of a hundred; `_row` is ten times the id where it is stored."""
    ids = pa.array(range(groups * GROUP), pa.int64())
    columns = {"id": ids, "name": pa.array([f"n{i}" for i in range(groups * GROUP)])}
    if stores_rows:
        columns[ROW] = pa.array([10 * i for i in range(groups * GROUP)], pa.int64())
    rows = pa.table(columns)
    pq.write_table(rows, folder / name, row_group_size=GROUP)
    schema = pa.schema([rows.schema.field("id"), rows.schema.field("name")])
    part = Part(name, (GROUP,) * groups, 2, "train")
    return Table(str(folder), schema, (part,), stores_rows, Ledger())


def spoil(made: Table, groups: list[int]) -> None:
    """Overwrites the pages of some row groups with zeros."""
    path = made.path(made.parts[0])
    metadata = pq.read_metadata(path)
    with open(path, "r+b") as stream:
        for group in groups:
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                stream.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
                stream.write(b"\0" * chunk.total_compressed_size)


def test_matching_reads_no_row_group_that_its_statistics_rule_out(tmp_path: Path) -> None:
    made = table(tmp_path)
    spoil(made, [0, 2])
    assert row_sets.matching(made, "t", "id BETWEEN 107 AND 109").tolist() == [1070, 1080, 1090]
    with pytest.raises(LineageError, match="fails"):
        row_sets.matching(made, "t", "id < 5")


def test_held_reads_no_row_group_that_its_statistics_rule_out(tmp_path: Path) -> None:
    made = table(tmp_path)
    spoil(made, [0, 2])
    assert row_sets.held(made, np.array([1000, 1005, 1990])).keys() == {"train"}
    assert row_sets.held(made, np.array([1000, 1005, 1990]))["train"].tolist() == [1000, 1990]


@pytest.mark.parametrize("name", ["part.parquet", "part[1]*.parquet"])
def test_rows_of_a_file_read_in_place(tmp_path: Path, name: str) -> None:
    """They are numbered by chunk and place; a name that DuckDB takes for a pattern is read through Arrow."""
    made = table(tmp_path, name, stores_rows=False)
    assert row_sets.matching(made, "t", "name = 'n150'").tolist() == [row_id(2, 150)]
    assert row_sets.held(made, np.array([row_id(2, 150), row_id(2, 300)]))["train"].tolist() == [row_id(2, 150)]


@given(st.sets(st.integers(0, 3_100)), st.booleans())
def test_held_is_the_intersection(tmp_path_factory: pytest.TempPathFactory, ids: set[int], stores_rows: bool) -> None:
    made = table(tmp_path_factory.mktemp("held"), stores_rows=stores_rows)
    wanted = np.array(sorted(ids), np.int64) + (0 if stores_rows else row_id(2, 0))
    every = [10 * i for i in range(300)] if stores_rows else [row_id(2, i) for i in range(300)]
    assert row_sets.held(made, wanted)["train"].tolist() == sorted(set(every) & set(wanted.tolist()))


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("idd = 1", "Did you mean 'id'"),
        ("id = ", "syntax error"),
        (" ", "No condition"),
        ("count(*) > 1", "no condition on 't'"),
        ("CAST(name AS INTEGER) = 1", "fails: Conversion Error"),
        ("getenv('HOME') = 'x'", "no condition on 't'"),
    ],
)
def test_what_is_no_condition(tmp_path: Path, condition: str, words: str) -> None:
    with pytest.raises(LineageError, match=words):
        row_sets.matching(table(tmp_path), "t", condition)
