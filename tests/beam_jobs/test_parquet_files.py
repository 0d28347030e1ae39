from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import ingest
from beam_jobs.errors import DataError
from beam_jobs.sources import SourceConfig, infer_schema
from beam_jobs.table import Table, read_batches

ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", None]})


def test_files_are_registered_where_they_lie(tmp_path: Path) -> None:
    for name in ("b", "a"):
        pq.write_table(ROWS, tmp_path / f"{name}.parquet", row_group_size=2)
    table = ingest.parquet_table(SourceConfig("t", str(tmp_path)), str(tmp_path / "out"))
    assert Table.load(str(tmp_path / "out")) == table
    assert [(Path(p.path).name, p.row_groups, p.chunk) for p in table.parts] == [
        ("a.parquet", (2, 1), 0),
        ("b.parquet", (2, 1), 1),
    ]
    assert [(o.chunk, o.start, o.stop, o.unit) for o in table.origins] == [(0, 0, 3, "rows"), (1, 0, 3, "rows")]
    assert not table.stores_rows
    assert table.ledger.check("t").written == table.rows == 6
    assert pa.Table.from_batches(read_batches(table)).equals(pa.concat_tables([ROWS, ROWS]))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["table.json"]


def test_declared_types_must_be_the_files(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "t.parquet")
    assert infer_schema(SourceConfig("t", str(tmp_path / "t.parquet"), types={"id": "int64"})) == ROWS.schema
    with pytest.raises(DataError, match="'id' is int64, but is declared as string"):
        infer_schema(SourceConfig("t", str(tmp_path / "t.parquet"), types={"id": "string"}))


def refused(path: Path, told: str) -> None:
    with pytest.raises(DataError, match=told):
        ingest.parquet_table(SourceConfig("t", str(path)), str(path / "out"))
    assert not (path / "out").exists()


def test_truncated(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    for size in (0, 3, 100, len(whole) - 9):
        (tmp_path / "t.parquet").write_bytes(whole[:size])
        refused(tmp_path, "not a whole Parquet file")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (pa.table({"id": [1.5], "name": ["a"]}), "column 'id' is int64 in .*, double in"),
        (pa.table({"name": ["a"]}), "has id, name; .* has name"),
    ],
)
def test_files_that_differ(tmp_path: Path, other: pa.Table, told: str) -> None:
    pq.write_table(ROWS, tmp_path / "a.parquet")
    pq.write_table(other, tmp_path / "b.parquet")
    refused(tmp_path, told)


def test_nullability_may_differ(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    strict = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    pq.write_table(pa.table({"id": [2]}, schema=strict), tmp_path / "b.parquet")
    assert infer_schema(SourceConfig("t", str(tmp_path))) == pa.schema([("id", pa.int64())])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (pa.table({"id": [[1]]}), r"column 'id' is nested \(list"),
        (pa.table({"id": [{"a": 1}]}), r"column 'id' is nested \(struct"),
        (ROWS.slice(0, 0), "no rows"),
        (pa.table({"_row": [1]}), "Braid's own"),
    ],
)
def test_unusable_tables(tmp_path: Path, rows: pa.Table, told: str) -> None:
    pq.write_table(rows, tmp_path / "t.parquet")
    refused(tmp_path, told)
