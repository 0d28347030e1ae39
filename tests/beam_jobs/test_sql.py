from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs import duck
from beam_jobs.errors import SqlError
from beam_jobs.sql import CARRY, CheckedQuery, check_query

FLIGHTS = pa.schema(
    [(name, pa.int64()) for name in ("year", "month", "day", "dep_time", "arr_delay", "distance")]
    + [(name, pa.string()) for name in ("carrier", "origin", "tailnum")]
    + [("time_hour", pa.timestamp("us", "UTC"))]
)
SCHEMAS = {
    "flights": FLIGHTS,
    "weather": pa.schema(
        [
            ("origin", pa.string()),
            ("time_hour", pa.timestamp("us", "UTC")),
            ("temp", pa.float64()),
            ("month", pa.int64()),
        ]
    ),
    "planes": pa.schema([("tailnum", pa.string()), ("year", pa.int64()), ("seats", pa.int64())]),
}
JOINED = """
SELECT f.month, f.carrier, f.distance, f.dep_time % 100 AS m, w.temp, p.seats, p.year AS built, f.arr_delay > 15 AS late
FROM flights f
LEFT JOIN weather w ON f.origin = w.origin AND f.time_hour = w.time_hour
LEFT JOIN planes p USING (tailnum)
WHERE f.dep_time IS NOT NULL
"""
BY_PLANE = """
SELECT f.*, p.seats, lag(arr_delay) OVER (PARTITION BY tailnum ORDER BY time_hour) AS previous_delay,
       sum(distance) OVER plane AS flown
FROM flights f LEFT JOIN planes p USING (tailnum) WINDOW plane AS (PARTITION BY tailnum)
"""


def check(sql: str, *partition_by: str) -> CheckedQuery:
    return check_query("examples", sql, "flights", SCHEMAS, partition_by)


def test_the_flights_query() -> None:
    query = check(JOINED)
    assert query.carries
    assert query.tables == ("flights", "weather", "planes")
    assert query.partitioned == query.partition_by == ()
    assert query.columns["planes"] == ("tailnum", "year", "seats")
    assert query.columns["weather"] == ("origin", "time_hour", "temp")
    assert query.stream_columns == query.columns["flights"]
    assert {"year", "day"}.isdisjoint(query.stream_columns)
    assert query.output.field("built").type == pa.int64()
    assert query.output.field("late").type == pa.bool_()
    assert query.output.names == ["month", "carrier", "distance", "m", "temp", "seats", "built", "late"]


def test_windows_and_joins_within_partitions() -> None:
    query = check(BY_PLANE, "TAILNUM")
    assert query.partition_by == ("tailnum",)
    assert query.partitioned == ("flights", "planes")
    assert query.carries
    assert query.output.field("flown").type == pa.int64()


def test_partition_columns_are_read_even_where_the_query_does_not_name_them() -> None:
    assert check("SELECT month FROM flights", "tailnum").stream_columns == ("month", "tailnum")


