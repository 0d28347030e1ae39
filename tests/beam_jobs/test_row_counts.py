from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.errors import LedgerError
from beam_jobs.row_counts import RowCounts, aggregate_ledger

stretches = st.integers(1, 40).flatmap(
    lambda rows: st.tuples(st.just(rows), st.lists(st.lists(st.integers(0, rows - 1), max_size=20), max_size=5))
)


@given(stretches, st.integers(0, 1 << 40))
def test_counts_as_a_counter_does_in_any_order(stretch: tuple[int, list[list[int]]], first: int) -> None:
    rows, batches = stretch
    counts = RowCounts(first, rows)
    for batch in batches:
        counts.add(np.array(batch, np.int64) + first)
    expected = Counter(place for batch in batches for place in batch)
    ledger = counts.ledger().check("test")
    assert (ledger.read, ledger.kept, ledger.multiplied) == (rows, len(expected), expected.total() - len(expected))
    worst = sorted((times for times in expected.values() if times > 1), reverse=True)[:3]
    assert [times for _, times in counts.most_multiplied()] == worst
    assert all(expected[at - first] == times for at, times in counts.most_multiplied())


@pytest.mark.parametrize("stray", [9, 15])
def test_a_row_that_was_never_read_is_an_error(stray: int) -> None:
    with pytest.raises(LedgerError, match=f"row at {stray}"):
        RowCounts(10, 5).add(np.array([12, stray]))


@given(st.integers(0, 100), st.integers(0, 100))
def test_an_aggregate_adds_up(read: int, written: int) -> None:
    assert aggregate_ledger(read, written).check("test").written == written
