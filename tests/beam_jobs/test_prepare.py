import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from small_tables import IN_MEMORY, TWO_THREADS, prepare, stored, write_source

from beam_jobs import duck, fused
from beam_jobs.chunks import Chunk
from beam_jobs.errors import DataError
from beam_jobs.kernel import PrepareConfig
from beam_jobs.ledger import Ledger
from beam_jobs.prepare import empty_split
from beam_jobs.publish import PENDING, ChunkReport
from beam_jobs.splits import SplitByColumn, SplitByHash, SplitByTime
from beam_jobs.table import MANIFEST, ROW, Part, Table, row_id

FLIGHTS = pa.table(
    {
        "day": [datetime.date(2013, 1, 1) + datetime.timedelta(n) for n in range(365)],
        "tail": [f"N{n % 7}" if n % 11 else None for n in range(365)],
        "delay": [n % 60 - 10 if n % 13 else None for n in range(365)],
    }
)
PLANES = pa.table({"tail": [f"N{n}" for n in range(5)], "seats": [100 + n for n in range(5)]})
JOIN = "SELECT f.*, p.seats, delay > 15 AS late FROM flights f LEFT JOIN planes p USING (tail) WHERE delay IS NOT NULL"


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Table]:
    flights = write_source(tmp_path / "flights", FLIGHTS, parts=2)
    return {"flights": flights, "planes": write_source(tmp_path / "planes", PLANES)}


def duckdb_says(sql: str, **tables: pa.Table) -> list[dict[str, object]]:
    with duck.connect() as connection:
        for name, rows in tables.items():
            connection.register(name, rows)
        return connection.sql(sql).to_arrow_table().to_pylist()


def in_any_order(rows: list[dict[str, object]]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


@pytest.mark.parametrize("running", [IN_MEMORY, TWO_THREADS])
@pytest.mark.parametrize("stores_rows", [False, True])
def test_gives_what_duckdb_gives_on_the_whole(tmp_path: Path, running: tuple[str, ...], stores_rows: bool) -> None:
    flights = write_source(tmp_path / "flights", FLIGHTS, parts=2, stores_rows=stores_rows)
    planes = write_source(tmp_path / "planes", PLANES, stores_rows=stores_rows)
    table = prepare(tmp_path / "out", JOIN, {"flights": flights, "planes": planes}, running=running, chunk_rows=60)
    rows = stored(table)
    expected = duckdb_says(JOIN, flights=FLIGHTS, planes=PLANES)
    assert in_any_order(rows.drop_columns([ROW]).to_pylist()) == in_any_order(expected)
    assert table.ledger == Ledger(read=365, filtered=29, kept=336, written=336)
    assert table.schema.names == list(expected[0])


def test_every_row_keeps_the_identity_of_its_source_row(tmp_path: Path, tables: dict[str, Table]) -> None:
    rows = stored(prepare(tmp_path / "out", JOIN, tables, chunk_rows=50))
    size = tables["flights"].parts[0].rows
    for row, day in zip(rows.column(ROW).to_pylist(), rows.column("day").to_pylist(), strict=True):
        assert day == FLIGHTS.column("day")[(row >> 32) * size + (row & 0xFFFFFFFF)].as_py()


def test_a_second_step_streams_the_first_ones_output_with_its_row_ids(tmp_path: Path, tables: dict[str, Table]) -> None:
    first = prepare(tmp_path / "one", JOIN, tables, chunk_rows=50)
    second = prepare(tmp_path / "two", "SELECT day FROM flights WHERE late", {"flights": first})
    late = stored(first).filter(pa.compute.field("late"))
    assert stored(second).column(ROW).to_pylist() == late.column(ROW).to_pylist()


@pytest.mark.parametrize("chunk_rows", [1, 70, 130])
def test_the_cut_into_chunks_changes_nothing(tmp_path: Path, tables: dict[str, Table], chunk_rows: int) -> None:
    split = SplitByHash(("tail", "delay"), {"train": 0.6, "eval": 0.4})
    cut = prepare(tmp_path / "cut", JOIN, tables, split=split, chunk_rows=chunk_rows, running=IN_MEMORY)
    whole = prepare(tmp_path / "whole", JOIN, tables, split=split, chunk_rows=10_000, running=IN_MEMORY)
    assert cut.ledger == whole.ledger
    for name in split.names:
        assert stored(cut, name).equals(stored(whole, name))


def test_splits_are_written_apart_and_in_their_order(tmp_path: Path, tables: dict[str, Table]) -> None:
    split = SplitByTime("day", "2013-07-01", "2013-10-01")
    table = prepare(tmp_path / "out", "SELECT * FROM flights", tables, split=split, chunk_rows=60)
    assert table.splits == {"train": 181, "eval": 92, "test": 92}
    assert list(table.splits) == ["train", "eval", "test"]
    assert min(stored(table, "test").column("day").to_pylist()) == datetime.date(2013, 10, 1)
    assert not (tmp_path / "out" / PENDING).exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Split-eval",
        "Split-test",
        "Split-train",
        MANIFEST,
    ]


