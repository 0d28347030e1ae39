import datetime
import decimal
import math
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.errors import DataError
from beam_jobs.hashing import check_hashable, hash_rows, kind

WORD = (1 << 64) - 1


def reference_splitmix64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


def reference_fnv1a(text: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in text:
        state = ((state ^ byte) * 0x100000001B3) & WORD
    return state


def reference_value(value: object) -> int:
    if value is None:
        return 0x4E554C4C4E554C4C
    if isinstance(value, float):
        bits = struct.unpack("<Q", struct.pack("<d", value + 0.0))[0]
        return reference_splitmix64(0x7FF8000000000000 if math.isnan(value) else bits)
    if isinstance(value, int):
        return reference_splitmix64(value & WORD)
    return reference_fnv1a(value.encode() if isinstance(value, str) else bytes(value))  # type: ignore[call-overload]


def reference_row(values: tuple[object, ...], seed: int) -> int:
    state = 0
    for value in values:
        state = reference_splitmix64(state ^ reference_value(value))
    return reference_splitmix64(state ^ reference_splitmix64(seed & WORD))


texts = st.lists(st.none() | st.text(max_size=12), min_size=1, max_size=30)
integers = st.none() | st.integers(-(2**63), 2**63 - 1)
floats = st.none() | st.floats()


@given(rows=st.lists(st.tuples(st.none() | st.text(max_size=12), integers, floats), max_size=30), seed=st.integers())
def test_agrees_with_a_plain_reading_of_its_definition(
    rows: list[tuple[str | None, int | None, float | None]], seed: int
) -> None:
    columns = [
        pa.array([row[place] for row in rows], kind)
        for place, kind in enumerate((pa.string(), pa.int64(), pa.float64()))
    ]
    assert hash_rows(columns, seed).tolist() == [reference_row(row, seed) for row in rows]


@given(texts, st.integers(0, 3))
def test_a_slice_or_a_dictionary_hashes_like_the_plain_array(values: list[str | None], cut: int) -> None:
    plain = pa.array(values, pa.string())
    whole = hash_rows([plain]).tolist()
    assert hash_rows([plain.slice(cut)]).tolist() == whole[cut:]
    assert hash_rows([plain.dictionary_encode().slice(cut)]).tolist() == whole[cut:]
    assert hash_rows([plain.cast(pa.large_string())]).tolist() == whole


def test_golden_values_which_past_splits_hang_on() -> None:
    columns = [pa.array(["", "N14228", "é", None]), pa.array([0, -1, 2**40, None])]
    assert [f"{value:016x}" for value in hash_rows(columns, 7)] == GOLDEN_PAIRS
    others = {
        "float": pa.array([0.1]),
        "bool": pa.array([True]),
        "date": pa.array([datetime.date(2013, 11, 1)]),
        "timestamp": pa.array([datetime.datetime(2013, 11, 1, 6)]),
        "decimal": pa.array([decimal.Decimal("1.50")]),
    }
    assert {name: f"{hash_rows([column])[0]:016x}" for name, column in others.items()} == GOLDEN_OTHERS


GOLDEN_PAIRS = ["9a0966d4810360ab", "681bb64a3c22d531", "057cc5bb3b30f122", "0208691fde5345ce"]
GOLDEN_OTHERS = {
    "float": "2efaa0b378f7feac",
    "bool": "672bf35ee2b5923e",
    "date": "b317ed53ef80df32",
    "timestamp": "05de496171765cbe",
    "decimal": "415ba6c35726ab93",
}


def test_published_test_vectors() -> None:
    assert reference_fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert reference_splitmix64(0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_moment_hashes_alike_in_every_unit_and_zone(unit: str) -> None:
    moment = [datetime.datetime(2013, 11, 1, 6, tzinfo=datetime.UTC), None]
    plain = hash_rows([pa.array(moment, pa.timestamp("us"))]).tolist()
    assert hash_rows([pa.array(moment, pa.timestamp(unit))]).tolist() == plain
    assert hash_rows([pa.array(moment, pa.timestamp(unit, "America/New_York"))]).tolist() == plain


def test_equal_numbers_of_different_widths_hash_alike() -> None:
    values = [0, 1, 127, None]
    expected = hash_rows([pa.array(values, pa.int64())]).tolist()
    for narrow in (pa.int8(), pa.uint16(), pa.int32(), pa.uint64()):
        assert hash_rows([pa.array(values, narrow)]).tolist() == expected
    days = [datetime.date(2013, 11, 1), None]
    assert hash_rows([pa.array(days, pa.date32())]).tolist() == hash_rows([pa.array(days, pa.date64())]).tolist()
    times = [datetime.time(6, 30), None]
    assert (
        hash_rows([pa.array(times, pa.time32("s"))]).tolist() == hash_rows([pa.array(times, pa.time64("ns"))]).tolist()
    )


def test_spreads_evenly() -> None:
    hashes = hash_rows([pa.array([f"N{number}" for number in range(20_000)])])
    counts = np.bincount((hashes >> np.uint64(60)).astype(np.int64), minlength=16)
    assert counts.min() > 1_100 and counts.max() < 1_400


def test_lists_have_no_hash() -> None:
    assert kind(pa.list_(pa.int64())) == ""
    with pytest.raises(DataError, match="'tags' of type list"):
        check_hashable("tags", pa.list_(pa.int64()))
