import datetime
import itertools
from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import encoding
from components.errors import StepError
from components.model_contract import Feature, ModelContract

WORDS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "ü", "", "zz"]), st.text(max_size=3)), max_size=60)


def contract_of(table: pa.Table, names: list[str], cap: int = 1_000) -> ModelContract:
    text = [name for name in names if encoding.kind_of(table.schema.field(name).type) == "category"]
    vocabularies = encoding.fit_vocabularies(table.to_batches(), text, cap)
    return ModelContract("regression", "y", (), encoding.features_of(table.schema, names, vocabularies))


@given(WORDS, st.lists(st.integers(0, 60), max_size=4), st.integers(1, 5))
def test_the_vocabulary_is_the_same_in_whatever_batches(words: list[str | None], cuts: list[int], cap: int) -> None:
    bounds = [0, *sorted(min(cut, len(words)) for cut in cuts), len(words)]
    pieces = [pa.record_batch({"w": pa.array(words[a:b], pa.string())}) for a, b in itertools.pairwise(bounds)]
    counts = Counter(word for word in words if word is not None)
    expected = sorted(counts, key=lambda word: (-counts[word], word.encode()))[:cap]
    assert encoding.fit_vocabularies(pieces, ["w"], cap)["w"] == tuple(expected)


@given(WORDS, st.integers(1, 8), st.booleans())
def test_codes_point_back_to_their_values(words: list[str | None], cap: int, as_dictionary: bool) -> None:
    column = pa.array(words, pa.string())
    vocabulary = encoding.CategoryCounts.of(column).vocabulary(cap)
    given_column = column.dictionary_encode() if as_dictionary else column
    codes = encoding.encode(given_column, Feature("w", "category", "string", vocabulary))
    assert codes.dtype == np.float32
    back = [None if np.isnan(code) else vocabulary[int(code)] for code in codes]
    assert back == [word if word in vocabulary else None for word in words]


@given(st.lists(st.one_of(st.none(), st.floats(width=64)), max_size=40))
def test_numbers_are_finite_or_missing(values: list[float | None]) -> None:
    encoded = encoding.encode(pa.array(values, pa.float64()), Feature("x", "numeric", "double"))
    for value, code in zip(values, encoded, strict=True):
        if value is None or not np.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
            assert np.isnan(code)
        else:
            assert code == np.float32(value)


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array([1, None, 3], pa.uint8()), "numeric", [1, np.nan, 3]),
        (pa.array(np.array([1.5, 2], np.float16)), "numeric", [1.5, 2]),
        (pa.array([Decimal("1.25"), None], pa.decimal128(5, 2)), "numeric", [1.25, np.nan]),
        (pa.array([True, None, False]), "bool", [1, np.nan, 0]),
        (pa.array([datetime.date(1970, 1, 11), None], pa.date32()), "time", [10, np.nan]),
        (pa.array([datetime.date(1970, 1, 11)], pa.date64()), "time", [10]),
        (pa.array([datetime.datetime(1970, 1, 2, 12)], pa.timestamp("us")), "time", [1.5]),
        (pa.array([datetime.datetime(1970, 1, 2, 6)], pa.timestamp("ns", "UTC")), "time", [1.25]),
        (pa.array([datetime.time(18)], pa.time32("s")), "time", [0.75]),
        (pa.array([datetime.time(6)], pa.time64("us")), "time", [0.25]),
        (pa.array([datetime.timedelta(hours=36)], pa.duration("ms")), "time", [1.5]),
        (pa.array(["b", "x", None], pa.large_string()), "category", [1, np.nan, np.nan]),
        (pa.array(["b", "a"], pa.string_view()), "category", [1, 0]),
        (pa.array([7, None, 7]).dictionary_encode(), "numeric", [7, np.nan, 7]),
    ],
)
def test_each_type_becomes_its_number(column: pa.Array, kind: str, expected: list[float]) -> None:
    assert encoding.kind_of(column.type) == kind
    feature = Feature("x", encoding.kind_of(column.type), str(column.type), ("a", "b"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(encoding.encode(column, feature), np.array(expected, np.float32))
    np.testing.assert_array_equal(encoding.encode(column.slice(1), feature), np.array(expected[1:], np.float32))


def test_the_matrix_has_the_contracts_order_and_an_all_null_column_is_missing() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", "y"], "y": [0.5, None]})
    contract = contract_of(table, ["b", "a"])
    batch = pa.record_batch({"y": [0.5, None], "a": pa.nulls(2), "b": ["y", "new"]})
    np.testing.assert_array_equal(encoding.matrix(batch, contract), [[1, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(encoding.labels(batch, contract), np.array([0.5, np.nan], np.float32))


def test_a_missing_or_changed_column_is_named() -> None:
    contract = contract_of(pa.table({"wind": [1.0], "dest": ["x"]}), ["wind", "dest"])
    with pytest.raises(StepError, match=r"lacks the model's column 'wind'. Did you mean 'wnd'"):
        encoding.matrix(pa.record_batch({"wnd": [1.0], "dest": ["x"]}), contract)
    with pytest.raises(StepError, match="Column 'dest' is of type int64; the model was trained on string"):
        encoding.matrix(pa.record_batch({"wind": [1.0], "dest": [3]}), contract)


def test_a_nested_column_is_no_feature() -> None:
    with pytest.raises(StepError, match="'tags' of type list"):
        encoding.features_of(pa.schema([("tags", pa.list_(pa.string()))]), ["tags"], {})


@pytest.mark.parametrize(
    ("column", "classes", "codes", "unseen"),
    [
        (pa.array([True, None, False]), (False, True), [1, np.nan, 0], {}),
        (pa.array(["no", "yes", "maybe", None]), ("no", "yes"), [0, 1, np.nan, np.nan], {"maybe": 1}),
        (pa.array(["b", "a", "c", "c"]).dictionary_encode(), ("a", "b"), [1, 0, np.nan, np.nan], {"c": 2}),
        (pa.array([3, 9, 5], pa.int8()), (3, 5), [0, np.nan, 1], {"9": 1}),
        (pa.array([0.0, 1.0, float("nan")]), (0.0, 1.0), [0, 1, np.nan], {"nan": 1}),
        (pa.array([1.5, float("inf"), None]), (), [1.5, np.nan, np.nan], {}),
    ],
)
def test_labels_become_codes(column: pa.Array, classes: tuple, codes: list[float], unseen: dict[str, int]) -> None:
    np.testing.assert_array_equal(encoding.label_codes(column, classes), np.array(codes, np.float32))
    assert encoding.unseen_labels(column, classes) == unseen
