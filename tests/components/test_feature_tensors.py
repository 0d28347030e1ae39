import datetime
import itertools
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import encoding, feature_tensors
from components.errors import StepError
from components.model_contract import Feature

WORDS = ["a", "b", "ü", "", "zz"]
COLUMNS = st.one_of(
    st.lists(st.none() | st.floats(width=64), max_size=30).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=30).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.none() | st.booleans(), max_size=30).map(lambda v: pa.array(v, pa.bool_())),
    st.lists(st.none() | st.decimals(-99, 99, places=2), max_size=30).map(lambda v: pa.array(v, pa.decimal128(6, 2))),
    st.lists(st.none() | st.dates(), max_size=30).map(lambda v: pa.array(v, pa.date32())),
    st.lists(st.none() | st.datetimes(), max_size=30).map(lambda v: pa.array(v, pa.timestamp("us"))),
    st.lists(st.none() | st.sampled_from(WORDS), max_size=30).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.none() | st.sampled_from(WORDS), max_size=30).map(lambda v: pa.array(v, pa.string_view())),
    st.lists(st.none() | st.text(), max_size=30).map(lambda v: pa.array(v, pa.string()).dictionary_encode()),
    st.integers(0, 30).map(pa.nulls),
)


def feature_of(column: pa.Array, vocabulary: tuple[str, ...] = ()) -> Feature:
    return Feature("x", encoding.kind_of(column.type) or "category", str(column.type), vocabulary)


@given(COLUMNS, st.lists(st.integers(0, 30), max_size=3))
def test_a_tensor_holds_what_xgboost_sees(column: pa.Array, cuts: list[int]) -> None:
    vocabulary = tuple(sorted({value for value in column.to_pylist() if value})) if _is_text(column) else ()
    feature = feature_of(column, vocabulary)
    bounds = [0, *sorted(min(cut, len(column)) for cut in cuts), len(column)]
    pieces = pa.chunked_array([column[a:b] for a, b in itertools.pairwise(bounds)], column.type)
    tensor = feature_tensors.arrays(pa.table({"x": pieces}), [feature])["x"]
    seen = encoding.encode(column, feature)
    if feature_tensors.is_text(feature):
        codes = {value.encode(): code for code, value in enumerate(vocabulary)}
        told = [np.nan if value == b"" else codes[value] for value in tensor]
        np.testing.assert_array_equal(np.array(told, np.float32), seen)
    else:
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, seen)


def _is_text(column: pa.Array) -> bool:
    return encoding.kind_of(column.type) == "category"


@given(COLUMNS)
def test_list_columns_hold_the_same_values(column: pa.Array) -> None:
    feature = feature_of(column)
    batch = pa.record_batch({"other": pa.nulls(len(column)), "x": column})
    lists = feature_tensors.listed(batch, [feature])
    assert lists.schema == feature_tensors.listed_schema([feature])
    lists.validate(full=True)
    flat = lists.column("x").flatten().to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(flat, feature_tensors.arrays(batch, [feature])["x"])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["é", None, ""]), ["é".encode(), b"", b""]),
        (pa.array(["é", None, "b"], pa.string_view()), ["é".encode(), b"", b"b"]),
        (pa.array(["b", None, "a", "b"]).dictionary_encode()[1:], [b"", b"a", b"b"]),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["a", None])), [b"a", b"", b""]),
        (pa.nulls(2), [b"", b""]),
    ],
)
def test_text_stays_text(column: pa.Array, expected: list[bytes]) -> None:
    feature = Feature("x", "category", "string")
    assert feature_tensors.arrays(pa.record_batch({"x": column}), [feature])["x"].tolist() == expected


def test_a_missing_or_changed_column_is_named() -> None:
    wind, carrier = Feature("wind", "numeric", "double"), Feature("carrier", "category", "string")
    with pytest.raises(StepError, match=r"lacks the model's column 'wind'. Did you mean 'wnd'"):
        feature_tensors.arrays(pa.record_batch({"wnd": [1.0]}), [wind])
    with pytest.raises(StepError, match="Column 'carrier' is of type int64; the model was trained on string"):
        feature_tensors.listed(pa.record_batch({"wind": [1.0], "carrier": [3]}), [wind, carrier])


def test_an_absent_feature_of_an_example_parses_as_missing() -> None:
    import tensorflow as tf

    features = [Feature("wind", "numeric", "decimal128(5, 2)"), Feature("carrier", "category", "string")]
    batch = pa.record_batch({"wind": [Decimal("1.25"), None], "carrier": ["UA", None]})
    told = {"wind": tf.train.Feature(float_list=tf.train.FloatList(value=[1.25]))}
    told["carrier"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"UA"]))
    records = [tf.train.Example(features=tf.train.Features(feature=known)).SerializeToString() for known in (told, {})]
    parsed = tf.io.parse_example(tf.constant(records), feature_tensors.raw_feature_spec(features))
    for name, values in feature_tensors.arrays(batch, features).items():
        np.testing.assert_array_equal(parsed[name].numpy(), values)


def test_dates_are_days() -> None:
    day = pa.record_batch({"x": [datetime.date(1970, 1, 11)]})
    assert feature_tensors.arrays(day, [Feature("x", "time", "date32[day]")])["x"].tolist() == [10.0]
