"""A hash of rows by their key columns that no engine, version or machine changes.

Defined here once and for all, because splits of past runs hang on it:

- a string or binary value: FNV-1a, 64 bits, over its bytes (UTF-8);
- an integer, bool (0 or 1), date (days since 1970), time or timestamp (microseconds since 1970 UTC, rounded down):
  splitmix64 of its two's complement in 64 bits;
- a float: splitmix64 of its IEEE 754 double, -0.0 taken as 0.0 and every NaN as 0x7FF8000000000000;
- a decimal: FNV-1a over its decimal text, with all digits of its scale;
- a missing value: 0x4E554C4C4E554C4C, whatever the type;
- a row: `h = 0`, then `h = splitmix64(h ^ value)` for each key column in order, then `splitmix64(h ^ splitmix64(seed))`.

splitmix64 adds 0x9E3779B97F4A7C15 first and then mixes (Steele, Lea, Flood 2014); all arithmetic is modulo 2**64.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import DataError

Hashes = npt.NDArray[np.uint64]

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x00000100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_NULL = np.uint64(0x4E554C4C4E554C4C)
_NAN = np.uint64(0x7FF8000000000000)
_WORD = (1 << 64) - 1
_KINDS = {
    "text": (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
    ),
    "integer": (pa.types.is_integer, pa.types.is_boolean),
    "float": (pa.types.is_floating,),
    "timestamp": (pa.types.is_timestamp,),
    "date": (pa.types.is_date,),
    "time": (pa.types.is_time,),
    "null": (pa.types.is_null,),
}


def splitmix64(values: Hashes) -> Hashes:
    """One step of splitmix64 for each value."""
    mixed = values + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[1]
    return mixed ^ (mixed >> np.uint64(31))


def hash_rows(columns: Sequence[pa.Array], seed: int = 0) -> Hashes:
    """Hashes rows by their values in `columns`, all of one length, in order; see the module's words.

    Raises:
      DataError: a column's type (a list, a struct, ...) has no hash.
    """
    combined = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        combined = splitmix64(combined ^ _hash_values(column))
    return splitmix64(combined ^ splitmix64(np.array([seed & _WORD], np.uint64)))


def kind(column_type: pa.DataType) -> str:
    """The family of types within which equal values have equal hashes, or '' where there is no hash."""
    base = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    if pa.types.is_decimal(base):
        return f"decimal of scale {base.scale}"
    return next((name for name, tests in _KINDS.items() if any(test(base) for test in tests)), "")


def check_hashable(name: str, column_type: pa.DataType) -> None:
    """Raises:
    DataError: the type has no hash.
    """
    if not kind(column_type):
        raise DataError(
            f"Column '{name}' of type {column_type} cannot be a key.",
            "Use columns of text, integers, dates, timestamps, booleans, floats or decimals.",
        )


def _hash_values(column: pa.Array) -> Hashes:
    found = kind(column.type)
    if not found:
        check_hashable("key", column.type)
    if found == "null":
        return np.full(len(column), _NULL)
    if found == "text" or found.startswith("decimal"):
        return _hash_distinct(column)
    words = _float_words(column) if found == "float" else _integer_words(column)
    return _with_nulls(splitmix64(words), column)


def _with_nulls(hashes: Hashes, column: pa.Array) -> Hashes:
    if column.null_count:
        hashes[column.is_null().to_numpy(zero_copy_only=False)] = _NULL
    return hashes


def _integer_words(column: pa.Array) -> Hashes:
    """The values' 64-bit words; whatever stands at missing values."""
    if pa.types.is_uint64(column.type):
        return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False))
    if pa.types.is_date64(column.type):
        column = column.cast(pa.date32())
    if pa.types.is_date32(column.type) or pa.types.is_time32(column.type):
        scale = {"s": 1_000_000, "ms": 1_000}.get(getattr(column.type, "unit", ""), 1)
        numbers = column.cast(pa.int32()).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) * scale
    elif pa.types.is_timestamp(column.type) or pa.types.is_time64(column.type):
        numbers = _microseconds(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), column.type.unit)
    else:
        numbers = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(numbers, np.int64).view(np.uint64)


def _microseconds(numbers: npt.NDArray[np.int64], unit: str) -> npt.NDArray[np.int64]:
    if unit == "ns":
        return numbers // 1_000
    scaled: npt.NDArray[np.int64] = numbers * {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    return scaled


def _float_words(column: pa.Array) -> Hashes:
    values = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64) + 0.0
    words: Hashes = values.view(np.uint64)
    words[np.isnan(values)] = _NAN
    return words


def _hash_distinct(column: pa.Array) -> Hashes:
    """Hashes each distinct text once."""
    encoded = column.dictionary_encode()
    values = encoded.dictionary
    texts = values.cast(pa.string()) if pa.types.is_decimal(values.type) else values
    of_value = np.append(_fnv1a(texts), _NULL)
    indices = pc.fill_null(encoded.indices.cast(pa.int64()), len(values)).to_numpy(zero_copy_only=False)
    hashes: Hashes = of_value[indices]
    return hashes


def _fnv1a(texts: pa.Array) -> Hashes:
    """FNV-1a of each text (none missing): one step a byte position, over the texts that are that long."""
    binary = texts.cast(pa.large_binary())
    _, offset_buffer, data = binary.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64, len(binary) + 1, 8 * binary.offset)
    content = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")
    starts, sorted_lengths = offsets[:-1][order], lengths[order]
    state = np.full(len(binary), _FNV_OFFSET)
    for place in range(int(sorted_lengths[0]) if len(order) else 0):
        longer = int(np.searchsorted(-sorted_lengths, -place, side="left"))
        state[:longer] = (state[:longer] ^ content[starts[:longer] + place]) * _FNV_PRIME
    hashes = np.empty_like(state)
    hashes[order] = state
    return hashes