def test_a_join_that_multiplies_is_refused_with_an_example(tmp_path: Path, tables: dict[str, Table]) -> None:
    doubled = pa.concat_tables([PLANES, PLANES.slice(0, 1)])
    tables["planes"] = write_source(tmp_path / "doubled", doubled)
    with pytest.raises(
        DataError, match=r"multiplies rows of 'flights'.* row \d+ of '.*' comes out 2 times \(.*tail = N0.*several rows"
    ) as caught:
        prepare(tmp_path / "out", JOIN, tables)
    assert "fan_out: true" in caught.value.hint
    assert not (tmp_path / "out" / MANIFEST).exists()

    table = prepare(tmp_path / "out", JOIN, tables, fan_out=True)
    expected = duckdb_says(JOIN, flights=FLIGHTS, planes=doubled)
    assert table.rows == len(expected) == 336 + table.ledger.multiplied
    assert in_any_order(stored(table).drop_columns([ROW]).to_pylist()) == in_any_order(expected)


def test_a_value_that_the_query_refuses_is_traced_to_its_row(tmp_path: Path) -> None:
    texts = pa.table({"n": [str(n) if n != 137 else "x137" for n in range(200)]})
    tables = {"texts": write_source(tmp_path / "texts", texts)}
    with pytest.raises(DataError, match=r"'step' failed on row 138 of '.*part-000000.parquet': .*'x137'") as caught:
        prepare(tmp_path / "out", "SELECT CAST(n AS INTEGER) AS n FROM texts", tables, chunk_rows=100)
    assert "TRY_CAST" in caught.value.hint
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_an_empty_split_stops_before_anything_is_published(tmp_path: Path, tables: dict[str, Table]) -> None:
    split = SplitByTime("day", "2013-07-01", "2014-10-01")
    message = (
        r"split 'test' has no row. Rows: train 181, eval 184, test 0. Column 'day' runs from 2013-01-01.* to 2013-12-31"
    )
    with pytest.raises(DataError, match=message) as caught:
        prepare(tmp_path / "out", "SELECT * FROM flights", tables, split=split)
    assert "eval_from" in caught.value.hint
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert not (tmp_path / "out" / "Split-train").exists()


def test_a_query_that_keeps_nothing_says_so() -> None:
    config = PrepareConfig("step", None, "", split=SplitByColumn("c", {"train": [1], "eval": [2]}))  # type: ignore[arg-type]
    reports = [ChunkReport(0, "a", (), Ledger(read=5, filtered=5))]
    assert "none of the 5 rows" in str(empty_split(config, reports))
    half = [ChunkReport(0, "a", (Part("p", (5,), 0, "train"),), Ledger(read=5, kept=5, written=5))]
    assert "split 'eval' has no row. Rows: train 5, eval 0." in str(empty_split(config, half))


