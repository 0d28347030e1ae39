import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from beam_jobs.metric_statistics import SLICE_BINS
from beam_jobs.score_histogram import (
    ScoreHistogram,
    auc,
    auc_error,
    average_precision,
    average_precision_error,
    score_keys,
)
from tests.beam_jobs.merge_law import merged_at_random

PROBABILITIES = st.floats(0, 1, width=32)


def histogram(scores: np.ndarray, labels: np.ndarray, most: int) -> ScoreHistogram:
    keys = score_keys(scores)
    order = np.argsort(keys)
    return ScoreHistogram.of_sorted(keys[order], labels.astype(np.int64)[order], 2, most)


def by_class(counted: ScoreHistogram) -> tuple[np.ndarray, np.ndarray]:
    counts = counted.counts.astype(float)
    return counts[:, :1], counts[:, 1:]


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(2, 50), elements=PROBABILITIES))
def test_keys_order_as_scores_do_and_tell_all_of_them_apart(scores):
    keys = score_keys(scores)
    assert keys.min() >= 0 and keys.max() < 2**31
    assert (np.sign(np.subtract.outer(keys, keys)) == np.sign(np.subtract.outer(scores, scores))).all()


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, 60, elements=PROBABILITIES),
    hnp.arrays(np.bool_, 60),
    st.integers(2, 12),
    st.lists(st.integers(0, 60), max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_histogram_is_the_same_however_rows_are_split_and_merged(scores, labels, most, cuts, random):
    merged = merged_at_random(
        lambda part: histogram(scores[part], labels[part], most), ScoreHistogram.merge, 60, cuts, random
    )
    whole = histogram(scores, labels, most)
    assert merged.level == whole.level
    assert (merged.keys == whole.keys).all() and (merged.counts == whole.counts).all()
    assert len(whole.keys) <= most and whole.counts.sum() == 60


@settings(deadline=None)
@given(hnp.arrays(np.float32, 40, elements=PROBABILITIES), hnp.arrays(np.bool_, 40), st.integers(2, 60))
def test_areas_differ_from_the_exact_ones_by_no_more_than_the_error_told(scores, labels, most):
    if labels.all() or not labels.any():
        labels[:2] = True, False
    negatives, positives = by_class(histogram(scores, labels, most))
    area, precision = auc(negatives, positives)[0], average_precision(negatives, positives)[0]
    exact_area, exact_precision = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    if most >= len(np.unique(scores)):
        assert area == pytest.approx(exact_area, abs=1e-12)
        assert precision == pytest.approx(exact_precision, abs=1e-12)
    assert abs(area - exact_area) <= auc_error(negatives, positives)[0] + 1e-12
    assert abs(precision - exact_precision) <= average_precision_error(negatives, positives)[0] + 1e-12


@pytest.mark.parametrize("base_rate", [0.01, 0.3, 0.8])
@pytest.mark.parametrize("middle", [1e-6, 0.5, 0.8])
def test_many_distinct_scores_stay_within_a_ten_thousandth(middle, base_rate):
    rng = np.random.default_rng(0)
    labels = rng.random(100_000) < base_rate
    spread = min(middle, 1 - middle) / 20  # bins of a fixed width would have one for all of them
    scores = np.clip(middle + spread * (rng.normal(size=100_000) + labels), 0, 1).astype(np.float32)
    binned = histogram(scores, labels, SLICE_BINS)
    assert binned.level > 0
    assert auc(*by_class(binned))[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-5)
    precision = average_precision(*by_class(binned))[0]
    assert precision == pytest.approx(average_precision_score(labels, scores), abs=1e-4)


def test_without_a_class_there_is_no_area():
    negatives, positives = by_class(histogram(np.array([0.2, 0.7], np.float32), np.zeros(2), 8))
    assert np.isnan(auc(negatives, positives)[0]) and np.isnan(average_precision(negatives, positives)[0])


def test_no_rows_make_an_empty_histogram_that_merges():
    empty = histogram(np.zeros(0, np.float32), np.zeros(0), 8)
    some = histogram(np.array([0.2, 0.7], np.float32), np.array([0, 1]), 8)
    assert (empty.merge(empty).counts.shape, empty.merge(some).counts.tolist()) == ((0, 2), some.counts.tolist())