def test_a_table_of_which_nothing_is_read_keeps_a_column_for_its_rows() -> None:
    assert check("SELECT month FROM flights, planes").columns["planes"] == ("tailnum",)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT month\nFROM flights\nWHERE (day 3", r"syntax error in line 3, column 12: .*'WHERE \(day 3'"),
        ("", r"holds no statement"),
        ("SELECT 1 FROM flights; SELECT 2", r"holds 2 statements"),
        ("COPY flights TO 'x.csv'", r"this one is COPY"),
        ("DELETE FROM flights", r"this one is DELETE"),
        ("PRAGMA version", r"this one is PRAGMA"),
        ("SUMMARIZE flights", r"SUMMARIZE"),
        ("SELECT * FROM (PIVOT flights ON month IN (1, 2) USING sum(day))", r"PIVOT"),
        ("SELECT month FROM flights\n USING SAMPLE 10", r"may not sample rows"),
        ("SELECT month FROM flights TABLESAMPLE 10%", r"may not sample rows \(line 1\)"),
        ("SELECT $1 AS x FROM flights", r"parameters"),
        ("SELECT #1 FROM flights", r"positional"),
        ("SELECT x FROM flights,\n read_csv('a.csv')", r"table function 'read_csv' \(line 2\)"),
        ("SELECT month FROM flights, glob('*')", r"table function 'glob'"),
        ("SELECT month FROM flights, query('SELECT 1')", r"table function 'query'"),
        ("SELECT month FROM flights, duckdb_settings()", r"table function 'duckdb_settings'"),
        ("SELECT * FROM 'a.csv'", r"no table 'a.csv'"),
        ("SELECT * FROM flihgts", r"no table 'flihgts' \(line 1\)\. Did you mean 'flights'"),
        ("SELECT * FROM main.flights", r"no table 'main.flights'"),
        ("SELECT carier FROM flights", r"no column 'carier' \(line 1\)\. Did you mean 'carrier'"),
        ("SELECT month, day AS Month FROM flights", r"two columns named"),
        ("SELECT q.day FROM (SELECT month FROM flights) q", r"'q' has no column 'day' \(line 1\) in reach here"),
        ("SELECT f.*, p.* FROM flights f JOIN planes p USING (tailnum)", r"two columns named"),
        ("SELECT month AS _at FROM flights", r"name '_at' \(line 1\)"),
        ("SELECT month AS _row FROM flights", r"name '_row'"),
        ("SELECT seats FROM planes", r"never reads 'flights'"),
        ("SELECT flights FROM flights", r"whole row"),
        ("SELECT to_json(f) AS j FROM flights f, range(2)", r"whole row"),
        ("SELECT COLUMNS('.*t') FROM flights", r"COLUMNS"),
        ("SELECT m FROM flights AS f(m)", r"may not be renamed in FROM"),
        ("SELECT INTERVAL 1 DAY AS x FROM flights", r"type INTERVAL"),
    ],
)
def test_refused_before_any_row_is_read(sql: str, message: str) -> None:
    with pytest.raises(SqlError, match=r"^Step 'examples': ") as caught:
        check(sql)
    assert caught.match(message)
    assert caught.value.hint


@pytest.mark.parametrize(
    "call",
    [
        "random()",
        "uuid()",
        "gen_random_uuid()",
        "uuidv7()",
        "now()",
        "get_current_timestamp()",
        "today()",
        "current_date",
        "CURRENT_TIMESTAMP",
        "localtime",
        "localtimestamp",
        "current_localtimestamp()",
        "transaction_timestamp()",
        "txid_current()",
        "version()",
        "current_user",
        "current_setting('TimeZone')",
        "age(time_hour)",
        "ago(INTERVAL(1)DAY)",
        "system.main.now()",
        "nextval('s')",
        "pg_conf_load_time()",
    ],
)
def test_functions_whose_answer_changes_are_refused(call: str) -> None:
    with pytest.raises(SqlError, match=r"calls '.*' \(line 2\), whose answer changes"):
        check(f"SELECT month,\n {call} AS x FROM flights")


@pytest.mark.parametrize(
    "call",
    [
        "age(time_hour, time_hour)::VARCHAR",
        "hash(month)",
        "CASE WHEN month > 12 THEN error('m')::BIGINT END",
        "uuid_extract_version(NULL)",
        "[x + 1 FOR x IN [month]]",
        "current_date",
    ],
)
def test_functions_of_their_arguments_alone_are_allowed(call: str) -> None:
    schemas = {"flights": FLIGHTS.append(pa.field("current_date", pa.date32()))}
    assert check_query("s", f"SELECT {call} AS x FROM flights", "flights", schemas).carries


