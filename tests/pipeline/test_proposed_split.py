"""Splits for undescribed tables leave rows on each side."""

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.target import Target, target_of
from pipeline import proposed_split
from pipeline.errors import ConfigError

NUMBER = Target("y", "regression", ())


def days(count: int, each: int = 1) -> list[datetime.date]:
    return [datetime.date(2020, 1, 1) + datetime.timedelta(days=i // each) for i in range(count)]


def test_time_is_cut_at_midnights_near_the_shares() -> None:
    rows = pa.table({"at": days(100), "y": np.arange(100.0)})
    found = proposed_split.propose(rows, NUMBER, "at", whole=True)
    assert found.config == {"by": "time", "column": "at", "eval_from": "2020-03-01", "test_from": "2020-03-21"}
    assert found.counts == {"train": 60, "eval": 20, "test": 20}


def test_hours_of_one_day_are_cut_at_seconds() -> None:
    at = [datetime.datetime(2020, 1, 1, i // 10, 6 * (i % 10)) for i in range(200)]
    found = proposed_split.propose(pa.table({"at": at, "y": np.arange(200.0)}), NUMBER, "at", whole=True)
    assert found.config["eval_from"] == "2020-01-01T12:00:00"
    assert found.counts == {"train": 120, "eval": 40, "test": 40}


def test_times_with_a_zone_are_cut_in_utc() -> None:
    at = pa.array(days(100)).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    found = proposed_split.propose(pa.table({"at": at, "y": np.arange(100.0)}), NUMBER, "at", whole=True)
    assert found.counts == {"train": 60, "eval": 20, "test": 20}


@pytest.mark.parametrize(
    "at",
    [
        [datetime.date(2020, 1, 1)] * 30,
        [datetime.date(2020, 1, 1 + i % 2) for i in range(30)],
        [None, *days(29)],
        [datetime.date(2020, 1, 1)] * 29 + [datetime.date(2020, 5, 1)],
    ],
)
def test_times_that_do_not_divide(at: list[Any]) -> None:
    rows = pa.table({"at": pa.array(at, pa.date32()), "y": np.arange(30.0)})
    assert proposed_split.time_columns(rows, NUMBER) == []
    with pytest.raises(ConfigError, match="cannot be split by 'at'"):
        proposed_split.propose(rows, NUMBER, "at", whole=True)


def test_a_time_that_parts_the_classes_does_not_divide() -> None:
    rows = pa.table({"at": days(90), "y": ["a"] * 45 + ["b"] * 45})
    assert proposed_split.time_columns(rows, target_of("y", pa.string(), ["a", "b"])) == []


@settings(max_examples=30, deadline=None)
@given(st.integers(12, 200), st.integers(2, 4), st.integers(0, 1000))
def test_every_split_of_a_tiny_table_has_rows_of_two_classes(count: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"][:classes]
    labels = names * 3 + [names[i] for i in random.integers(0, classes, count)]
    rows = pa.table({"x": random.random(len(labels)), "y": labels})
    found = proposed_split.propose(rows, target_of("y", pa.string(), names), None, whole=True)
    assert set(found.counts) == {"train", "eval", "test"}
    assert min(found.counts.values()) >= 2
    assert sum(found.counts.values()) == len(labels)


def test_rows_without_label_do_not_count() -> None:
    rows = pa.table({"x": np.arange(100.5), "y": pa.array([1.5, 2.5] + [None] * 99)})
    with pytest.raises(ConfigError, match="cannot be divided"):
        proposed_split.propose(rows, NUMBER, None, whole=True)


def test_equal_rows_stay_together_and_the_key_is_short() -> None:
    random = np.random.default_rng(0)
    one = pa.table({"kind": ["a", "b"] * 50, "x": random.random(100), "z": random.random(100), "y": random.random(100)})
    rows = pa.concat_tables([one, one]).append_column("row", pa.array(range(200)))
    found = proposed_split.propose(rows, NUMBER, None, whole=True)
    assert len(found.config["columns"]) == 1
    places = proposed_split.assigned(rows, found.split)
    assert (places[:100] == places[100:]).all()


def test_many_rows_take_the_usual_shares() -> None:
    rows = pa.table({"id": np.random.default_rng(1).permutation(20_000) * 7, "y": np.arange(20_000.0)})
    found = proposed_split.propose(rows, NUMBER, None, whole=True)
    assert found.config == {"by": "hash", "columns": ["id"], "shares": {"train": 0.8, "eval": 0.1, "test": 0.1}}
