"""How far two distributions of a column lie apart, from 0 (the same) to 1 (nothing in common), as TFDV has it."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

JENSEN_SHANNON, LARGEST_SHIFT, MISSING = "Jensen-Shannon divergence", "largest change of a value's share", "missing"


def distance(before: Any, after: Any) -> tuple[str, float] | None:
    """The measure for the column's kind and its value; nothing where the two are not of one kind, or empty.

    Args:
      before: a `FeatureNameStatistics`.
      after: another.
    """
    kinds = {found.WhichOneof("stats") for found in (before, after)}
    if kinds == {"num_stats"}:
        histograms = [_standard_histogram(found.num_stats) for found in (before, after)]
        found = None if None in histograms else jensen_shannon(*histograms)
        return None if found is None else (JENSEN_SHANNON, found)
    if kinds == {"string_stats"}:
        moved = largest_shift(value_shares(before), value_shares(after))
        return (LARGEST_SHIFT, abs(moved[1])) if moved else None
    return None


def value_shares(found: Any) -> dict[str, float]:
    """The share of each value that a text column's statistics list."""
    counts = {bucket.label: bucket.sample_count for bucket in found.string_stats.rank_histogram.buckets}
    total = sum(counts.values())
    return {value: count / total for value, count in counts.items()} if total else {}


def largest_shift(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, float] | None:
    """The value whose share changed most, and by how much; nothing where a side has no value."""
    if not before or not after:
        return None
    moved = {value: after.get(value, 0.0) - before.get(value, 0.0) for value in sorted(before.keys() | after.keys())}
    value = max(moved, key=lambda value: abs(moved[value]))
    return value, moved[value]


def missing_share(found: Any) -> float:
    """The share of rows without a value."""
    common = getattr(found, found.WhichOneof("stats")).common_stats if found.WhichOneof("stats") else None
    rows = common.num_missing + common.num_non_missing if common else 0
    return common.num_missing / rows if common and rows else 0.0


def jensen_shannon(before: Any, after: Any) -> float | None:
    """The Jensen-Shannon divergence, to base 2, of two histograms; nothing where one of them is empty.

    Both are cut at the boundaries of either, with the values of a bucket spread evenly over it; a single point, an
    infinite bucket and NaN are buckets of their own, the last two never shared.
    """
    cuts = sorted(
        {edge for histogram in (before, after) for b in _wide(histogram) for edge in (b.low_value, b.high_value)}
    )
    points = sorted({b.low_value for histogram in (before, after) for b in _points(histogram)})
    p, q = (_masses(histogram, cuts, points) for histogram in (before, after))
    alone = [_infinite(before), 0.0, before.num_nan, 0.0], [0.0, _infinite(after), 0.0, after.num_nan]
    return _divergence([*p, *alone[0]], [*q, *alone[1]])


def _divergence(p: list[float], q: list[float]) -> float | None:
    totals = sum(p), sum(q)
    if not all(totals):
        return None
    shares = [(a / totals[0], b / totals[1]) for a, b in zip(p, q, strict=True)]
    found = sum(_half(a, b) + _half(b, a) for a, b in shares)
    return min(1.0, max(0.0, found))


def _half(share: float, other: float) -> float:
    return share / 2 * math.log2(2 * share / (share + other)) if share > 0 else 0.0


def _masses(histogram: Any, cuts: list[float], points: list[float]) -> list[float]:
    """Counts between consecutive cuts, then at the points."""
    index = {cut: place for place, cut in enumerate(cuts)}
    wide = [0.0] * max(0, len(cuts) - 1)
    for bucket in _wide(histogram):
        width = bucket.high_value - bucket.low_value
        first, last = index[bucket.low_value], index[bucket.high_value]
        for place, (low, high) in enumerate(pairwise(cuts[first : last + 1]), first):
            wide[place] += bucket.sample_count * (high - low) / width
    at = dict.fromkeys(points, 0.0)
    for bucket in _points(histogram):
        at[bucket.low_value] += bucket.sample_count
    return [*wide, *at.values()]


def _wide(histogram: Any) -> list[Any]:
    return [b for b in histogram.buckets if _is_finite(b) and b.low_value != b.high_value]


def _points(histogram: Any) -> list[Any]:
    return [b for b in histogram.buckets if _is_finite(b) and b.low_value == b.high_value]


def _infinite(histogram: Any) -> float:
    return float(sum(b.sample_count for b in histogram.buckets if not _is_finite(b)))


def _is_finite(bucket: Any) -> bool:
    return math.isfinite(bucket.low_value) and math.isfinite(bucket.high_value)


def _standard_histogram(numbers: Any) -> Any:
    standard = statistics_pb2.Histogram.STANDARD
    return next((found for found in numbers.histograms if found.type == standard), None)