NEEDS_MORE_ROWS = [
    ("SELECT sum(day) AS s FROM flights", "The aggregate 'sum'"),
    ("SELECT count(*) AS n FROM flights", r"The aggregate 'count\(\*\)'"),
    ("SELECT arg_max(day, month) FILTER (WHERE day > 1) AS s FROM flights", "The aggregate 'arg_max'"),
    ("SELECT month FROM flights GROUP BY ALL", "GROUP BY"),
    ("SELECT month FROM flights GROUP BY month", "GROUP BY"),
    ("SELECT DISTINCT month FROM flights", "DISTINCT"),
    ("SELECT DISTINCT ON (month) month, day FROM flights", "DISTINCT"),
    ("SELECT lag(day) OVER (ORDER BY month) AS x FROM flights", "The window function 'lag'"),
    ("SELECT month FROM flights QUALIFY row_number() OVER () = 1", "The window function 'row_number'"),
    ("SELECT month FROM flights ORDER BY month", "ORDER BY"),
    ("SELECT month FROM flights LIMIT 3", "LIMIT"),
    ("SELECT month FROM flights LIMIT 10% OFFSET 2", "LIMIT"),
    ("SELECT month FROM flights UNION SELECT month FROM flights", "UNION"),
    ("SELECT month FROM flights INTERSECT ALL SELECT month FROM flights", "INTERSECT ALL"),
    ("SELECT month FROM flights EXCEPT SELECT month FROM flights", "EXCEPT"),
    ("SELECT tailnum FROM flights UNION ALL SELECT tailnum FROM planes", "UNION ALL"),
    ("SELECT a.month FROM flights a JOIN flights b USING (day)", "A join of 'flights' with itself"),
    ("WITH c AS (FROM flights) SELECT a.day FROM c a, c b", "A join of 'flights' with itself"),
    ("SELECT f.day FROM flights f, LATERAL (SELECT day FROM flights g WHERE g.month = f.month) l", "A join of"),
    ("SELECT day FROM flights WHERE day IN (SELECT day FROM flights)", "A subquery inside an expression"),
    ("SELECT day FROM flights f WHERE EXISTS (SELECT 1 FROM flights g WHERE g.day = f.month)", "A subquery inside"),
    ("SELECT day, (SELECT day FROM flights) AS m FROM flights", "A subquery inside an expression"),
    ("SELECT p.seats FROM planes p WHERE tailnum IN (SELECT tailnum FROM flights)", "A subquery inside"),
    ("SELECT f.day FROM planes p LEFT JOIN flights f USING (tailnum)", "wrong side of a LEFT JOIN"),
    ("SELECT f.day FROM flights f RIGHT JOIN planes p USING (tailnum)", "wrong side of a RIGHT JOIN"),
    ("SELECT f.day FROM flights f FULL JOIN planes p USING (tailnum)", "wrong side of a FULL JOIN"),
    ("SELECT seats FROM planes SEMI JOIN flights USING (tailnum)", "wrong side of a SEMI JOIN"),
    ("SELECT seats FROM planes ANTI JOIN flights USING (tailnum)", "wrong side of a ANTI JOIN"),
    ("SELECT p.seats FROM planes p ASOF JOIN flights f ON p.year >= f.year", "wrong side of a ASOF INNER JOIN"),
    ("SELECT day FROM flights POSITIONAL JOIN planes", "POSITIONAL"),
    ("WITH m AS (SELECT max(day) AS d FROM flights) SELECT day FROM flights, m", "The aggregate 'max'"),
    ("SELECT month FROM (SELECT month FROM flights ORDER BY day LIMIT 1)", "ORDER BY"),
    ("SELECT (SELECT sum(f.day)) AS s FROM flights f", "aggregates columns of the streamed table"),
    ("SELECT (SELECT sum(f.day) FROM planes) AS s FROM flights f", "aggregates columns of the streamed table"),
]


