"""Drift is what TFDV, and with it the DataGate, says it is."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.tfdv_import import tfdv
from pipeline.lineage import drift

CHANCE = np.random.default_rng(1)
NUMBERS: dict[str, tuple[Any, Any]] = {
    "two normals": (CHANCE.normal(size=900), CHANCE.normal(0.5, 2, size=700)),
    "the same": (np.arange(50.0), np.arange(50.0)),
    "whole numbers": (CHANCE.integers(0, 5, 500), CHANCE.integers(3, 9, 400)),
    "two points": (np.ones(100), np.ones(50) * 2),
    "one point": (np.ones(100), np.ones(50)),
    "a point and a spread": (np.zeros(100), CHANCE.normal(size=70)),
    "not a number": (np.array([math.nan, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])),
    "infinite": (np.array([math.inf, 1.0, 2.0, 3.0]), np.array([-math.inf, 2.0, 3.0, 4.0])),
    "far apart": (np.arange(0.0, 10), np.arange(100.0, 110)),
}
TEXTS: dict[str, tuple[Any, Any]] = {
    "a value gone": (list("aabbc"), list("aabbd") * 3),
    "the same": (list("ab"), list("ab")),
    "nothing in common": (list("aa"), list("bc")),
}


def columns(before: Sequence[Any], after: Sequence[Any]) -> tuple[Any, Any]:
    return tuple(tfdv.generate_statistics_from_dataframe(pd.DataFrame({"x": values})) for values in (before, after))  # type: ignore[return-value]


def by_tfdv(before: Any, after: Any) -> float:
    """What TFDV measures when it looks for drift."""
    schema = tfdv.infer_schema(before)
    comparator = schema.feature[0].drift_comparator
    is_text = before.datasets[0].features[0].type == statistics_pb2.FeatureNameStatistics.STRING
    (comparator.infinity_norm if is_text else comparator.jensen_shannon_divergence).threshold = 0
    anomalies = tfdv.validate_statistics(after, schema, previous_statistics=before)
    return float(anomalies.drift_skew_info[0].drift_measurements[0].value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("values", [*NUMBERS.values(), *TEXTS.values()], ids=[*NUMBERS, *(f"text: {t}" for t in TEXTS)])
def test_it_is_what_tfdv_measures(values: tuple[Any, Any]) -> None:
    before, after = columns(*values)
    measured = drift.distance(before.datasets[0].features[0], after.datasets[0].features[0])
    assert measured is not None
    assert measured[1] == pytest.approx(by_tfdv(before, after), abs=1e-9)
    assert 0 <= measured[1] <= 1


def test_numbers_and_texts_have_no_distance() -> None:
    before, after = (statistics_pb2.FeatureNameStatistics() for _ in range(2))
    before.num_stats.mean = 1
    after.string_stats.unique = 1
    assert drift.distance(before, after) is None


def test_a_column_without_a_value_has_no_distance() -> None:
    before, after = (statistics_pb2.FeatureNameStatistics() for _ in range(2))
    before.string_stats.unique = after.string_stats.unique = 0
    assert drift.distance(before, after) is None
    before, after = (statistics_pb2.FeatureNameStatistics() for _ in range(2))
    for found in (before, after):
        found.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    assert drift.distance(before, after) is None


def test_the_value_whose_share_moved_most() -> None:
    assert drift.largest_shift({"a": 0.5, "b": 0.5}, {"a": 0.1, "b": 0.6, "c": 0.3}) == ("a", pytest.approx(-0.4))
    assert drift.largest_shift({}, {"a": 1.0}) is None
