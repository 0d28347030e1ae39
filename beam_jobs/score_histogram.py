"""Histograms of predicted probabilities from which AUC and average precision follow.

Memory is bounded, and the histogram of a set of rows is the same whatever the batches and the order of merging.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

KEY_BITS = 31
_BITS_OF_HALF = 0x3F000000


def score_keys(probabilities: npt.NDArray[np.float32]) -> Ints:
    """Integers of 31 bits, in the order of the probabilities and as fine near 1 as near 0.

    Below a half it is the float32's bit pattern, above it the mirrored pattern of 1 - p, which is exact there.
    Distinct float32 values have distinct keys.

    Args:
      probabilities: (rows,) in 0..1.
    """
    p = probabilities.astype(np.float32) + np.float32(0)  # -0.0 has a sign bit, 0.0 has none
    bits = np.minimum(p, np.float32(1) - p).view(np.int32).astype(np.int64)
    keys: Ints = np.where(p < 0.5, bits, 2 * _BITS_OF_HALF - bits)
    return keys


@dataclass(frozen=True)
class ScoreHistogram:
    """Sparse counts by score.

    Starts with a bin for each distinct score; when there would be more than `most` bins, all keys lose their last
    bit until there are not. Since a part of the rows never needs fewer bits than the whole, the result depends on
    the rows alone, not on how they were batched and merged. With at most `most` distinct scores it is exact.

    Attributes:
      most: the most bins.
      level: how many of the last bits of the keys were dropped.
      keys: (bins,) ascending, shifted right by `level`.
      counts: (bins, width) rows by bin and by whatever the columns stand for.
    """

    most: int
    level: int
    keys: Ints
    counts: Ints

    @classmethod
    def of_sorted(cls, keys: Ints, columns: Ints, width: int, most: int) -> "ScoreHistogram":
        """Counts rows.

        Args:
          keys: (rows,) of `score_keys`, ascending.
          columns: (rows,) the column of `counts` that each row falls in, 0..width-1.
        """

        def count(bins: Ints, length: int) -> Ints:
            counts = np.bincount(bins * width + columns, minlength=length * width)
            return counts.reshape(length, width).astype(np.int64, copy=False)

        return cls.of_counted(keys, count, most)

    @classmethod
    def of_counted(cls, keys: Ints, count: Callable[[Ints, int], Ints], most: int) -> "ScoreHistogram":
        """Counts rows in a way of its own.

        Args:
          keys: (rows,) of `score_keys`, ascending.
          count: given each row's bin and the number of bins, their counts: (bins, width).
        """
        level = _level_for(keys, most)
        shifted = keys >> level
        firsts = _firsts(shifted)
        return cls(most, level, shifted[firsts], count(np.cumsum(firsts) - 1, int(firsts.sum())))

    def merge(self, other: "ScoreHistogram") -> "ScoreHistogram":
        """The histogram of both sets of rows."""
        level = max(self.level, other.level)
        keys = np.concatenate([self.keys >> (level - self.level), other.keys >> (level - other.level)])
        order = np.argsort(keys, kind="stable")  # two sorted runs: a merge, not a sort
        keys, counts = keys[order], np.concatenate([self.counts, other.counts])[order]
        further = _level_for(keys, self.most)
        keys = keys >> further
        firsts = _firsts(keys)
        if len(keys):
            counts = np.add.reduceat(counts, np.flatnonzero(firsts), axis=0)
        return ScoreHistogram(self.most, level + further, keys[firsts], counts)


def _firsts(ascending: Ints) -> npt.NDArray[np.bool_]:
    """(rows,) whether each value is the first of its kind."""
    firsts = np.ones(len(ascending), bool)
    np.not_equal(ascending[1:], ascending[:-1], out=firsts[1:])
    return firsts


def _level_for(ascending: Ints, most: int) -> int:
    """The fewest last bits to drop so that at most `most` distinct keys remain.

    Neighbours stay distinct as long as their highest differing bit is kept, so one pass counts for every level.
    """
    if len(ascending) <= most:
        return 0
    differing_bits = np.frexp((ascending[1:] ^ ascending[:-1]).astype(np.float64))[1]
    by_bits = np.bincount(differing_bits, minlength=KEY_BITS + 2)
    distinct = 1 + by_bits[::-1].cumsum()[::-1][1:]
    return int(np.argmax(distinct <= most))


def auc(negatives: Floats, positives: Floats) -> Floats:
    """Area under the ROC curve: the share of (negative, positive) pairs in the right order, ties counting half.

    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic curve",
    Radiology 143 (1982).

    Args:
      negatives: (bins, sets) rows of the negative class, scores ascending.
      positives: the same of the positive class.

    Returns:
      (sets,), NaN where a class has no row.
    """
    below = np.cumsum(negatives, axis=0) - negatives / 2
    return _ratio((positives * below).sum(axis=0), positives.sum(axis=0) * negatives.sum(axis=0))


def average_precision(negatives: Floats, positives: Floats) -> Floats:
    """Area under the precision-recall curve as a step function (scikit-learn's `average_precision_score`).

    Args and result as in `auc`; NaN where there is no positive row.
    """
    true = np.cumsum(positives[::-1], axis=0)
    false = np.cumsum(negatives[::-1], axis=0)
    precision = true / np.maximum(true + false, 1)
    return _ratio((positives[::-1] * precision).sum(axis=0), positives.sum(axis=0))


def interpolated_average_precision(negatives: Floats, positives: Floats) -> Floats:
    """Area under the precision-recall curve, interpolated between scores as TensorFlow's `AUC(curve='PR')` does.

    Between two scores the true and the false positives are taken to grow together: Davis and Goadrich, "The
    Relationship Between Precision-Recall and ROC Curves", ICML 2006.

    Args and result as in `auc`; NaN where there is no positive row.
    """
    true, rows = np.cumsum(positives[::-1], axis=0), np.cumsum((positives + negatives)[::-1], axis=0)
    more, more_rows = positives[::-1], (positives + negatives)[::-1]
    slope = np.divide(more, more_rows, out=np.zeros_like(more), where=more_rows > 0)
    before = rows - more_rows
    grown = np.divide(rows, before, out=np.ones_like(rows), where=before > 0)
    area = slope * (more + (true - slope * rows) * np.log(grown))
    return _ratio(area.sum(axis=0), positives.sum(axis=0))


def auc_error(negatives: Floats, positives: Floats) -> Floats:
    """The most by which `auc` can be off if the rows of a bin were not really ties. (sets,)."""
    return _ratio((positives * negatives).sum(axis=0) / 2, positives.sum(axis=0) * negatives.sum(axis=0))


def average_precision_error(negatives: Floats, positives: Floats) -> Floats:
    """The most by which `average_precision` can be off if the rows of a bin were not really ties. (sets,)."""
    positives, negatives = positives[::-1], negatives[::-1]
    true, false = np.cumsum(positives, axis=0), np.cumsum(negatives, axis=0)
    tied = true / np.maximum(true + false, 1)
    best = true / np.maximum(true + false - negatives, 1)
    worst = (true - positives + 1) / (true - positives + 1 + false)
    off = positives * np.maximum(best - tied, tied - worst)
    return _ratio(off.sum(axis=0), positives.sum(axis=0))


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
    return ratio
