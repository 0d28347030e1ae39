import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.errors import DataError
from beam_jobs.splits import SplitByColumn, SplitByHash, SplitByTime, assign, check_split, from_json, time_range

BY_TIME = SplitByTime("at", "2013-11-01", "2013-12-01T00:00:00Z")
moments = st.datetimes(datetime.datetime(2013, 10, 1), datetime.datetime(2013, 12, 31))


def batch(name: str, values: list[Any], kind: pa.DataType | None = None) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, kind)], names=[name])


@given(st.lists(moments, max_size=20), st.sampled_from(["s", "ms", "us", "ns"]), st.sampled_from([None, "UTC"]))
def test_time_splits_as_python_compares(values: list[datetime.datetime], unit: str, zone: str | None) -> None:
    rounded = [value.replace(microsecond=0) for value in values]
    expected = [
        (value >= datetime.datetime(2013, 11, 1)) + (value >= datetime.datetime(2013, 12, 1)) for value in rounded
    ]
    assert assign(batch("at", rounded, pa.timestamp(unit, zone)), BY_TIME).tolist() == expected


def test_dates_split_at_midnight_and_a_bound_within_a_day_falls_after_it() -> None:
    days = batch("at", [datetime.date(2013, 10, 31), datetime.date(2013, 11, 1), datetime.date(2013, 12, 1)])
    assert assign(days, BY_TIME).tolist() == [0, 1, 2]
    assert assign(days, SplitByTime("at", "2013-11-01T00:00:01", "2013-12-01")).tolist() == [0, 0, 2]
    assert assign(batch("at", days.column(0).to_pylist(), pa.date64()), BY_TIME).tolist() == [0, 1, 2]


def test_a_bound_with_an_offset_is_taken_to_utc() -> None:
    split = SplitByTime("at", "2013-11-01T00:00:00+02:00", "2013-12-01")
    assert assign(batch("at", [datetime.datetime(2013, 10, 31, 22)]), split).tolist() == [1]


@given(st.lists(st.text(max_size=5), max_size=50), st.integers(0, 5))
def test_rows_of_one_key_share_a_split_wherever_they_stand(keys: list[str], seed: int) -> None:
    split = SplitByHash(("key",), seed=seed)
    together = assign(batch("key", keys, pa.string()), split).tolist()
    alone = [assign(batch("key", [key], pa.string()), split)[0] for key in keys]
    assert together == alone


def test_hash_shares_are_met() -> None:
    keys = batch("key", list(range(50_000)))
    assigned = assign(keys, SplitByHash(("key",), {"train": 0.7, "eval": 0.2, "test": 0.1})).tolist()
    for place, share in enumerate((0.7, 0.2, 0.1)):
        assert abs(assigned.count(place) / 50_000 - share) < 0.01


def test_hash_split_is_golden() -> None:
    keys = batch("tail", ["N14228", "N24211", "N619AA", "N804JB", "N668DN", "N39463", "N516JB", None])
    assert assign(keys, SplitByHash(("tail",), {"train": 0.4, "eval": 0.3, "test": 0.3})).tolist() == GOLDEN


GOLDEN = [0, 0, 1, 2, 1, 0, 1, 0]


def test_a_column_says_the_split() -> None:
    split = SplitByColumn("part", {"train": ["a", "b"], "eval": ["c"]})
    assert assign(batch("part", ["c", "a", "b", "c"]), split).tolist() == [1, 0, 0, 1]
    encoded = pa.RecordBatch.from_arrays([pa.array(["c", "a"]).dictionary_encode()], names=["part"])
    assert assign(encoded, split).tolist() == [1, 0]
    assert assign(batch("part", [1, 2], pa.int16()), SplitByColumn("part", {"train": [2], "test": [1]})).tolist() == [
        1,
        0,
    ]


def test_a_value_without_split_is_named_and_counted() -> None:
    split = SplitByColumn("part", {"train": ["train"], "eval": ["eval"]})
    with pytest.raises(DataError, match=r"'part' has 'trian' in 2 rows.*Did you mean 'train'"):
        assign(batch("part", ["train", "trian", "trian"]), split)
    with pytest.raises(DataError, match="'part' has no value in 1 rows"):
        assign(batch("part", ["train", None]), split)


def test_a_missing_time_is_counted() -> None:
    with pytest.raises(DataError, match=r"'at', by which rows are split, is missing in 1 of 2 rows"):
        assign(batch("at", [datetime.date(2013, 1, 1), None]), BY_TIME)


@pytest.mark.parametrize(
    ("split", "kind", "message"),
    [
        (BY_TIME, pa.string(), "needs a date or a timestamp"),
        (BY_TIME, pa.int64(), "needs a date or a timestamp"),
        (SplitByTime("att", "2013-11-01", "2013-12-01"), pa.date32(), "Did you mean 'at'"),
        (SplitByHash(("at",)), pa.list_(pa.int8()), "cannot be a key"),
        (SplitByColumn("at", {"train": [2013]}), pa.string(), "value 2013 never stands in it"),
        (SplitByColumn("at", {"train": ["2013"]}), pa.int64(), "value '2013' never stands in it"),
        (SplitByColumn("at", {"train": [1]}), pa.bool_(), "value 1 never stands in it"),
        (SplitByColumn("at", {"train": [1]}), pa.float64(), "needs text, integers or booleans"),
    ],
)
def test_what_cannot_split_is_refused_before_reading(split: Any, kind: pa.DataType, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_split(split, pa.schema([("at", kind)]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"by": "time", "column": "at", "eval_from": "2013-13-01", "test_from": "2014-01-01"}, "not an ISO 8601"),
        ({"by": "time", "column": "at", "eval_from": "2014-01-01", "test_from": "2014-01-01"}, "not before"),
        ({"by": "hash", "columns": ["k"], "shares": {"train": 0.8, "eval": 0.1}}, "sum to 0.9"),
        ({"by": "hash", "columns": ["k"], "shares": {"train": 1.0, "eval": 0.0}}, "'eval' has share 0.0"),
        ({"by": "hash", "columns": []}, "at least one key"),
        ({"by": "column", "column": "k", "values": {"train": [1], "eval": [1]}}, "means both 'train' and 'eval'"),
    ],
)
def test_impossible_settings_are_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_json(data)


def test_settings_become_splits() -> None:
    assert from_json({"by": "hash", "columns": ["k"], "seed": 3}) == SplitByHash(("k",), seed=3)
    data = {"by": "time", "column": "at", "eval_from": "2013-11-01", "test_from": "2013-12-01T00:00:00Z"}
    assert from_json(data) == BY_TIME


def test_time_range_is_in_nanoseconds() -> None:
    days = batch("at", [datetime.date(1970, 1, 2), datetime.date(1970, 1, 1)])
    assert time_range(days, BY_TIME) == (0, 86_400 * 10**9)
    assert time_range(days, SplitByHash(("at",))) is None
