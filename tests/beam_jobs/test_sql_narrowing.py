"""Queries over a table that lacks columns: what they leave out, what they refuse, and that what is left still runs."""

import pyarrow as pa
import pytest

from beam_jobs.errors import SqlError
from beam_jobs.sql import check_query
from beam_jobs.sql_narrowing import Narrowed, narrow, projected

FLIGHTS = pa.schema(
    [
        ("id", pa.int64()),
        ("carrier", pa.string()),
        ("origin", pa.string()),
        ("dep_delay", pa.float64()),
        ("arr_delay", pa.float64()),
    ]
)
WEATHER = pa.schema([("origin", pa.string()), ("temp", pa.float64())])
TABLES = {"flights": FLIGHTS, "weather": WEATHER}
LACKS = {"arr_delay": frozenset({"arr_delay"})}


def narrowed(sql: str, **options: bool) -> Narrowed:
    found = narrow(sql, "flights", TABLES, LACKS, **options)
    here = {**TABLES, "flights": pa.schema([f for f in FLIGHTS if f.name != "arr_delay"])}
    check_query("score", found.sql, "flights", here)
    return found


def columns(sql: str) -> list[str]:
    here = {**TABLES, "flights": pa.schema([f for f in FLIGHTS if f.name != "arr_delay"])}
    return list(check_query("score", sql, "flights", here).output.names)


def test_what_lacks_nothing_stays_as_it_was_written() -> None:
    sql = "SELECT id -- the key\nFROM flights"
    assert narrow(sql, "flights", TABLES, {}) == Narrowed(sql)
    assert narrowed("SELECT id FROM flights").sql == "SELECT id FROM flights"


def test_the_label_and_its_filter_are_left_out_and_told() -> None:
    found = narrowed(
        "SELECT f.id, f.carrier, w.temp, f.arr_delay > 15 AS late FROM flights f LEFT JOIN weather w "
        "ON f.origin = w.origin WHERE f.arr_delay IS NOT NULL AND f.carrier <> 'XX'"
    )
    assert columns(found.sql) == ["id", "carrier", "temp"]
    assert found.lost == {"late": frozenset({"arr_delay"})}
    ((condition),) = found.conditions
    assert "arr_delay IS NOT NULL" in condition.sql
    assert condition.missing == ("arr_delay",)
    assert "'XX'" in found.sql


def test_a_condition_under_or_goes_as_a_whole() -> None:
    found = narrowed("SELECT id FROM flights WHERE arr_delay > 0 OR id > 3")
    assert found.sql == "SELECT id FROM flights"
    assert [condition.missing for condition in found.conditions] == [("arr_delay",)]


def test_columns_are_lost_through_ctes_and_subqueries() -> None:
    found = narrowed(
        "WITH f AS (SELECT *, arr_delay - dep_delay AS made_up FROM flights) "
        "SELECT s.id, s.gain, s.carrier FROM (SELECT id, made_up AS gain, carrier FROM f WHERE made_up > 0) AS s"
    )
    assert columns(found.sql) == ["id", "carrier"]
    assert found.lost == {"gain": frozenset({"arr_delay"})}
    assert len(found.conditions) == 1


def test_stars_keep_to_what_is_there() -> None:
    found = narrowed("SELECT * EXCLUDE (arr_delay) REPLACE (arr_delay + 1 AS dep_delay) FROM flights")
    assert columns(found.sql) == ["id", "carrier", "origin"]
    assert found.lost == {"dep_delay": frozenset({"arr_delay"})}
    found = narrowed("SELECT * RENAME (arr_delay AS delay) FROM flights")
    assert columns(found.sql) == ["id", "carrier", "origin", "dep_delay"]
    assert found.lost == {"delay": frozenset({"arr_delay"})}


def test_an_alias_that_another_item_reads_takes_it_along() -> None:
    found = narrowed("SELECT id, arr_delay > 15 AS late, late AND dep_delay > 0 AS very FROM flights")
    assert columns(found.sql) == ["id"]
    assert set(found.lost) == {"late", "very"}


def test_a_side_tables_column_of_the_same_name_is_not_lost() -> None:
    tables = {**TABLES, "weather": WEATHER.append(pa.field("arr_delay", pa.float64()))}
    sql = "SELECT f.id, w.arr_delay FROM flights f LEFT JOIN weather w ON f.origin = w.origin"
    found = narrow(sql, "flights", tables, LACKS)
    assert (found.sql, found.lost) == (sql, {})


def test_all_rows_are_kept_when_asked_but_joins_stay() -> None:
    sql = "SELECT f.id FROM flights f, weather w WHERE f.origin = w.origin AND f.dep_delay > 0 AND w.temp > 3"
    found = narrow(sql, "flights", TABLES, {}, keeps_all_rows=True)
    assert [condition.missing for condition in found.conditions] == [()]
    assert "dep_delay" not in found.sql
    assert "temp" in found.sql
    assert "f.origin = w.origin" in found.sql


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT f.id FROM flights f LEFT JOIN weather w ON f.arr_delay = w.temp", "A join of the query"),
        ("SELECT arr_delay FROM flights", "Every column of a SELECT"),
        ("SELECT carrier, count(*) AS n FROM flights GROUP BY carrier, arr_delay", "GROUP BY of the query"),
        ("SELECT arr_delay, count(*) AS n FROM flights GROUP BY 1", "GROUP BY of the query"),
        ("SELECT DISTINCT carrier, arr_delay FROM flights", "DISTINCT of the query"),
        ("SELECT id, arr_delay FROM flights UNION ALL SELECT id, dep_delay FROM flights", "A branch of UNION"),
        ("SELECT id FROM flights QUALIFY row_number() OVER (PARTITION BY id ORDER BY arr_delay) = 1", "QUALIFY"),
        ("SELECT b FROM (SELECT id, arr_delay FROM flights) AS t(a, b)", "The column list of 't'"),
    ],
)
def test_what_cannot_be_left_out_is_refused(sql: str, told: str) -> None:
    with pytest.raises(SqlError, match=told) as refused:
        narrow(sql, "flights", TABLES, LACKS)
    assert "'arr_delay', which the table lacks" in str(refused.value)


def test_a_query_is_narrowed_to_some_columns() -> None:
    checked = check_query(
        "score", projected("SELECT *, id + 1 AS n FROM flights;\n", ["n", "carrier"]), "flights", TABLES
    )
    assert checked.output.names == ["n", "carrier"]
