from random import Random

import numpy as np
import pytest

from beam_jobs import bootstrap, jackknife
from beam_jobs.intervals import BOOTSTRAP, Intervals, Resamples
from beam_jobs.metric_statistics import (
    OVERALL_BINS,
    Rows,
    binary_statistics,
    multiclass_statistics,
    regression_statistics,
)
from tests.beam_jobs.merge_law import merged_at_random
from tests.beam_jobs.test_metric_statistics import rows_of

STATISTICS = {"binary": binary_statistics, "multiclass": multiclass_statistics, "regression": regression_statistics}
RESAMPLES = 40
KNOWN = [[1, 1, 0, 2, 1, 1, 2, 4, 0], [1, 1, 1, 1, 1, 3, 2, 1, 2], [1, 1, 3, 3, 0, 1, 2, 1, 0]]
"""How often rows 0, 1 and 1 << 40 count: overall, then in the first eight resamples."""


def counted(task: str, labels, predictions, ids, slices=None, count: int = 1, bins: int = OVERALL_BINS):
    numbers = np.zeros(len(labels), np.int64) if slices is None else slices
    replicates = Intervals(BOOTSTRAP, RESAMPLES).replicates(ids)
    return STATISTICS[task](Rows(labels, predictions, replicates, numbers, count, bins))


def test_a_row_counts_as_often_as_a_poisson_variable_of_mean_one():
    counts = bootstrap.weights(np.arange(200_000) * 7_919, 200)[:, 1:]
    assert counts.mean() == pytest.approx(1, abs=1e-3)
    assert counts.var() == pytest.approx(1, abs=2e-3)
    for value, share in enumerate((0.36788, 0.36788, 0.18394, 0.06131, 0.01533)):
        assert (counts == value).mean() == pytest.approx(share, abs=2e-4)


def test_resamples_and_rows_are_independent_of_each_other():
    counts = bootstrap.weights(np.arange(20_000), 64)[:, 1:].astype(float)
    between_resamples = np.corrcoef(counts.T) - np.eye(64)
    assert np.abs(between_resamples).max() < 5 / np.sqrt(20_000)
    assert abs(np.corrcoef(counts[:-1].ravel(), counts[1:].ravel())[0, 1]) < 5 / np.sqrt(counts.size)


def test_how_often_a_row_counts_hangs_on_the_row_and_the_resample_alone():
    ids = np.random.default_rng(0).integers(0, 2**62, 10_000)
    whole = bootstrap.weights(ids, 200)
    np.testing.assert_array_equal(bootstrap.weights(ids[5_000:], 200), whole[5_000:])
    np.testing.assert_array_equal(bootstrap.weights(ids, 50), whole[:, :51])
    assert bootstrap.weights(np.array([0, 1, 1 << 40]), 8).tolist() == KNOWN


@pytest.mark.parametrize("task", STATISTICS)
def test_statistics_are_the_same_however_rows_are_split_and_merged(task):
    labels, predictions, ids = rows_of(task, 300, 9)
    slices = np.random.default_rng(9).integers(0, 3, 300)
    merged = merged_at_random(
        lambda part: counted(task, labels[part], predictions[part], ids[part], slices[part], 3),
        lambda one, other: [a.merge(b) for a, b in zip(one, other, strict=True)],
        300,
        [20, 20, 130, 255],
        Random(0),
    )
    sets = Intervals(BOOTSTRAP, RESAMPLES).sets
    for one, whole in zip(merged, counted(task, labels, predictions, ids, slices, 3), strict=True):
        assert one.rows == whole.rows
        for name, values in whole.values(sets).items():
            np.testing.assert_allclose(one.values(sets)[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("task", STATISTICS)
def test_a_resample_is_what_rows_repeated_so_often_give(task):
    labels, predictions, ids = rows_of(task, 2_500, 3)
    values = counted(task, labels, predictions, ids)[0].values(Intervals(BOOTSTRAP, RESAMPLES).sets)
    weights = bootstrap.weights(ids, RESAMPLES)
    for resample in (0, 1, RESAMPLES):
        again = np.repeat(np.arange(2_500), weights[:, resample])
        groups = jackknife.groups(ids)[again]
        repeated = STATISTICS[task](Rows.of_groups(labels[again], predictions[again], groups))[0].values()
        for name, value in repeated.items():
            close = 2e-2 if resample and name in AREAS else 1e-9  # the resamples' histograms are coarser
            assert values[name][resample] == pytest.approx(value[0], rel=close, abs=1e-9), name


AREAS = ("auc", "pr_auc", "auc_precision_recall", "macro_auc")


@pytest.mark.parametrize("task", STATISTICS)
def test_both_ways_tell_about_the_same_interval(task):
    labels, predictions, ids = rows_of(task, 6_000, 2)
    slices = np.zeros(6_000, np.int64)
    widths = {}
    for intervals in (Intervals(), Intervals(BOOTSTRAP, 400)):
        rows = Rows(labels, predictions, intervals.replicates(ids), slices, 1)
        statistics = STATISTICS[task](rows)[0]
        for name, values in statistics.values(intervals.sets).items():
            low, high = intervals.offsets(values, statistics.rows)
            assert low < 0 < high
            widths.setdefault(name, []).append(high - low)
    for name, (jackknifed, bootstrapped) in widths.items():
        assert 0.6 < bootstrapped / jackknifed < 1.6, name


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    p = rng.random(400).astype(np.float32)
    intervals = Intervals(BOOTSTRAP, 200)
    truth = np.mean([_auc(p, rng, intervals)[0] for _ in range(300)])
    covered = 0
    for _ in range(300):
        values = _auc(p, rng, intervals)
        low, high = intervals.offsets(values, 400)
        covered += values[0] + low <= truth <= values[0] + high
    assert 0.90 <= covered / 300 <= 0.99


def _auc(p: np.ndarray, rng: np.random.Generator, intervals: Intervals) -> np.ndarray:
    labels = (rng.random(len(p)) < p).astype(float)
    rows = Rows(labels, p, intervals.replicates(rng.integers(0, 2**62, len(p))), np.zeros(len(p), np.int64), 1)
    return binary_statistics(rows)[0].values(intervals.sets)["auc"]


def test_the_size_of_statistics_does_not_grow_with_rows():
    def size(count: int) -> int:
        labels, p, ids = rows_of("binary", count, 0)
        found = counted("binary", labels, p, ids, bins=4_096)[0]
        return sum(h.keys.nbytes + h.counts.nbytes for h in (*found.scores, *found.replicate_scores))

    assert size(100_000) < 1.5 * size(10_000)


def test_no_interval_for_few_rows_or_where_a_resample_is_undefined():
    values = np.linspace(0, 1, 201)
    assert bootstrap.offsets(values, 39) is None
    assert bootstrap.offsets(np.append(values[:-1], np.nan), 1_000) is None
    assert bootstrap.offsets(values, 40) is not None


def test_sums_of_no_rows_are_nought():
    empty = np.zeros(0, np.int64)
    assert Resamples(bootstrap.weights(empty, 8)).sums(empty, 3).tolist() == np.zeros((3, 9, 1)).tolist()