@pytest.mark.parametrize(("sql", "construct"), NEEDS_MORE_ROWS)
def test_refused_without_partition_by(sql: str, construct: str) -> None:
    with pytest.raises(SqlError, match=construct) as caught:
        check(sql)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT sum(day) AS s FROM flights", "GROUP BY must include 'tailnum'"),
        ("SELECT month, count(*) AS n FROM flights GROUP BY month", "GROUP BY must include 'tailnum'"),
        ("SELECT tailnum, count(*) AS n FROM flights GROUP BY ROLLUP (tailnum)", "GROUP BY must include"),
        ("SELECT upper(tailnum) AS tailnum, count(*) AS n FROM flights GROUP BY tailnum", "GROUP BY must include"),
        ("SELECT upper(tailnum) AS t, count(*) AS n FROM flights GROUP BY t", "GROUP BY must include"),
        ("SELECT upper(tailnum) AS t, count(*) AS n FROM flights GROUP BY 1", "GROUP BY must include"),
        ("SELECT upper(tailnum) AS t, count(*) AS n FROM flights GROUP BY ALL", "GROUP BY must include"),
        ("SELECT p.tailnum, count(*) n FROM flights LEFT JOIN planes p USING (tailnum) GROUP BY p.tailnum", "GROUP BY"),
        ("SELECT tailnum, max(n) m FROM (SELECT day AS tailnum, 1 AS n FROM flights) GROUP BY tailnum", "GROUP BY"),
        (
            "SELECT tailnum, 1 n FROM (SELECT * REPLACE (upper(tailnum) AS tailnum) FROM flights) GROUP BY tailnum",
            "GROUP BY",
        ),
        ("SELECT tailnum, 1 n FROM (SELECT unnest({'tailnum': 1}), tailnum FROM flights) GROUP BY tailnum", "GROUP BY"),
        (
            "SELECT tailnum, 1 n FROM (SELECT s.*, tailnum FROM (SELECT {'tailnum': 1} s, tailnum FROM flights)) GROUP BY tailnum",
            "GROUP BY",
        ),
        ("SELECT w.month FROM weather w LEFT JOIN flights f ON w.month = f.month", "wrong side of a LEFT JOIN"),
        ("WITH RECURSIVE r AS (SELECT tailnum FROM flights UNION SELECT tailnum FROM r) FROM r", "recursive CTE 'r'"),
        ("SELECT a.day FROM flights a NATURAL JOIN planes b NATURAL JOIN flights c", "NATURAL JOIN of two tables"),
        ("SELECT day, rank() OVER (PARTITION BY day) AS r FROM flights", "its PARTITION BY must include 'tailnum'"),
        ("SELECT day, rank() OVER w AS r FROM flights WINDOW w AS (PARTITION BY day)", "its PARTITION BY must include"),
        ("SELECT DISTINCT day FROM flights", "DISTINCT"),
        ("SELECT day FROM flights UNION SELECT year FROM planes", "UNION"),
        (
            "SELECT tailnum AS a, day AS b FROM flights UNION ALL SELECT tailnum AS b, 1 AS a FROM planes ORDER BY a",
            "ORDER BY",
        ),
        ("SELECT a.day FROM flights a JOIN flights b USING (day)", "the join must equate 'tailnum'"),
        ("SELECT a.day FROM flights a JOIN flights b ON a.tailnum = b.tailnum OR a.day = 1", "the join must equate"),
        ("SELECT a.day FROM flights a JOIN flights b ON upper(a.tailnum) = b.tailnum", "the join must equate"),
        ("SELECT day FROM flights WHERE day IN (SELECT day FROM flights)", "A subquery inside an expression"),
        ("SELECT tailnum, day FROM flights ORDER BY day", "ORDER BY"),
    ],
)
def test_refused_across_partitions(sql: str, message: str) -> None:
    with pytest.raises(SqlError, match=message) as caught:
        check(sql, "tailnum")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("sql", "partitioned"),
    [
        ("SELECT f.day FROM flights f JOIN planes p ON f.tailnum = p.tailnum AND p.seats > 3", True),
        ("SELECT f.day FROM flights f, planes p WHERE p.tailnum = f.tailnum", True),
        ("SELECT f.day FROM planes p LEFT JOIN flights f USING (tailnum)", True),
        ("SELECT tailnum, seats FROM planes p UNION ALL SELECT tailnum, day FROM flights", True),
        (
            "SELECT f.day, p.n FROM flights f JOIN (SELECT tailnum, count(*) n FROM planes GROUP BY ALL) p USING (tailnum)",
            True,
        ),
        ("SELECT f.day FROM flights f JOIN planes p ON f.year = p.year", False),
        ("SELECT f.day FROM flights f JOIN (SELECT max(seats) s FROM planes) p ON f.day < p.s", False),
        ("SELECT f.day FROM flights f WHERE tailnum IN (SELECT tailnum FROM planes)", False),
        ("SELECT f.day FROM flights f JOIN planes p USING (tailnum), (SELECT max(seats) AS s FROM planes)", False),
    ],
)
def test_other_tables_are_partitioned_where_the_join_allows(sql: str, partitioned: bool) -> None:
    assert check(sql, "tailnum").partitioned == (("flights", "planes") if partitioned else ("flights",))


def test_partition_columns_of_another_type_leave_the_table_whole() -> None:
    schemas = {**SCHEMAS, "planes": pa.schema([("tailnum", pa.large_string()), ("seats", pa.int64())])}
    query = check_query("s", "SELECT seats FROM flights JOIN planes USING (tailnum)", "flights", schemas, ["tailnum"])
    assert query.partitioned == ("flights",)


