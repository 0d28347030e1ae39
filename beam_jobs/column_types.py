"""The types a column of a source may have, and the names by which users declare them."""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.table import ROW

CARRY = "_at"
RESERVED = (ROW, CARRY)
UTC_TIMESTAMP = pa.timestamp("us", "UTC")
_NAMED: dict[str, pa.DataType] = {
    **{str(t): t for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32())},
    "uint64": pa.uint64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamp[UTC]": UTC_TIMESTAMP,
}
_ALIASES: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "integer": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "text": pa.string(),
    "str": pa.string(),
    "boolean": pa.bool_(),
    "date32[day]": pa.date32(),
    "timestamp[s]": pa.timestamp("s"),
    "timestamp[ms]": pa.timestamp("ms"),
    "timestamp[us]": pa.timestamp("us"),
    "timestamp[ns]": pa.timestamp("ns"),
    "timestamp[us, tz=UTC]": UTC_TIMESTAMP,
    "timestamp[ns, tz=UTC]": pa.timestamp("ns", "UTC"),
}


def parse_type(name: str, column: str) -> pa.DataType:
    """The Arrow type of a declared name, such as `int64`, `string`, `date` or `timestamp[UTC]`.

    Raises:
      DataError: no such type.
    """
    found = _NAMED.get(name, _ALIASES.get(name))
    if found is None:
        raise DataError(
            f"Column '{column}' is declared as '{name}', which is no type.{nearest(name, [*_NAMED, *_ALIASES])}",
            f"Types are: {listed(_NAMED, 20)}.",
        )
    return found


def type_name(kind: pa.DataType) -> str:
    """The name by which a user would declare the type."""
    if pa.types.is_timestamp(kind):
        return "timestamp[UTC]" if kind.tz else "timestamp"
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    return next((name for name, known in _NAMED.items() if known == kind), str(kind))


def unify(types: Iterable[pa.DataType]) -> pa.DataType:
    """The narrowest type that holds what was seen in several samples of one column; string where nothing does."""
    seen = set(types) - {pa.null()}
    if len(seen) == 1:
        return seen.pop()
    if seen and seen <= {pa.int64(), pa.float64()}:
        return pa.float64()
    if seen and all(pa.types.is_date32(t) or (pa.types.is_timestamp(t) and not t.tz) for t in seen):
        return pa.timestamp("ns" if pa.timestamp("ns") in seen else "us")
    if seen and all(pa.types.is_timestamp(t) and t.tz for t in seen):
        return pa.timestamp("ns" if any(t.unit == "ns" for t in seen) else "us", "UTC")
    return pa.string()


def check_names(names: Sequence[str], file: str) -> None:
    """Checks the column names of a file.

    Raises:
      DataError: a name is empty, comes twice, or belongs to Braid.
    """
    if "" in names:
        raise DataError(f"'{file}': column {names.index('') + 1} has no name.", "Give every column a name.")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"'{file}' has {names.count(name)} columns called '{name}'.", "Give each its own name.")
        if name.lower() in RESERVED:
            raise DataError(f"'{file}': the column name '{name}' is Braid's own.", "Rename that column.")


def check_declared(declared: Mapping[str, pa.DataType], names: Sequence[str], file: str) -> None:
    """Checks that every column whose type is declared exists.

    Raises:
      DataError: one does not.
    """
    for name in declared:
        if name not in names:
            raise DataError(
                f"A type is declared for column '{name}', which '{file}' does not have.{nearest(name, names)}",
                f"Its columns are: {listed(names, 30)}.",
            )
