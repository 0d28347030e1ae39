import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tables import IN_MEMORY, TWO_THREADS, prepare, stored, write_source

from beam_jobs import duck
from beam_jobs.errors import DataError
from beam_jobs.ledger import Ledger
from beam_jobs.partitioned import MOST_PARTITIONS, partitions_for
from beam_jobs.publish import PENDING
from beam_jobs.spill import divide
from beam_jobs.table import MANIFEST, ROW

VISITS = pa.table(
    {
        "who": [f"p{n * 7 % 23}" if n % 19 else None for n in range(400)],
        "moment": [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=n * 37 % 401) for n in range(400)],
        "spent": [n * 31 % 100 for n in range(400)],
    }
)
PEOPLE = pa.table({"who": [f"p{n}" for n in range(40)], "age": [20 + n for n in range(40)]})
WINDOW = "SELECT *, sum(spent) OVER (PARTITION BY who ORDER BY moment) AS so_far FROM visits"
AGGREGATE = "SELECT who, count(*) AS visits, sum(spent) AS spent FROM visits GROUP BY who"
JOIN = "SELECT v.who, v.moment, p.age FROM visits v JOIN people p ON v.who = p.who"


def duckdb_says(sql: str) -> list[dict[str, object]]:
    with duck.connect() as connection:
        connection.register("visits", VISITS)
        connection.register("people", PEOPLE)
        return connection.sql(sql).to_arrow_table().to_pylist()


def in_any_order(rows: list[dict[str, object]]) -> list[str]:
    return sorted(repr(sorted((key, str(value)) for key, value in row.items())) for row in rows)


@pytest.mark.parametrize("running", [IN_MEMORY, TWO_THREADS])
@pytest.mark.parametrize("sql", [WINDOW, AGGREGATE, JOIN])
@pytest.mark.parametrize("partition_rows", [30, 10_000])
def test_gives_what_duckdb_gives_on_the_whole(
    tmp_path: Path, running: tuple[str, ...], sql: str, partition_rows: int
) -> None:
    tables = {
        "visits": write_source(tmp_path / "visits", VISITS, parts=2),
        "people": write_source(tmp_path / "people", PEOPLE, stores_rows=True),
    }
    settings = {"chunk_rows": 60, "partition_rows": partition_rows}
    table = prepare(tmp_path / "out", sql, tables, ["who"], running, **settings)
    expected = duckdb_says(sql)
    assert in_any_order(stored(table).drop_columns([ROW]).to_pylist()) == in_any_order(expected)
    assert len(set(stored(table).column(ROW).to_pylist())) == len(expected)
    assert table.ledger.read == 400 and table.ledger.written == len(expected)
    assert not (tmp_path / "out" / PENDING).exists()


def test_an_aggregate_merges_a_window_keeps_a_join_filters(tmp_path: Path) -> None:
    tables = {"visits": write_source(tmp_path / "v", VISITS), "people": write_source(tmp_path / "p", PEOPLE)}
    settings = {"partition_rows": 50}
    ledgers = [
        prepare(tmp_path / str(place), sql, tables, ["who"], **settings).ledger
        for place, sql in enumerate((AGGREGATE, WINDOW, JOIN))
    ]
    assert ledgers == [
        Ledger(read=400, merged=376, kept=24, written=24),
        Ledger(read=400, kept=400, written=400),
        Ledger(read=400, filtered=22, kept=378, written=378),
    ]


@pytest.mark.parametrize("stores_rows", [False, True])
def test_rows_keep_their_identity_and_the_cut_changes_nothing(tmp_path: Path, stores_rows: bool) -> None:
    tables = {"visits": write_source(tmp_path / "v", VISITS, parts=3, stores_rows=stores_rows)}
    one = prepare(tmp_path / "one", WINDOW, tables, ["who"], chunk_rows=50, partition_rows=40)
    two = prepare(tmp_path / "two", WINDOW, tables, ["who"], chunk_rows=1_000, partition_rows=150)
    assert stored(one).equals(stored(two))
    assert stored(one).column("moment").to_pylist() == VISITS.column("moment").to_pylist()


def test_what_one_step_wrote_another_partitions(tmp_path: Path) -> None:
    first = prepare(tmp_path / "one", "SELECT * FROM visits", {"visits": write_source(tmp_path / "v", VISITS)})
    second = prepare(tmp_path / "two", WINDOW, {"visits": first}, ["who"], partition_rows=100)
    assert in_any_order(stored(second).drop_columns([ROW]).to_pylist()) == in_any_order(duckdb_says(WINDOW))
    assert stored(second).column(ROW).to_pylist() == stored(first).column(ROW).to_pylist()


def test_output_does_not_depend_on_the_order_of_the_shuffle(tmp_path: Path) -> None:
    tables = {"visits": write_source(tmp_path / "v", VISITS, parts=3)}
    runs = [
        prepare(tmp_path / str(n), AGGREGATE, tables, ["who"], running, chunk_rows=20, partition_rows=100)
        for n, running in enumerate((IN_MEMORY, TWO_THREADS, TWO_THREADS))
    ]
    contents = [[(Path(t.root) / part.path).read_bytes() for part in t.parts] for t in runs]
    assert contents[0] == contents[1] == contents[2]


def test_a_join_of_two_large_tables_that_multiplies_is_refused(tmp_path: Path) -> None:
    doubled = pa.concat_tables([PEOPLE, PEOPLE])
    tables = {"visits": write_source(tmp_path / "v", VISITS), "people": write_source(tmp_path / "p", doubled)}
    with pytest.raises(DataError, match=r"multiplies rows of 'visits'.*partition .* by who.* 2 times"):
        prepare(tmp_path / "out", JOIN, tables, ["who"], partition_rows=100)
    assert not (tmp_path / "out" / MANIFEST).exists()
    table = prepare(tmp_path / "out", JOIN, tables, ["who"], partition_rows=100, fan_out=True)
    assert (table.ledger.kept, table.ledger.multiplied) == (378, 378)


def test_a_value_that_the_query_refuses_names_the_partition(tmp_path: Path) -> None:
    tables = {"visits": write_source(tmp_path / "v", VISITS)}
    with pytest.raises(DataError, match=r"'step' failed on the .* rows of 'visits' in partition .* by who: .*'p"):
        prepare(
            tmp_path / "out", "SELECT who, sum(CAST(who AS INTEGER)) AS s FROM visits GROUP BY who", tables, ["who"]
        )


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.integers(1, MOST_PARTITIONS))
def test_dividing_loses_no_row_and_keeps_order(hashes: list[int], partitions: int) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(range(len(hashes)), pa.int64())], names=["place"])
    divided = dict(divide(batch, np.array(hashes, np.uint64), partitions))
    for partition, rows in divided.items():
        assert rows.column(0).to_pylist() == [n for n, h in enumerate(hashes) if h % partitions == partition]
    assert sum(rows.num_rows for rows in divided.values()) == len(hashes)


def test_partitions_follow_the_rows() -> None:
    assert [partitions_for(rows, 250_000) for rows in (0, 100_000, 100_001, 1_000_001, 10**9)] == [1, 1, 2, 5, 256]