@pytest.mark.parametrize(
    ("stream", "schemas", "partition_by", "message"),
    [
        ("flight", SCHEMAS, (), "no table 'flight' to stream. Did you mean 'flights'"),
        ("flights", SCHEMAS, ("tailnr",), "partition_by names 'tailnr'.*Did you mean 'tailnum'"),
        ("weather", SCHEMAS, ("temp",), "of type double"),
        ("flights", {"flights": FLIGHTS.append(pa.field("_at", pa.int64()))}, (), "keeps for itself"),
        ("flights", {"flights": FLIGHTS.append(pa.field("Month", pa.int64()))}, (), "'month' and 'Month'"),
        ("flights", {**SCHEMAS, "Planes": FLIGHTS}, (), "'planes' and 'Planes'"),
    ],
)
def test_declarations_are_checked(
    stream: str, schemas: dict[str, pa.Schema], partition_by: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SqlError, match=message):
        check_query("s", f"SELECT 1 AS x FROM {stream}", stream, schemas, partition_by)


# What the checks promise: the answer does not depend on how the stream is cut.

STREAM = pa.schema(
    [("id", pa.int64()), ("k", pa.int64()), ("s", pa.string()), ("Mixed Case", pa.int64()), ("l", pa.list_(pa.int64()))]
)
SIDE = pa.schema([("k", pa.int64()), ("s", pa.string()), ("y", pa.float64())])
TABLES = {"t": STREAM, "b": SIDE, "g": SIDE}
keys = st.none() | st.integers(0, 3)
words = st.none() | st.sampled_from(["", "a", "b", "A"])
stream_rows = st.lists(
    st.fixed_dictionaries(
        {"k": keys, "s": words, "Mixed Case": keys, "l": st.none() | st.lists(st.integers(0, 2), max_size=2)}
    ),
    max_size=8,
).map(lambda rows: pa.Table.from_pylist([{"id": i, **row} for i, row in enumerate(rows)], STREAM))
side_rows = st.lists(
    st.fixed_dictionaries({"k": keys, "s": words, "y": st.none() | st.sampled_from([0.0, 1.5, -2.0])}), max_size=6
).map(lambda rows: pa.Table.from_pylist(rows, SIDE))

