import numpy as np
import pytest

from beam_jobs import jackknife
from beam_jobs.metric_statistics import Rows, binary_statistics


def test_the_groups_are_splitmix64s():
    # The first outputs of SplitMix64 seeded with 0, 1 and 2.
    outputs = [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1, 0x975835DE1C9756CE]
    assert jackknife.groups(np.arange(3)).tolist() == [output % 20 for output in outputs]


def test_groups_are_even_for_the_row_ids_of_many_chunks():
    ids = (np.arange(40)[:, None] << 32 | np.arange(1_000)).ravel()
    sizes = np.bincount(jackknife.groups(ids), minlength=jackknife.GROUPS)
    assert abs(sizes - 2_000).max() < 200


def test_the_interval_of_a_mean_is_about_its_standard_error():
    values = np.random.default_rng(0).normal(size=50_000)
    groups = jackknife.groups(np.arange(50_000))
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    half = jackknife.half_width(jackknife.SETS @ sums / (jackknife.SETS @ counts), 50_000)
    assert half == pytest.approx(jackknife.T_QUANTILE / np.sqrt(50_000), rel=0.4)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    p = rng.random(400).astype(np.float32)
    truth = np.mean([_auc(p, rng)[0] for _ in range(300)])
    covered = 0
    for _ in range(300):
        values = _auc(p, rng)
        covered += abs(values[0] - truth) <= jackknife.half_width(values, 400)
    assert 0.90 <= covered / 300 <= 0.99


def _auc(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    labels = (rng.random(len(p)) < p).astype(float)
    groups = jackknife.groups(rng.integers(0, 2**62, len(p)))
    return binary_statistics(Rows.of_groups(labels, p, groups))[0].values()["auc"]


def test_no_interval_for_few_rows_or_where_a_replicate_is_undefined():
    values = np.linspace(0, 1, 21)
    assert jackknife.half_width(values, 39) is None
    assert jackknife.half_width(np.append(values[:-1], np.nan), 1_000) is None
    assert jackknife.half_width(values, 40) > 0
