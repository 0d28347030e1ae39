import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from beam_jobs import jackknife
from beam_jobs.intervals import Groups
from beam_jobs.metric_statistics import (
    CALIBRATION_BINS,
    OVERALL_BINS,
    Rows,
    binary_statistics,
    multiclass_statistics,
    regression_statistics,
)
from tests.beam_jobs.merge_law import merged_at_random

STATISTICS = {"binary": binary_statistics, "multiclass": multiclass_statistics, "regression": regression_statistics}


def rows_of(task: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and `_row`; a fifth of the predictions are ties."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        labels = rng.normal(1e6, 3, count)
        return labels, (labels + rng.normal(1, 2, count)).astype(np.float32), rng.permutation(count)
    logits = rng.normal(size=(count, 4 if task == "multiclass" else 2))
    logits[rng.random(count) < 0.2] = rng.normal(size=logits.shape[1])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    shares = shares.astype(np.float32)
    return labels.astype(float), shares if task == "multiclass" else shares[:, 1], rng.permutation(count)


def counted(task: str, labels, predictions, ids, slices=None, *, count=1, bins=OVERALL_BINS):
    slices = np.zeros(len(labels), np.int64) if slices is None else slices
    return STATISTICS[task](Rows(labels, predictions, Groups(jackknife.groups(ids)), slices, count, bins))


def exact_calibration_error(hits: np.ndarray, p: np.ndarray) -> float:
    p = p.astype(np.float64)
    bins = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return sum(abs(hits[bins == b].mean() - p[bins == b].mean()) * (bins == b).mean() for b in set(bins))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [50, 3_000, 120_000])
def test_binary_metrics_are_scikit_learns(count, seed):
    labels, p, ids = rows_of("binary", count, seed)
    statistics = counted("binary", labels, p, ids)[0]
    found = {name: values[0] for name, values in statistics.values().items()}
    binned = bool(statistics.errors())
    assert binned == (count == 120_000)
    assert found["auc"] == pytest.approx(sk.roc_auc_score(labels, p), abs=1e-5 if binned else 1e-12)
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(labels, p), abs=1e-4 if binned else 1e-12)
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, p.astype(np.float64)), abs=1e-6)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, p > 0.5), abs=1e-12)
    assert found["calibration_error"] == pytest.approx(exact_calibration_error(labels, p), abs=1e-9)
    assert found["base_rate"] == pytest.approx(labels.mean(), abs=1e-12)
    assert found["mean_prediction"] == pytest.approx(p.mean(dtype=float), abs=1e-9)


@pytest.mark.parametrize("count", [200, 40_000])
def test_multiclass_metrics_are_scikit_learns(count):
    labels, p, ids = rows_of("multiclass", count, 1)
    found = {name: values[0] for name, values in counted("multiclass", labels, p, ids)[0].values().items()}
    shares = p.astype(np.float64) / p.sum(axis=1, dtype=np.float64, keepdims=True)
    one_against_rest = np.mean([sk.roc_auc_score(labels == k, p[:, k]) for k in range(4)])
    assert found["macro_auc"] == pytest.approx(one_against_rest, abs=1e-4)
    assert found["macro_auc"] == pytest.approx(sk.roc_auc_score(labels, shares, multi_class="ovr"), abs=1e-4)
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, shares), abs=1e-6)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, p.argmax(axis=1)), abs=1e-12)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(labels, p.argmax(axis=1), average="macro"), abs=1e-12)
    hits = p.argmax(axis=1) == labels
    assert found["calibration_error"] == pytest.approx(exact_calibration_error(hits, p.max(axis=1)), abs=1e-9)


def test_macro_f1_leaves_out_classes_that_neither_label_nor_prediction_has():
    labels, p = np.array([0.0, 0, 1]), np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.1, 0.9, 0]], np.float32)
    found = counted("multiclass", labels, p, np.arange(3))[0].values()
    assert found["macro_f1"][0] == pytest.approx(sk.f1_score(labels, p.argmax(axis=1), average="macro"))
    assert np.isnan(found["macro_auc"][0])


