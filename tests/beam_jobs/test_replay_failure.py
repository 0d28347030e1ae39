"""Kept failures run again in this process, and shrunk to the rows that matter."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from failing_jobs import BAD, CAST, JOINED, MENDED, PEOPLE, SUMMED, fail, failing_tables, only, saved
from small_tables import IN_MEMORY, prepare, stored

from beam_jobs import fused, kernel
from beam_jobs.errors import DataError, SqlError
from beam_jobs.failures import list_failures
from beam_jobs.ledger import Ledger
from beam_jobs.publish import PENDING
from beam_jobs.replay_failure import rerun, shrink_failure
from beam_jobs.shrinking import signature
from beam_jobs.table import ROW, Table, row_id


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Table]:
    return failing_tables(tmp_path)


@pytest.mark.parametrize(("sql", "by"), [(CAST, []), (JOINED, []), (SUMMED, ["who"])])
def test_a_failure_fails_again_and_shrinks_to_its_row(
    tmp_path: Path, tables: dict[str, Table], sql: str, by: list[str]
) -> None:
    raised = fail(tmp_path / "out", sql, tables, by, chunk_rows=50, partition_rows=40)
    failure = only(tmp_path / "out")
    with pytest.raises(DataError, match="Could not convert string") as again:
        rerun(failure)
    assert signature(again.value) == failure.error.signature
    assert again.value.hint == raised.hint
    shrunk = shrink_failure(failure)
    assert shrunk.stream.table.column("n").to_pylist() == ["x'137"]
    assert shrunk.stream.table.column(ROW).to_pylist() == [row_id(0, BAD)]
    assert shrunk.as_kept and shrunk.minimal and shrunk.runs <= 25
    assert all(other.table.num_rows == 0 for other in shrunk.others.values())
    with pytest.raises(DataError, match="'x'137'"):
        rerun(failure, shrunk.stream.table)


def test_a_mended_query_gives_what_its_job_gives(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", CAST, tables)
    report = rerun(only(tmp_path / "out"), sql=MENDED, root=str(tmp_path / "again"))
    assert report.ledger == Ledger(read=200, kept=200, written=200)
    expected = prepare(tmp_path / "mended", MENDED, tables)
    (part,) = report.parts
    again = pq.read_table(tmp_path / "again/output" / PENDING / report.attempt / part.path)
    assert again.equals(stored(expected))


def test_the_last_batches_failure_is_the_first_batches(tmp_path: Path) -> None:
    """DuckDB tells the first batch's failure itself, and a later one's through the Arrow stream."""
    rows = pa.table({"n": [str(n) for n in range(300_000)] + ["x"]})
    texts = saved(tmp_path / "texts", rows, row_group_rows=400_000)
    fail(tmp_path / "out", "SELECT CAST(n AS INTEGER) AS n FROM texts", {"texts": texts})
    shrunk = shrink_failure(only(tmp_path / "out"))
    assert shrunk.stream.places == (300_000,) and shrunk.as_kept
    assert shrunk.stream.runs <= 45


def test_a_fan_out_shrinks_to_one_row_and_the_two_that_it_meets(tmp_path: Path, tables: dict[str, Table]) -> None:
    tables["people"] = saved(tmp_path / "twice", pa.concat_tables([PEOPLE, PEOPLE.slice(4, 1)]))
    sql = "SELECT t.n, p.age FROM texts t JOIN people p USING (who)"
    fail(tmp_path / "out", sql, tables, chunk_rows=200)
    failure = only(tmp_path / "out")
    shrunk = shrink_failure(failure)
    assert shrunk.stream.table.column("who").to_pylist() == ["p4"]
    assert shrunk.others["people"].table.column("who").to_pylist() == ["p4", "p4"]
    assert shrunk.as_kept and shrunk.minimal
    report = rerun(failure, shrunk.stream.table, step={**failure.parameters, "fan_out": True})
    assert report.ledger == Ledger(read=1, kept=1, multiplied=1, written=2)


def test_a_sum_that_overflows_in_a_partition_keeps_several_rows(tmp_path: Path) -> None:
    rows = pa.table({"v": pa.array([2**61 + n for n in range(60)]), "who": [f"p{n % 3}" for n in range(60)]})
    tables = {"rows": saved(tmp_path / "rows", rows)}
    fail(tmp_path / "out", "SELECT who, sum(v) AS s FROM rows GROUP BY who", tables, ["who"])
    shrunk = shrink_failure(list_failures(str(tmp_path / "out"))[0])
    assert len(set(shrunk.stream.table.column("who").to_pylist())) == 1
    assert shrunk.stream.table.num_rows == 4 and shrunk.minimal


def test_mended_by_now_there_is_nothing_to_shrink(tmp_path: Path, tables: dict[str, Table]) -> None:
    sql = "SELECT t.who, CASE WHEN p.age = 25 THEN CAST(t.who AS INTEGER) ELSE 0 END AS a FROM texts t JOIN people p USING (who)"
    fail(tmp_path / "out", sql, tables)
    older = PEOPLE.set_column(1, "age", pa.array([40 + n for n in range(9)]))
    saved(tmp_path / "people", older)
    with pytest.raises(DataError, match="Nothing fails on these 200 rows") as caught:
        shrink_failure(only(tmp_path / "out"))
    assert "joined table" in caught.value.hint


def test_a_query_that_reads_more_than_was_kept_is_told(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", CAST, tables)
    failure = only(tmp_path / "out")
    with pytest.raises(DataError, match="have no column 'unread', which the query reads now"):
        rerun(failure, sql="SELECT unread FROM texts")
    with pytest.raises(SqlError, match=r"no column 'unraed'.*Did you mean 'unread'"):
        rerun(failure, sql="SELECT unraed FROM texts")
    with pytest.raises(DataError, match="streams 'people' now"):
        rerun(failure, step={**failure.parameters, "stream": "people"})


def test_replaying_never_writes_beside_the_original(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", CAST, tables)

    def held() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = held()
    shrink_failure(only(tmp_path / "out"))
    rerun(only(tmp_path / "out"), sql=MENDED)
    assert held() == before


@pytest.mark.parametrize("by", [[], ["who"]])
def test_job_and_replay_run_one_function_that_holds_the_batch(
    tmp_path: Path, tables: dict[str, Table], monkeypatch: pytest.MonkeyPatch, by: list[str]
) -> None:
    """Where a breakpoint is set: `kernel.run_query`, whose `batch` is the Arrow rows."""
    sql, seen = (SUMMED, []) if by else (CAST, [])
    once = kernel.query_batches

    def watched(connection: Any, text: str) -> Any:
        caller = sys._getframe(1)
        seen.append((caller.f_code.co_name, caller.f_locals["batch"]))
        return once(connection, text)

    monkeypatch.setattr(kernel, "query_batches", watched)
    fail(tmp_path / "out", sql, tables, by, IN_MEMORY)
    with fused.batches_in_sight():
        fail(tmp_path / "seen", sql, tables, by, IN_MEMORY)
    with pytest.raises(DataError):
        rerun(only(tmp_path / "out"))
    names, batches = zip(*seen, strict=True)
    assert set(names) == {"run_query"} and len(batches) == 3
    assert (batches[0] is None) is not by  # DuckDB reads the file itself
    for batch in batches[1:]:
        assert "x'137" in batch.column("n").to_pylist()


def test_batches_in_sight_give_the_same_table(tmp_path: Path, tables: dict[str, Table]) -> None:
    plain = prepare(tmp_path / "plain", MENDED, tables, chunk_rows=50)
    with fused.batches_in_sight():
        seen = prepare(tmp_path / "seen", MENDED, tables, chunk_rows=50)
    contents = [[(Path(table.root) / part.path).read_bytes() for part in table.parts] for table in (plain, seen)]
    assert contents[0] == contents[1] and plain.ledger == seen.ledger


def test_batches_in_sight_come_out_in_the_jobs_own_order(tmp_path: Path) -> None:
    """DuckDB takes a part of a file for smaller than it is, and then joins from the other side."""
    stream = pa.table({"k": [n * 7 % 600 for n in range(2_000)]})
    tables = {
        "stream": saved(tmp_path / "s", stream, row_group_rows=1_000),
        "other": saved(tmp_path / "o", pa.table({"k": range(600), "v": range(600)})),
    }
    sql = "SELECT s.k, o.v FROM stream s LEFT JOIN other o ON s.k = o.k"
    plain = prepare(tmp_path / "plain", sql, tables, chunk_rows=1_000)
    written = pa.concat_tables(pq.read_table(Path(plain.root) / part.path) for part in plain.parts)
    assert written.column("k").to_pylist() == stream.column("k").to_pylist()
    with fused.batches_in_sight():
        seen = prepare(tmp_path / "seen", sql, tables, chunk_rows=1_000)
    contents = [[(Path(table.root) / part.path).read_bytes() for part in table.parts] for table in (plain, seen)]
    assert contents[0] == contents[1]
