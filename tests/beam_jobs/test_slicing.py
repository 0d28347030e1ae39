from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from beam_jobs.errors import DataError
from beam_jobs.slicing import MOST_VALUES, NULL, OTHER, Slices, add_counts, check_slices, column_texts, count_values

BATCH = pa.record_batch(
    {
        "text": pa.array(["x", None, "y", "x", "x"]),
        "coded": pa.array(["x", None, "y", "x", "x"]).dictionary_encode(),
        "flag": pa.array([True, False, None, True, True]),
        "number": pa.array([1, 2, 2, None, -3], pa.int8()),
        "nothing": pa.nulls(5),
    }
)


def test_values_are_named_by_their_text_and_null_has_a_name():
    counts = count_values(BATCH, [(name,) for name in BATCH.schema.names])
    assert counts["text",] == counts["coded",] == {("x",): 3, ("y",): 1, (NULL,): 1}
    assert counts["flag",] == {("true",): 3, ("false",): 1, (NULL,): 1}
    assert counts["number",] == {("1",): 1, ("2",): 2, ("-3",): 1, (NULL,): 1}
    assert counts["nothing",] == {(NULL,): 5}


@pytest.mark.parametrize("column", BATCH.schema.names)
def test_each_row_is_in_the_slice_of_its_value(column):
    slices = Slices.most_frequent(count_values(BATCH, [(column,)]))
    values = [NULL if v is None else str(v).lower() for v in BATCH.column(column).to_pylist()]
    assert [slices.names((column,))[n] for n in slices.numbers(BATCH, (column,))] == [(v,) for v in values]
    assert column_texts(BATCH, column) == values


def test_a_cross_has_a_slice_for_each_combination_that_occurs():
    crossed = ("coded", "flag", "number")
    counts = count_values(BATCH, [crossed])
    assert counts[crossed] == {
        ("x", "true", "1"): 1,
        (NULL, "false", "2"): 1,
        ("y", NULL, "2"): 1,
        ("x", "true", NULL): 1,
        ("x", "true", "-3"): 1,
    }
    slices = Slices.most_frequent(counts)
    values = zip(*(column_texts(BATCH, name) for name in crossed), strict=True)
    assert [slices.names(crossed)[n] for n in slices.numbers(BATCH, crossed)] == list(values)


def test_a_cross_of_columns_with_many_values_counts_what_occurs_alone():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 3_000, 9_000), rng.integers(0, 3_000, 9_000)
    batch = pa.record_batch({"a": pa.array(one), "b": pa.array(other)})
    counts = count_values(batch, [("a", "b")])["a", "b"]
    assert counts.total() == 9_000
    assert counts == Counter((str(a), str(b)) for a, b in zip(one.tolist(), other.tolist(), strict=True))


def test_a_cross_of_identifiers_is_no_slice():
    batch = pa.record_batch({"a": pa.array(np.arange(100_001) % 1_000), "b": pa.array(np.arange(100_001))})
    with pytest.raises(DataError, match="Columns a, b have more than 100,000 combinations"):
        count_values(batch, [("a", "b")])


def test_all_rows_are_one_slice_without_columns():
    slices = Slices.most_frequent({})
    assert slices.names(()) == ((),) and not slices.numbers(BATCH, ()).any()


def test_a_dictionary_may_repeat_values_and_hold_null():
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None]), pa.array(["x", "x", None]))
    batch = pa.record_batch({"c": column})
    counts = count_values(batch, [("c",)])
    assert counts["c",] == {("x",): 2, (NULL,): 2}
    numbers = Slices.most_frequent(counts).numbers(batch, ("c",))
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


def test_rarer_values_share_a_slice_and_are_counted():
    batch = pa.record_batch({"n": pa.array(np.repeat(np.arange(60), [3] * 50 + [1] * 10))})
    slices = Slices.most_frequent(count_values(batch, [("n",)]))
    assert len(slices.values["n",]) == MOST_VALUES and slices.others == {("n",): (10, 10)}
    assert slices.names(("n",))[-1] == (OTHER,)
    assert (slices.numbers(batch, ("n",))[-10:] == MOST_VALUES).all()


def test_values_as_frequent_are_chosen_by_their_text_whatever_the_order():
    one, other = ({("n",): Counter({(str(v),): 1 for v in order})} for order in (range(100), range(99, -1, -1)))
    chosen = Slices.most_frequent(add_counts([one, other])).values["n",]
    assert chosen == Slices.most_frequent(add_counts([other, one])).values["n",]
    assert chosen == tuple(sorted(chosen))


def test_an_identifier_is_no_slice():
    batch = pa.record_batch({"tail": pa.array(np.arange(100_001))})
    with pytest.raises(DataError, match="'tail' has more than 100,000 values"):
        count_values(batch, [("tail",)])


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(DataError, match=r"no column 'carier' to slice by\. Did you mean 'carrier'"):
        check_slices(pa.schema({"carrier": pa.string()}), ["carier"])


@pytest.mark.parametrize("kind", [pa.float32(), pa.timestamp("us"), pa.list_(pa.int8())])
def test_floats_are_to_be_bucketed_in_sql(kind):
    with pytest.raises(DataError, match="'wind' of type") as caught:
        check_slices(pa.schema({"wind": kind}), ["wind"])
    assert "wind_bucket" in caught.value.hint