def test_regression_metrics_are_scikit_learns_far_from_zero():
    labels, predicted, ids = rows_of("regression", 5_000, 0)
    found = {name: values[0] for name, values in counted("regression", labels, predicted, ids)[0].values().items()}
    error = predicted.astype(np.float64) - labels
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(labels, predicted.astype(np.float64)), rel=1e-9)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(labels, predicted.astype(np.float64)), rel=1e-9)
    assert found["r2"] == pytest.approx(sk.r2_score(labels, predicted.astype(np.float64)), abs=1e-6)
    assert found["mean_error"] == pytest.approx(error.mean(), abs=1e-9)
    assert found["mean_label"] == pytest.approx(labels.mean(), rel=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 / 3])
def test_r2_of_a_constant_label_is_undefined(constant):
    labels = np.full(100, constant)
    found = counted("regression", labels, np.linspace(0, 1, 100, dtype=np.float32), np.arange(100))[0]
    assert np.isnan(found.merge(found).values()["r2"][0])


@pytest.mark.parametrize("task", STATISTICS)
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    random=st.randoms(use_true_random=False),
)
def test_statistics_are_the_same_however_rows_are_split_and_merged(task, seed, cuts, random):
    labels, predictions, ids = rows_of(task, 300, seed)
    slices = np.random.default_rng(seed).integers(0, 3, 300)
    everything = merged_at_random(
        lambda part: counted(task, labels[part], predictions[part], ids[part], slices[part], count=3, bins=64),
        lambda one, other: [a.merge(b) for a, b in zip(one, other, strict=True)],
        300,
        cuts,
        random,
    )
    at_once = counted(task, labels, predictions, ids, slices, count=3, bins=64)
    for merged, whole in zip(everything, at_once, strict=True):
        assert merged.rows == whole.rows
        for name, values in whole.values().items():
            np.testing.assert_allclose(merged.values()[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("task", STATISTICS)
def test_the_slices_of_one_count_are_those_counted_alone(task):
    labels, predictions, ids = rows_of(task, 900, 4)
    slices = np.random.default_rng(4).integers(0, 3, 900)
    together = counted(task, labels, predictions, ids, slices, count=4)
    for number in range(3):
        mine = slices == number
        alone = counted(task, labels[mine], predictions[mine], ids[mine])[0]
        for name, values in alone.values().items():
            np.testing.assert_allclose(together[number].values()[name], values, rtol=1e-9, err_msg=name)
    assert together[3].rows == 0


@pytest.mark.parametrize("task", STATISTICS)
def test_each_replicate_leaves_one_group_out(task):
    labels, predictions, ids = rows_of(task, 900, 5)
    groups = jackknife.groups(ids)
    whole = counted(task, labels, predictions, ids)[0].values()
    for group in (0, 7, 19):
        kept = groups != group
        without = counted(task, labels[kept], predictions[kept], ids[kept])[0].values()
        for name, values in without.items():
            # The intervals' histograms are coarser.
            close = 2e-3 if "auc" in name else 1e-9
            assert whole[name][1 + group] == pytest.approx(values[0], rel=close), name


def test_the_size_of_statistics_does_not_grow_with_rows():
    def size(count: int) -> int:
        labels, p, ids = rows_of("binary", count, 0)
        found = counted("binary", labels, p, ids, bins=4_096)[0]
        return sum(h.keys.nbytes + h.counts.nbytes for h in (*found.scores, *found.replicate_scores))

    assert size(200_000) < 1.5 * size(20_000)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_predictions_that_are_all_equal(p):
    labels = np.array([0.0, 1, 1, 0, 1] * 20)
    found = counted("binary", labels, np.full(100, p, np.float32), np.arange(100))[0].values()
    assert found["auc"][0] == 0.5
    assert found["pr_auc"][0] == pytest.approx(0.6)
    assert found["log_loss"][0] == pytest.approx(sk.log_loss(labels, np.full(100, p, np.float32)), rel=1e-5)
    assert found["accuracy"][0] == pytest.approx(0.6 if p > 0.5 else 0.4)
