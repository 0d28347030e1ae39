import pyarrow as pa
import pytest

from beam_jobs.column_types import check_names, parse_type, type_name, unify
from beam_jobs.errors import DataError


@pytest.mark.parametrize("name", ["int64", "double", "string", "bool", "date", "timestamp", "timestamp[UTC]"])
def test_names_round_trip(name: str) -> None:
    assert type_name(parse_type(name, "c")) == name


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"'c' is declared as 'strin'.*Did you mean 'string'"):
        parse_type("strin", "c")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([pa.null(), pa.null()], pa.string()),
        ([pa.null(), pa.int64()], pa.int64()),
        ([pa.int64(), pa.float64()], pa.float64()),
        ([pa.int64(), pa.bool_()], pa.string()),
        ([pa.date32(), pa.timestamp("us")], pa.timestamp("us")),
        ([pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")], pa.timestamp("ns", "UTC")),
        ([pa.timestamp("us", "UTC"), pa.timestamp("us")], pa.string()),
    ],
)
def test_unify(seen: list[pa.DataType], expected: pa.DataType) -> None:
    assert unify(seen) == unify(reversed(seen)) == expected


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", ""], "column 2 has no name"),
        (["a", "b", "a"], "2 columns called 'a'"),
        (["_ROW"], "Braid's own"),
        (["_at"], "Braid's own"),
    ],
)
def test_unusable_names(names: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        check_names(names, "f.csv")
