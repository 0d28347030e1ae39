import datetime
import decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import StepError
from components.listed_columns import listed_batch, listed_column, listed_schema

EPOCH_DAY = datetime.date(1970, 1, 2)

CASES = {
    "bool": (pa.array([True, None, False]), pa.int64(), [[1], None, [0]]),
    "int8": (pa.array([1, None], pa.int8()), pa.int64(), [[1], None]),
    "uint64": (pa.array([2**63 + 1], pa.uint64()), pa.uint64(), [[2**63 + 1]]),
    "float16": (pa.array([1.5, None], pa.float32()).cast(pa.float16()), pa.float32(), [[1.5], None]),
    "float64": (pa.array([1.5, None]), pa.float64(), [[1.5], None]),
    "decimal": (pa.array([decimal.Decimal("1.25"), None]), pa.float64(), [[1.25], None]),
    "date32": (pa.array([EPOCH_DAY, None]), pa.int64(), [[1], None]),
    "date64": (pa.array([EPOCH_DAY, None], pa.date64()), pa.int64(), [[1], None]),
    "timestamp": (pa.array([5, None], pa.timestamp("us", "UTC")), pa.int64(), [[5], None]),
    "time32": (pa.array([5, None], pa.time32("s")), pa.int64(), [[5], None]),
    "time64": (pa.array([5, None], pa.time64("us")), pa.int64(), [[5], None]),
    "duration": (pa.array([5, None], pa.duration("ms")), pa.int64(), [[5], None]),
    "string": (pa.array(["é", None, ""]), pa.large_binary(), [["é".encode()], None, [b""]]),
    "fixed binary": (pa.array([b"ab", None], pa.binary(2)), pa.large_binary(), [[b"ab"], None]),
    "dictionary": (pa.array(["a", None, "a"]).dictionary_encode(), pa.large_binary(), [[b"a"], None, [b"a"]]),
    "dictionary of dates": (pa.array([EPOCH_DAY, None]).dictionary_encode(), pa.int64(), [[1], None]),
    "no row": (pa.array([], pa.string()), pa.large_binary(), []),
}


@pytest.mark.parametrize("name", CASES)
def test_a_flat_column_becomes_lists_of_one(name: str) -> None:
    flat, inner, lists = CASES[name]
    listed = listed_column(flat)
    assert listed.type == pa.large_list(inner)
    assert listed.to_pylist() == lists
    assert listed_schema(pa.schema([("c", flat.type)])).field("c").type == listed.type


@pytest.mark.parametrize("name", CASES)
def test_a_sliced_column_is_wrapped_from_its_own_rows(name: str) -> None:
    flat, _, lists = CASES[name]
    assert listed_column(flat[1:]).to_pylist() == lists[1:]


def test_tensors_get_three_types_alone() -> None:
    batch = pa.record_batch({"u": pa.array([1], pa.uint64()), "f": [0.5], "s": ["a"], "n": pa.nulls(1)})
    types = [column.type for column in listed_batch(batch, for_tensors=True).schema]
    assert types == [
        pa.large_list(pa.int64()),
        pa.large_list(pa.float32()),
        pa.large_list(pa.large_binary()),
        pa.null(),
    ]


def test_lists_stay_as_they_are() -> None:
    lists = pa.array([[1, 2], None])
    assert listed_column(lists) is lists


def test_a_nested_column_is_refused_by_name() -> None:
    with pytest.raises(StepError, match=r"Column 'where': .*struct") as caught:
        listed_batch(pa.record_batch({"where": pa.array([{"x": 1}])}))
    assert "struct_extract" in caught.value.hint


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_values_and_nulls_keep_their_places(values: list[int | None]) -> None:
    listed = listed_column(pa.array(values, pa.int64()))
    assert listed.to_pylist() == [None if value is None else [value] for value in values]
