from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs import duck
from beam_jobs.errors import DataError
from beam_jobs.kernel import QueryFailure, query_batches
from beam_jobs.shrinking import Limit, Shrunk, shrink, signature


def numbers(rows: int) -> pa.Table:
    return pa.table({"n": pa.array(range(rows), pa.int64())})


def fails_with(*sets: Sequence[int]) -> Callable[[pa.Table], str | None]:
    """Fails where all rows of one of the sets are there."""

    def fails(rows: pa.Table) -> str | None:
        present = set(rows.column("n").to_pylist())
        return "planted" if any(present.issuperset(one) for one in sets) else None

    return fails


def without(shrunk: Shrunk, row: int) -> pa.Table:
    kept = [place for place in range(shrunk.table.num_rows) if place != row]
    return shrunk.table.take(pa.array(kept, pa.int64()))


@given(st.data())
@settings(max_examples=200)
def test_what_is_found_is_one_of_the_planted_sets(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 300))
    planted = data.draw(
        st.lists(st.frozensets(st.integers(0, rows - 1), min_size=1, max_size=6), min_size=1, max_size=4)
    )
    shrunk = shrink(numbers(rows), fails_with(*map(tuple, planted)))
    assert shrunk.minimal
    assert set(shrunk.places) in [one for one in planted if not any(other < one for other in planted)]
    assert shrunk.table.column("n").to_pylist() == list(shrunk.places) == sorted(shrunk.places)
    assert shrunk.of_rows == rows


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=60), st.integers(1, 40))
def test_without_any_of_the_rows_it_does_not_fail(values: list[int], bound: int) -> None:
    """A sum over a bound: more rows may fail less, so that the smallest set of all is not what is promised."""

    def fails(rows: pa.Table) -> str | None:
        return "over" if sum(rows.column("v").to_pylist()) > bound else None

    table = pa.table({"v": values})
    if fails(table) is None:
        return
    shrunk = shrink(table, fails)
    assert shrunk.minimal and fails(shrunk.table)
    assert not any(fails(without(shrunk, row)) for row in range(shrunk.table.num_rows))


@given(st.integers(1, 200), st.integers(0, 10**6), st.integers(1, 60))
def test_at_a_limit_the_best_so_far_still_fails(rows: int, seed: int, runs: int) -> None:
    planted = sorted({seed * 7 % rows, seed * 13 % rows, seed * 29 % rows})
    asked = 0

    def fails(table: pa.Table) -> str | None:
        nonlocal asked
        asked += 1
        return fails_with(planted)(table)

    shrunk = shrink(numbers(rows), fails, Limit(runs=runs))
    assert asked == shrunk.runs <= runs
    assert set(shrunk.places) >= set(planted)
    assert not shrunk.minimal or list(shrunk.places) == planted
    assert shrink(numbers(rows), fails_with(planted), Limit(runs=runs)).places == shrunk.places


def test_no_time_left() -> None:
    shrunk = shrink(numbers(100), fails_with([3]), Limit(seconds=0))
    assert (shrunk.runs, shrunk.table.num_rows, shrunk.minimal) == (1, 100, False)


@pytest.mark.parametrize("at", [0, 1, 77_777, 131_071])
def test_one_row_in_a_row_group_takes_few_runs(at: int) -> None:
    shrunk = shrink(numbers(131_072), fails_with([at]))
    assert shrunk.places == (at,)
    assert 17 <= shrunk.runs <= 40


def test_two_rows_far_apart_in_a_row_group() -> None:
    shrunk = shrink(numbers(131_072), fails_with([5, 130_000]))
    assert shrunk.places == (5, 130_000)
    assert shrunk.runs <= 150


def test_work_that_fails_without_any_row() -> None:
    shrunk = shrink(numbers(1_000), lambda rows: "always")
    assert (shrunk.table.num_rows, shrunk.runs, shrunk.minimal) == (0, 2, True)
    assert shrunk.table.schema == numbers(1).schema


def test_rows_that_do_not_fail_are_refused() -> None:
    with pytest.raises(DataError, match="Nothing fails on these 10 rows"):
        shrink(numbers(10), lambda rows: None)


def test_another_failure_does_not_count() -> None:
    def fails(rows: pa.Table) -> str | None:
        present = set(rows.column("n").to_pylist())
        return "looked for" if 70 in present else "another" if 3 in present else None

    assert shrink(numbers(100), fails).places == (70,)


def overflow(rows: pa.Table) -> str | None:
    with duck.connect() as connection:
        connection.register("t", rows)
        try:
            for _ in query_batches(connection, "SELECT CAST(sum(v) AS TINYINT) AS s FROM t"):
                pass
        except QueryFailure as error:
            return signature(error)
    return None


def test_an_aggregate_that_overflows_keeps_the_rows_that_it_takes() -> None:
    table = pa.table({"v": pa.array([n % 7 for n in range(2_000)], pa.int32())})
    shrunk = shrink(table, overflow)
    values = shrunk.table.column("v").to_pylist()
    assert shrunk.minimal and sum(values) > 127 >= sum(values) - min(values)
    assert len(values) <= 128


# What makes two failures the same


def told(message: str, kind: type[Exception] = ValueError) -> str:
    return signature(kind(message))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Could not convert string 'x137' to INT32", "Could not convert string '' to INT32"),
        ("Could not convert string 'it's' to INT32", "Could not convert string 'O'Hare, 5' to INT32"),
        ('invalid date: "2013-13-01", expected', 'invalid date: "x"y", expected'),
        (
            "Overflow in multiplication of INT64 (4611686018427387904 * -2)!",
            "Overflow in multiplication of INT64 (7 * 9)!",
        ),
        ("at 1.5e-7, 12:30:01 and 2013-01-02", "at 2, 1:00:00 and 1999-12-31"),
        ("5 surplus copies. For example, row 3 (tail = N0).", "1 surplus copies. For example, row 9 (tail = AA)."),
        ("Column 'c' has 'x' in 3 rows. Did you mean 'y'?", "Column 'c' has 'z' in 1 rows."),
        ("a value 1\n\nLINE 1: SELECT 1", "a value 2\n\nLINE 7: SELECT 2"),
        ("two\nlines 'a\nb'", "two\nlines 'c'"),
    ],
)
def test_values_do_not_matter(one: str, other: str) -> None:
    assert told(one) == told(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Could not convert string 'x' to INT32", "Could not convert string 'x' to INT64"),
        ("Could not convert string 'x' to INT32", "Could not convert string 'x' to DOUBLE"),
        ("Overflow in multiplication of INT64 (1 * 2)!", "Overflow in addition of INT64 (1 + 2)!"),
    ],
)
def test_words_do(one: str, other: str) -> None:
    assert told(one) != told(other)


def test_the_type_does() -> None:
    assert told("no", ValueError) != told("no", TypeError)


def test_an_error_worded_for_the_user_counts_as_what_it_was_raised_from() -> None:
    def worded(place: str, cause: Exception) -> DataError:
        try:
            try:
                raise cause
            except Exception as error:
                raise DataError(f"It failed on {place}.") from error
        except DataError as error:
            return error

    refused = QueryFailure("Conversion Error: Could not convert string 'x' to INT32")
    assert signature(worded("row 5", refused)) == signature(worded("rows 1 to 9", refused)) == signature(refused)
    itself = DataError("It failed.")
    itself.__cause__ = itself
    assert signature(itself) == "DataError: It failed."