ROW_WISE = [
    "SELECT * FROM t",
    "FROM t",
    'SELECT id, "Mixed Case", "mixed case" + 1 AS "Up" FROM t WHERE k IS NOT NULL',
    "SELECT T.*, y FROM t LEFT JOIN b USING (k)",
    "SELECT * FROM t LEFT JOIN b USING (k, s)",
    "SELECT * FROM t NATURAL JOIN b",
    "SELECT * FROM b NATURAL RIGHT JOIN t",
    "SELECT * EXCLUDE (k) REPLACE (upper(s) AS s) FROM t",
    "SELECT t.* EXCLUDE (s) RENAME (k AS kk), b.s FROM t CROSS JOIN b",
    "SELECT COLUMNS(* EXCLUDE (l)) FROM t",
    "SELECT * FROM t SEMI JOIN b USING (k)",
    "SELECT * FROM t ANTI JOIN b ON t.k = b.k AND b.y > 0",
    "SELECT id, y FROM t ASOF LEFT JOIN (FROM b WHERE k IS NOT NULL) b ON t.k >= b.k",
    "SELECT id, k // 2 AS a, k / 2 AS b, -k % 2 AS c, k ** 2 AS d, CAST(k AS VARCHAR) || s AS e, k IN (1, NULL) AS f FROM t",
    "SELECT id, k NOT IN (SELECT k FROM b) AS x, EXISTS (FROM b WHERE b.s = t.s) AS y FROM t",
    "SELECT id, (SELECT max(y) FROM b WHERE b.k = t.k) AS m FROM t WHERE k > ANY (SELECT k FROM b)",
    "SELECT id, unnest(l) AS e FROM t",
    "SELECT * LIKE 'i%' FROM t",
    "SELECT q.id, q.n.k FROM (SELECT id, {'k': k} AS n FROM t) q",
    "SELECT id, n.* FROM (SELECT id, {'k': k, 'z': s} AS n FROM t)",
    "SELECT id, u.e FROM t, unnest(t.l) AS u(e)",
    "SELECT id, m FROM t, LATERAL (SELECT max(y) AS m FROM b WHERE b.k < t.k)",
    "SELECT id, i FROM t, range(2) r(i)",
    "SELECT t.id, v.x FROM t JOIN (VALUES (1, 'one'), (2, 'two')) v(n, x) ON t.k = v.n",
    "WITH c AS (SELECT * FROM t WHERE k > 0), a AS (SELECT k, avg(y) AS m, row_number() OVER (ORDER BY k) AS r "
    "FROM b GROUP BY k ORDER BY k LIMIT 3) SELECT c.*, m, r FROM c LEFT JOIN a USING (k)",
    "WITH t AS (SELECT * FROM t WHERE k > 0) SELECT * FROM t",
    "WITH c(i, j) AS MATERIALIZED (SELECT id, k FROM t) SELECT i AS id, j FROM c AS d",
    "SELECT * FROM (SELECT id, k FROM t) x, (SELECT max(y) AS y FROM b)",
    "SELECT q.a AS id, q.b FROM (SELECT id, k FROM t) AS q(a, b)",
    "SELECT * FROM (SELECT id, k FROM t) JOIN b USING (k)",
    "SELECT * FROM t WHERE k = 1 UNION ALL SELECT * FROM t WHERE s = 'a'",
    "SELECT id, k FROM t UNION ALL BY NAME SELECT s, id FROM t",
    "SELECT * FROM ((t JOIN b USING (k)) j LEFT JOIN g ON j.y = g.y) WHERE j.y >= 0".replace(
        "SELECT *", "SELECT j.id, g.s"
    ),
    "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 2) SELECT id, i FROM t JOIN n ON t.k = n.i",
    "SELECT id, CASE k WHEN 1 THEN 'x' ELSE s END AS c, coalesce(s, 'none') AS d, s LIKE 'a%' AS e, hash(k) AS h FROM t",
    "SELECT t.id, q.n FROM t, (SELECT id, sum(k) AS n FROM (SELECT 1 AS id, k FROM b) GROUP BY id) q",
]
PARTITIONED = [
    ("k", "SELECT k, count(*) AS n, sum(id) AS i, min(s) AS s FROM t GROUP BY k"),
    ("k", "SELECT s, k, count(*) AS n FROM t GROUP BY ALL HAVING count(*) > 1"),
    ("k", "SELECT k + 0 AS z, k, max(id) AS m FROM t GROUP BY 1, 2"),
    ("k", "SELECT DISTINCT k, s FROM t"),
    ("k", "SELECT *, lag(id) OVER (PARTITION BY k ORDER BY id) AS before FROM t"),
    ("k", "SELECT id, sum(id) OVER w AS r FROM t WINDOW w AS (PARTITION BY s, k ORDER BY id)"),
    ("k", "FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY id DESC) = 1"),
    ("k", "SELECT id, g.y FROM t LEFT JOIN g USING (k)"),
    ("k", "SELECT k, count(id) AS n, count(g.y) AS m FROM t FULL JOIN g USING (k) GROUP BY k"),
    ("k", "SELECT coalesce(t.k, g.k) AS z, count(*) AS n FROM t FULL JOIN g ON t.k = g.k GROUP BY coalesce(t.k, g.k)"),
    ("k", "SELECT g.k, g.y, t.id FROM g LEFT JOIN t ON g.k = t.k"),
    ("k", "SELECT id, y FROM t, g WHERE t.k = g.k AND y > 0"),
    ("k", "SELECT t.id, a.id AS other FROM t JOIN t a USING (k)"),
    ("k", "SELECT t.*, n FROM t JOIN (SELECT k, count(*) AS n FROM t GROUP BY k) USING (k)"),
    ("k", "SELECT t.id, n FROM t JOIN (SELECT k AS j, avg(y) AS n FROM g GROUP BY k) a ON a.j = t.k"),
    ("k", "SELECT k, s FROM t EXCEPT SELECT k, s FROM g"),
    ("k", "SELECT id, k FROM t UNION ALL SELECT 0, k FROM g"),
    ("k", "SELECT id, y FROM t JOIN g ON t.s = g.s"),
    ("k", "SELECT id, y, (SELECT max(y) FROM g) AS m FROM t LEFT JOIN b USING (k)"),
    ("k", "SELECT g.* FROM g ANTI JOIN t USING (k)"),
    ("k s", "SELECT s, k, count(*) AS n FROM t GROUP BY k, s"),
    ("k s", "SELECT t.id, max(y) OVER (PARTITION BY t.k, t.s) AS m FROM t JOIN g ON t.k = g.k AND g.s = t.s"),
    ("k s", "SELECT k, s, max(n) AS n FROM (SELECT *, row_number() OVER (PARTITION BY k, s) AS n FROM t) GROUP BY ALL"),
    (
        "s",
        "WITH c AS (SELECT s, id FROM t WHERE id > 0) SELECT a.id, b.id AS j FROM c a LEFT JOIN c b ON a.s = b.s AND a.id < b.id",
    ),
]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duck.connect() as opened:
        yield opened


