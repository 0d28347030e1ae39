"""Statistics of two runs: beyond the bound is told, within it is counted, and what is gone is said."""

from pathlib import Path
from typing import Any

import pytest
from run_pairs import RunPair, told
from tensorflow_metadata.proto.v0 import statistics_pb2


def number(name: str, counts: tuple[int, ...], missing: int = 0) -> Any:
    """A column of numbers in unit buckets from 0."""
    found = statistics_pb2.FeatureNameStatistics(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    found.path.step.append(name)
    found.num_stats.mean, found.num_stats.median = float(sum(counts)), float(counts[0])
    found.num_stats.common_stats.num_missing = missing
    found.num_stats.common_stats.num_non_missing = sum(counts)
    histogram = found.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for low, count in enumerate(counts):
        histogram.buckets.add(low_value=low, high_value=low + 1, sample_count=count)
    return found


def text(name: str, **counts: int) -> Any:
    found = statistics_pb2.FeatureNameStatistics(type=statistics_pb2.FeatureNameStatistics.STRING)
    found.path.step.append(name)
    for label, count in counts.items():
        found.string_stats.rank_histogram.buckets.add(label=label, sample_count=count)
    found.string_stats.common_stats.num_non_missing = sum(counts.values())
    return found


def files(**splits: list[Any]) -> dict[str, bytes]:
    found = {}
    for split, columns in splits.items():
        statistics = statistics_pb2.DatasetFeatureStatisticsList()
        statistics.datasets.add(num_examples=10).features.extend(columns)
        found[f"Split-{split}/FeatureStats.pb"] = statistics.SerializeToString()
    return found


@pytest.fixture
def pair(tmp_path: Path) -> RunPair:
    return RunPair(tmp_path)


def statistics(pair: RunPair, before: dict[str, bytes], after: dict[str, bytes], *splits: list[str]) -> None:
    named = splits or (["train"], ["train"])
    pair.step("stats", "ExampleStatistics", *({"split_names": names} for names in named), files=(before, after))


def test_only_what_is_beyond_the_bound_is_told(pair: RunPair) -> None:
    before = files(train=[number("a", (5, 5)), number("b", (50, 50)), text("c", x=5, y=5)])
    after = files(train=[number("a", (9, 1)), number("b", (51, 49)), text("c", x=8, y=2)])
    statistics(pair, before, after)
    found = pair.diff(bound=0.1)
    assert told(found, "statistics") == [
        ("stats.out train: a", {"mean": 10.0, "median": 5.0}, {"mean": 10.0, "median": 9.0}),
        ("stats.out train: c", {"x": 0.5}, {"x": 0.8}),
    ]
    assert [(change.size, change.beyond) for change in found.changes] == [
        (pytest.approx(0.1468, abs=1e-4), True),
        (pytest.approx(0.3), True),
    ]
    assert found.compared["statistics"] == 3
    assert "stats.out train: 1 columns moved by no more than 0.1, the bound." in found.unknown


def test_the_bound_may_be_nothing(pair: RunPair) -> None:
    statistics(pair, files(train=[number("b", (50, 50))]), files(train=[number("b", (51, 49))]))
    assert len(told(pair.diff(bound=0.0), "statistics")) == 1


def test_missing_values_drift_too(pair: RunPair) -> None:
    before, after = (files(train=[number("a", (5, 5), missing=missing)]) for missing in (0, 10))
    statistics(pair, before, after)
    assert told(pair.diff(), "statistics") == [("stats.out train: a", {"missing": 0.0}, {"missing": 0.5})]


def test_columns_and_splits_that_came_and_went(pair: RunPair) -> None:
    before = files(train=[number("a", (5, 5)), number("kind", (1,))], eval=[number("a", (1,))])
    after = files(train=[text("b", x=1), text("kind", x=1)])
    statistics(pair, before, after, ["train", "eval"], ["train"])
    assert told(pair.diff(), "statistics") == [
        ("stats.out train: a", "present", None),
        ("stats.out train: kind", "num_stats", "string_stats"),
        ("stats.out train: b", None, "present"),
        ("stats.out eval", "present", None),
    ]


@pytest.mark.parametrize(
    "content", [{}, {"Split-train/FeatureStats.pb": b"\xff\xff no message"}], ids=["gone", "damaged"]
)
def test_statistics_that_cannot_be_read_are_said(pair: RunPair, content: dict[str, bytes]) -> None:
    statistics(pair, files(train=[number("a", (5, 5))]), content)
    found = pair.diff()
    assert told(found, "statistics") == []
    assert any("run-2/stats' is gone or cannot be read" in sentence for sentence in found.unknown)