def test_a_split_that_cannot_be_is_refused_as_the_job_is_built(tmp_path: Path, tables: dict[str, Table]) -> None:
    with pytest.raises(DataError, match="needs a date or a timestamp"):
        prepare(tmp_path / "out", JOIN, tables, split=SplitByTime("tail", "2013-07-01", "2013-10-01"))


def test_an_empty_stream_makes_an_empty_table(tmp_path: Path, tables: dict[str, Table]) -> None:
    tables["flights"] = write_source(tmp_path / "none", FLIGHTS.slice(0, 0))
    table = prepare(tmp_path / "out", JOIN, tables)
    assert table.rows == 0 and table.parts == () and table.ledger == Ledger()
    again = prepare(
        tmp_path / "again",
        JOIN,
        {"flights": write_source(tmp_path / "f", FLIGHTS), "planes": write_source(tmp_path / "p", PLANES.slice(0, 0))},
    )
    assert again.rows == 336


def test_a_retried_chunk_leaves_no_twin(
    tmp_path: Path, tables: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = fused.RunChunk.process

    def twice(self: fused.RunChunk, chunk: Chunk) -> Iterator[ChunkReport]:
        yield from once(self, chunk)
        yield from once(self, chunk)

    monkeypatch.setattr(fused.RunChunk, "process", twice)
    table = prepare(tmp_path / "out", JOIN, tables, chunk_rows=60)
    assert table.ledger == Ledger(read=365, filtered=29, kept=336, written=336)
    on_disk = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet")}
    assert on_disk == {part.path for part in table.parts}
    assert stored(table).num_rows == 336


def test_a_crash_midway_publishes_nothing_and_the_next_run_is_whole(
    tmp_path: Path, tables: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = fused.RunChunk.process

    def crash(self: fused.RunChunk, chunk: Chunk) -> Iterator[ChunkReport]:
        yield from once(self, chunk)
        if chunk.number == 3:
            raise KeyError("the machine is gone")

    with monkeypatch.context() as patched:
        patched.setattr(fused.RunChunk, "process", crash)
        with pytest.raises(Exception, match="the machine is gone"):
            prepare(tmp_path / "out", JOIN, tables, chunk_rows=60)
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert prepare(tmp_path / "out", JOIN, tables, chunk_rows=60).rows == 336
    assert not (tmp_path / "out" / PENDING).exists()


@pytest.mark.parametrize("keep", [0.3, 0.97])
def test_a_damaged_file_is_named(tmp_path: Path, tables: dict[str, Table], keep: float) -> None:
    file = Path(tables["flights"].parts[1].path)
    content = bytearray(file.read_bytes())
    content[100 : int(len(content) * (1 - keep))] = b""
    file.write_bytes(content if keep > 0.5 else content[:200])
    with pytest.raises(DataError, match=r"part-000001.parquet"):
        prepare(tmp_path / "out", JOIN, tables)
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize("name", ["odd[1]*", "year=2013"])
def test_odd_paths_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    tables = {"flights": write_source(tmp_path / name, FLIGHTS)}
    table = prepare(tmp_path / "out", "SELECT * FROM flights", tables, chunk_rows=100)
    assert stored(table).drop_columns([ROW]).equals(FLIGHTS)


def test_types_that_duckdb_reads_otherwise_come_through_arrow(tmp_path: Path) -> None:
    moments = pa.array([datetime.datetime(2013, 1, 1), None] * 60, pa.timestamp("s"))
    rows = pa.table({"moment": moments, "file_row_number": range(120)})
    tables = {"rows": write_source(tmp_path / "rows", rows)}
    table = prepare(tmp_path / "out", "SELECT moment, file_row_number FROM rows", tables, chunk_rows=50)
    assert stored(table).column("moment").to_pylist() == moments.to_pylist()
    assert stored(table).column(ROW).to_pylist() == [row_id(0, place) for place in range(120)]


def test_the_manifest_holds_no_working_notes(tmp_path: Path, tables: dict[str, Table]) -> None:
    prepare(tmp_path / "out", JOIN, tables, split=SplitByTime("day", "2013-07-01", "2013-10-01"))
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["extra"] == {}