def run(connection: duckdb.DuckDBPyConnection, sql: str, tables: dict[str, pa.Table]) -> pa.Table:
    for name, table in tables.items():
        connection.register(name, table)
    return connection.sql(sql).to_arrow_table()


def registered(query: CheckedQuery, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables as a job registers them: the columns read, and the stream's `_at`."""
    places = tables["t"]["id"]
    narrow = {name: tables[name].select(columns) for name, columns in query.columns.items()}
    return {**narrow, "t": narrow["t"].append_column(CARRY, places)}


def rows(table: pa.Table) -> Counter[str]:
    return Counter(repr(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True))


def assert_same(parts: list[pa.Table], whole: pa.Table, query: CheckedQuery) -> None:
    together = pa.concat_tables(parts)
    if query.carries:
        assert together.column_names[-1] == CARRY
        assert None not in together[CARRY].to_pylist()
        if "id" in query.output.names:
            ids, places = together["id"].to_pylist(), together[CARRY].to_pylist()
            assert [i for i in ids if i is not None] == [p for i, p in zip(ids, places, strict=True) if i is not None]
        together = together.drop_columns([CARRY])
    assert together.schema == query.output
    assert together.column_names == whole.column_names
    assert rows(together) == rows(whole.cast(query.output))


@pytest.mark.parametrize("sql", ROW_WISE)
def test_chunks_give_what_the_whole_gives(sql: str, connection: duckdb.DuckDBPyConnection) -> None:
    query = check_query("s", sql, "t", TABLES)
    assert query.carries

    @settings(max_examples=6, deadline=None)
    @given(stream_rows, side_rows, side_rows, st.lists(st.integers(0, 8), max_size=3))
    def cut_anywhere(t: pa.Table, b: pa.Table, g: pa.Table, cuts: list[int]) -> None:
        whole = run(connection, sql, {"t": t, "b": b, "g": g})
        tables = registered(query, {"t": t, "b": b, "g": g})
        edges = [0, *sorted(min(cut, t.num_rows) for cut in cuts), t.num_rows]
        parts = [
            run(connection, query.sql, {**tables, "t": tables["t"].slice(start, stop - start)})
            for start, stop in pairwise(edges)
        ]
        assert_same(parts, whole, query)

    cut_anywhere()


@pytest.mark.parametrize(("columns", "sql"), PARTITIONED)
def test_partitions_give_what_the_whole_gives(columns: str, sql: str, connection: duckdb.DuckDBPyConnection) -> None:
    partition_by = columns.split()
    query = check_query("s", sql, "t", TABLES, partition_by)

    @settings(max_examples=8, deadline=None)
    @given(stream_rows, side_rows, side_rows, st.integers(1, 7))
    def partition(t: pa.Table, b: pa.Table, g: pa.Table, count: int) -> None:
        whole = run(connection, sql, {"t": t, "b": b, "g": g})
        tables = registered(query, {"t": t, "b": b, "g": g})
        parts = []
        for number in range(count):
            own = {name: in_partition(tables[name], partition_by, number, count) for name in query.partitioned}
            parts.append(run(connection, query.sql, {**tables, **own}))
        assert_same(parts, whole, query)

    partition()


def in_partition(table: pa.Table, columns: list[str], number: int, count: int) -> pa.Table:
    values = zip(*(table[column].to_pylist() for column in columns), strict=True)
    return table.filter(pa.array([sum(map(ord, repr(value))) % count == number for value in values], pa.bool_()))
