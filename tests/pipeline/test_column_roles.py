"""What columns of an undescribed table are good for."""

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.splits import SplitByColumn
from pipeline import column_roles


@pytest.mark.parametrize(
    ("values", "layout"),
    [
        (["2012/01/31", "2012/02/01"], "%Y/%m/%d"),
        (["31.01.2012", "01.02.2012"], "%d.%m.%Y"),
        (["31/01/2012", "01/02/2012"], "%d/%m/%Y"),
        (["01/31/2012", "02/01/2012"], "%m/%d/%Y"),
        (["01/02/2012", "02/01/2012"], ""),  # day or month first? nobody knows
        (["Jan 1 2000"], "%b %d %Y"),
        (["01/31/2012 10:30", "02/01/2012 11:45"], "%m/%d/%Y %H:%M"),
        (["2012/01/31", "soon"], ""),
    ],
)
def test_date_formats(values: list[str], layout: str) -> None:
    assert column_roles.date_format(values) == layout


@given(st.lists(st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)), min_size=1, max_size=20))
def test_converted_dates_are_the_dates(days: list[datetime.date]) -> None:
    rows = pa.table({"a day": [f"{day:%Y/%m/%d}" for day in days]})
    found = column_roles.conversions(rows, ",")
    assert column_roles.converted(rows, found)["a day"].to_pylist() == days


def test_decimal_commas_where_the_comma_does_not_delimit() -> None:
    rows = pa.table({'a "b"': ["1,5", "-2", None], "c": ["1,5", "x", None]})
    found = column_roles.conversions(rows, ";")
    assert column_roles.converted(rows, found)['a "b"'].to_pylist() == [1.5, -2.0, None]
    assert list(found) == ['a "b"']
    assert column_roles.conversions(rows, ",") == {}


@pytest.mark.parametrize(
    ("name", "values", "identifies"),
    [
        ("x", [3, 1, 2], True),
        ("x", [3, 1, 9], False),
        ("customer_id", [3, 1, 9], True),
        ("Sample Number", [3, 1, 9], True),
        ("paid", [3, 1, 9], False),
        ("id", [3, 1, 1], False),
        ("id", [3, 1, None], False),
        ("id", [3.0, 1.0, 9.0], False),
    ],
)
def test_identifiers(name: str, values: list[int | float | None], identifies: bool) -> None:
    assert column_roles.is_identifier(name, pa.chunked_array([values])) is identifies


def test_useless_columns_are_told_with_the_reason() -> None:
    rows = pa.table(
        {
            "where": ["train", "train", "train", "test"],
            "empty": pa.array([None] * 4, pa.string()),
            "late": [None, None, None, 1.5],
            "row": [4, 5, 6, 7],
            "note": ["a", "b", "c", "c"],
            "colour": ["red", "red", "blue", "blue"],
            "label": [1, 2, 3, 4],
        }
    )
    split = SplitByColumn("where", {"train": ["train"], "test": ["test"]})
    assert column_roles.useless(rows, "label", split) == {
        "empty": "no value in any row",
        "late": "no value in 'train'",
        "row": "another whole number in every row",
        "note": "another text in most rows",
    }
