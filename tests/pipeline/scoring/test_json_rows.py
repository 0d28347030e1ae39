"""JSON values become typed columns, and what does not fit is named by row and column."""

import datetime
import decimal
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.errors import DataError
from pipeline.scoring.json_rows import rows_of, table_of

SCHEMA = pa.schema(
    [
        ("whole", pa.int64()),
        ("small", pa.uint8()),
        ("share", pa.float64()),
        ("name", pa.string()),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("wide", pa.large_string()),
        ("yes", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
        ("seen", pa.timestamp("us", "UTC")),
        ("price", pa.decimal128(9, 2)),
    ]
)
ROW: dict[str, Any] = {
    "whole": -(2**53) - 1,
    "small": 255,
    "share": 0.1,
    "name": 'ü "quoted" {}\n',
    "kind": "a",
    "wide": "b",
    "yes": True,
    "day": "2013-05-31",
    "at": "2013-05-31 23:59:00",
    "seen": "2013-05-31T23:59:00Z",
    "price": "12.50",
}


def test_every_type_that_a_source_may_have() -> None:
    made = table_of([ROW], SCHEMA)
    assert made.schema == SCHEMA
    (row,) = made.to_pylist()
    assert row == {
        **ROW,
        "day": datetime.date(2013, 5, 31),
        "at": datetime.datetime(2013, 5, 31, 23, 59),
        "seen": datetime.datetime(2013, 5, 31, 23, 59, tzinfo=datetime.UTC),
        "price": decimal.Decimal("12.50"),
    }


def test_columns_that_no_row_names_are_left_out_and_a_missing_key_is_null() -> None:
    made = table_of([{"share": 1}, {"name": "x", "share": None}], SCHEMA)
    assert made.schema.names == ["share", "name"], "in the schema's order"
    assert made.to_pylist() == [{"share": 1.0, "name": None}, {"share": None, "name": "x"}]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_arrive_bit_for_bit(values: list[float]) -> None:
    sent = json.loads(json.dumps([{"share": value} for value in values]))
    assert table_of(sent, SCHEMA).column("share").to_pylist() == values


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_texts_arrive_as_they_are(values: list[str]) -> None:
    assert table_of([{"name": value} for value in values], SCHEMA).column("name").to_pylist() == values


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("whole", 1.5, "1.5; the column is int64"),
        ("whole", "1", '"1"; the column is int64'),
        ("whole", 2**63, "9223372036854775808; the column is int64"),
        ("small", 256, "256; the column is uint8"),
        ("share", "x", '"x"; the column is double'),
        ("share", {"a": 1}, '{"a": 1}; the column is double'),
        ("share", [1], "[1]; the column is double"),
        ("share", True, "true; the column is double"),
        ("name", 5, "5; the column is string"),
        ("kind", 5, "5; the column is string"),
        ("yes", 1, "1; the column is bool"),
        ("day", "2013-02-30", '"2013-02-30"; the column is date'),
        ("at", "noon", '"noon"; the column is timestamp'),
        ("price", "1.234567890123", '"1.234567890123"; the column is decimal128(9, 2)'),
        ("name", "x" * 200, None),
    ],
)
def test_a_value_of_another_type_is_named_by_row_and_column(column: str, value: Any, shown: str | None) -> None:
    rows = [ROW, {**ROW, column: value}, ROW]
    if shown is None:
        assert table_of(rows, SCHEMA).num_rows == 3
        return
    with pytest.raises(DataError) as refusal:
        table_of(rows, SCHEMA, "instances")
    assert str(refusal.value) == f"instances[1]['{column}'] is {shown}."
    assert "null" in refusal.value.hint


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"shar": 1}], "rows[0]: there is no column 'shar'. Did you mean 'share'?"),
        ([{"share": 1}, 7], "rows[1] is 7, not an object."),
        ([{"share": 1}, None], "rows[1] is null, not an object."),
        ([[1, 2]], "rows[0] is [1, 2], not an object."),
        ([{}, {}], "No row of the rows has a value."),
    ],
)
def test_what_is_no_row(rows: list[Any], told: str) -> None:
    with pytest.raises(DataError) as refusal:
        table_of(rows, SCHEMA, "rows")
    assert str(refusal.value) == told
    assert refusal.value.hint


def test_a_type_that_json_does_not_have() -> None:
    with pytest.raises(DataError, match="Column 'raw' is binary, which JSON has no values for"):
        table_of([{"raw": "x"}], pa.schema([("raw", pa.binary())]))


def test_columns_become_rows() -> None:
    assert rows_of({"a": [1, 2], "b": ["x", None]}) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert rows_of({}) == []
    with pytest.raises(DataError, match=r"inputs\['b'\] has 1 values, inputs\['a'\] has 2"):
        rows_of({"a": [1, 2], "b": [1]})
    with pytest.raises(DataError, match=r"inputs\['a'\] is 5, not a list"):
        rows_of({"a": 5})
