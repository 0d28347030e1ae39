import datetime
import os
import time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs import duck
from beam_jobs.errors import SqlError

SCHEMAS = {
    "flights": pa.schema([("month", pa.int64()), ("carrier", pa.string()), ("dep_delay", pa.float64())]),
    "planes": pa.schema([("tailnum", pa.string()), ("seats", pa.int32())]),
}


@pytest.mark.parametrize(
    "statement",
    ["SET threads = 4", "SET enable_external_access = true", "INSTALL httpfs", "LOAD httpfs", "ATTACH 'other.db'"],
)
def test_a_connection_cannot_be_told_otherwise(statement: str) -> None:
    with duck.connect() as connection, pytest.raises(duckdb.Error):
        connection.execute(statement)


def test_only_allowed_files_can_be_read(tmp_path) -> None:
    allowed, other = str(tmp_path / "it's.parquet"), str(tmp_path / "other.parquet")
    for path in (allowed, other):
        pq.write_table(pa.table({"a": [1]}), path)
    with duck.connect([allowed]) as connection:
        assert connection.sql(f"SELECT * FROM read_parquet({duck.literal(allowed)})").fetchall() == [(1,)]
        with pytest.raises(duckdb.PermissionException):
            connection.sql(f"SELECT * FROM read_parquet({duck.literal(other)})").fetchall()


def test_python_variables_are_no_tables() -> None:
    secrets = pa.table({"a": [1]})
    with duck.connect() as connection, pytest.raises(duckdb.CatalogException):
        connection.sql("SELECT * FROM secrets").fetchall()
    assert secrets.num_rows == 1


def test_memory_limit() -> None:
    with duck.connect(memory_limit="1GB") as connection:
        assert connection.sql("SELECT current_setting('memory_limit')").fetchall() == [("953.6 MiB",)]


def test_times_do_not_depend_on_the_machines_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime.datetime(2013, 1, 1, 4, 30, tzinfo=datetime.UTC)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with duck.connect() as connection:
            connection.register("a", pa.table({"t": pa.array([moment], pa.timestamp("us", "America/New_York"))}))
            connection.register("b", pa.table({"t": pa.array([moment], pa.timestamp("us", "UTC"))}))
            table = connection.sql(
                "SELECT a.t, hour(a.t) AS h, CAST(a.t AS VARCHAR) AS s, a.t > TIMESTAMPTZ '2013-01-01 04:00:00' AS late "
                "FROM a JOIN b ON a.t = b.t"
            ).to_arrow_table()
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert table.schema.field("t").type == pa.timestamp("us", "UTC")
    assert table.to_pylist() == [{"t": moment, "h": 4, "s": "2013-01-01 04:30:00+00", "late": True}]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_quote_holds_any_name(name: str) -> None:
    assert duckdb.sql(f"SELECT 1 AS {duck.quote(name)}").columns == [name]


@pytest.mark.parametrize(
    ("expression", "stored"),
    [
        ("sum(month) OVER ()", pa.int64()),
        ("count(*) OVER ()", pa.int64()),
        ("avg(month) OVER ()", pa.float64()),
        ("CAST(month AS UHUGEINT)", pa.uint64()),
        ("CAST('5b0e4f0e-0000-4000-8000-000000000000' AS UUID)", pa.string()),
        ("CAST('1' AS BIT)", pa.string()),
        ("CAST('a' AS ENUM('a', 'b'))", pa.string()),
        ("CAST('2013-01-01' AS TIMESTAMP_S)", pa.timestamp("us")),
        ("CAST('2013-01-01' AS TIMESTAMPTZ)", pa.timestamp("us", "UTC")),
        ("CAST(1.5 AS DECIMAL(10, 2))", pa.decimal128(10, 2)),
        ("carrier", pa.string()),
        ("[month]", pa.list_(pa.field("l", pa.int64()))),
    ],
)
def test_output_types_survive_parquet(expression: str, stored: pa.DataType, tmp_path) -> None:
    schema = duck.output_schema(f'SELECT {expression} AS x, month AS "Other" FROM flights', SCHEMAS)
    assert schema.names == ["x", "Other"]
    assert schema.field("x").type == stored
    path = tmp_path / "empty.parquet"
    pq.write_table(schema.empty_table(), path)
    assert pq.read_schema(path).field("x").type == schema.field("x").type


def test_sum_fails_rather_than_wraps_where_int64_is_too_small() -> None:
    types = [("s", "HUGEINT")]
    with duck.connect() as connection:
        connection.register("t", pa.table({"a": pa.array([2**62, 2**62], pa.int64())}))
        with pytest.raises(duckdb.ConversionException):
            connection.sql(duck.storable("SELECT sum(a) AS s FROM t", types)).fetchall()


@pytest.mark.parametrize("expression", ["INTERVAL 1 DAY", "NULL", "[sum(month) OVER ()]", "CAST('1:2' AS TIMETZ)"])
def test_types_without_a_place_in_a_table_are_refused(expression: str) -> None:
    with pytest.raises(SqlError, match="Column 'x' of the query's output has type"):
        duck.output_schema(f"SELECT {expression} AS x FROM flights", SCHEMAS)


def test_strings_are_plain_whatever_they_come_from() -> None:
    schema = pa.schema(
        [("a", pa.large_string()), ("b", pa.dictionary(pa.int32(), pa.string())), ("c", pa.string_view())]
    )
    assert set(duck.output_schema("SELECT * FROM t", {"t": schema}).types) == {pa.string()}


@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        (
            "SELECT month,\n carier FROM flights",
            r"no column 'carier' \(line 2\)\. Did you mean 'carrier'\?",
            "dep_delay",
        ),
        ("SELECT f.mnth FROM flights f", r"'f' has no column 'mnth'.* Did you mean 'month'\?", "month"),
        ("SELECT month FROM flight", r"no table 'flight' \(line 1\)\. Did you mean 'flights'\?", "flights, planes"),
        ("SELECT p.month FROM flights f", r"No table or alias 'p' is in reach", "alias"),
        ("SELECT * EXCLUDE (nothing) FROM planes", r"no column 'nothing'", "seats"),
        ("SELECT florr(month) FROM flights", r"no function 'florr'.* Did you mean 'floor'\?", "function"),
        ("SELECT month + carrier FROM flights", r"refuses the query \(line 1\): No function matches .*VARCHAR", "read"),
    ],
)
def test_errors_in_braids_words(sql: str, message: str, hint: str) -> None:
    with pytest.raises(SqlError, match=message) as caught:
        duck.output_schema(sql, SCHEMAS)
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_column_that_sql_cannot_read_names_its_table() -> None:
    schemas = {"t": pa.schema([("wide", pa.decimal256(60, 2))])}
    with pytest.raises(SqlError, match=r"SQL cannot read table 't'.*wide"):
        duck.output_schema("SELECT 1 AS x FROM t", schemas)


def test_nothing_is_left_behind(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with duck.connect(memory_limit="100MB") as connection:
        connection.sql("SELECT count(*) FROM (SELECT DISTINCT range FROM range(1000))").fetchall()
    assert os.listdir(tmp_path) == []
