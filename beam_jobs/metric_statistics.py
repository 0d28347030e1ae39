"""Sufficient statistics of predictions and labels: what a metric needs to know of rows, added up.

The statistics of two sets of rows merge into those of their union, whatever the batches and the order
(floating-point sums up to rounding). Their size depends on bins, replicates and classes, never on rows.
Everything is kept `width` times over: for each of the jackknife's groups, or each of the bootstrap's resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from beam_jobs.intervals import Groups, Replicates
from beam_jobs.jackknife import SETS
from beam_jobs.score_histogram import (
    KEY_BITS,
    Floats,
    Ints,
    ScoreHistogram,
    auc,
    auc_error,
    average_precision,
    average_precision_error,
    interpolated_average_precision,
    score_keys,
)

CALIBRATION_BINS = 15
OVERALL_BINS, SLICE_BINS = 65_536, 32_768
"""Average precision, the most sensitive to binning, is off by about 1/bins: 5e-5 with 32,768 and 1% positives."""
_FEWEST_BINS = 1_024
_REPLICATE_CELLS, _FEWEST_REPLICATE_BINS = 20_480, 128
"""Of the coarser histograms that intervals need: about how many cells, and the least bins."""


@dataclass(frozen=True)
class Rows:
    """Labelled rows and where each is counted.

    Attributes:
      labels: (rows,) a class's code or, for a regression, the value.
      predictions: (rows,) or (rows, classes), see `Scorer.predict`.
      replicates: what the intervals need to know of each row.
      slices: (rows,) the slice's number.
      slice_count: how many slices there are.
      most_bins: the most bins of a slice's score histogram.
    """

    labels: Floats
    predictions: npt.NDArray[np.float32]
    replicates: Replicates
    slices: Ints
    slice_count: int
    most_bins: int = OVERALL_BINS

    @classmethod
    def of_groups(cls, labels: Floats, predictions: npt.NDArray[np.float32], groups: Ints) -> "Rows":
        """Rows without slices, in groups of the jackknife."""
        return cls(labels, predictions, Groups(groups), np.zeros(len(labels), np.int64), 1)

    def sums(self, *weights: Floats, keys: Ints | int = 0, size: int = 1) -> Floats:
        """Adds up weights: (slices, width, size, weights); `keys` says where in `size` a row falls."""
        added = self.replicates.sums(self.slices * size + keys, self.slice_count * size, *weights)
        return np.moveaxis(added.reshape(self.slice_count, size, self.replicates.width, len(weights)), 1, 2)


@dataclass(frozen=True)
class ClassificationStatistics:
    """What the metrics of a binary or multi-class model need.

    Attributes:
      rows: labelled rows.
      classes: (width, classes, 3) rows that are of the class and predicted so, predicted so, of the class.
      losses: (width,) sum of -log of the label's probability.
      calibration: (width, CALIBRATION_BINS, 3) rows, sum of probabilities, sum of hits; by probability of the
        positive class, or, multi-class, of the class predicted.
      scores: for the positive class, or each class against the rest: by score, counts of (negative, positive).
      replicate_scores: coarser, counts by (width, negative or positive), for the intervals.
    """

    rows: int
    classes: Floats
    losses: Floats
    calibration: Floats
    scores: tuple[ScoreHistogram, ...]
    replicate_scores: tuple[ScoreHistogram, ...]

    def merge(self, other: "ClassificationStatistics") -> "ClassificationStatistics":
        """The statistics of both sets of rows."""
        return ClassificationStatistics(
            self.rows + other.rows,
            self.classes + other.classes,
            self.losses + other.losses,
            self.calibration + other.calibration,
            tuple(a.merge(b) for a, b in zip(self.scores, other.scores, strict=True)),
            tuple(a.merge(b) for a, b in zip(self.replicate_scores, other.replicate_scores, strict=True)),
        )

    def values(self, sets: Floats = SETS) -> dict[str, Floats]:
        """Each metric on each of `sets` (see `intervals`), (sets,); NaN where it is undefined."""
        rows = sets @ self.classes[:, :, 2].sum(axis=1)
        hits, predicted, actual = np.moveaxis(np.tensordot(sets, self.classes, axes=1), 2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            common = {
                **self._areas(sets),
                "log_loss": sets @ self.losses / rows,
                "accuracy": hits.sum(axis=1) / rows,
                "calibration_error": self._calibration_errors(sets) / rows,
            }
            if len(self.scores) == 1:
                mean = sets @ self.calibration[:, :, 1].sum(axis=1) / rows
                rate = actual[:, 1] / rows
                return {**common, "base_rate": rate, "mean_prediction": mean, "calibration": mean / rate}
            # As scikit-learn's: the mean over the classes that are a label or a prediction of some row.
            f1 = np.nanmean(2 * hits / np.where(predicted + actual > 0, predicted + actual, np.nan), axis=1)
            return {**common, "macro_f1": f1}

    def errors(self) -> dict[str, float]:
        """By how much binning scores can have moved a metric at the most; absent where nothing was binned."""
        if not any(scores.level for scores in self.scores):
            return {}
        if len(self.scores) > 1:
            return {"macro_auc": float(np.mean([auc_error(*_by_class(scores))[0] for scores in self.scores]))}
        counts = _by_class(self.scores[0])
        return {"auc": float(auc_error(*counts)[0]), "pr_auc": float(average_precision_error(*counts)[0])}

    def _calibration_errors(self, sets: Floats) -> Floats:
        _, predicted, hit = np.moveaxis(np.tensordot(sets, self.calibration, axes=1), 2, 0)
        errors: Floats = np.abs(predicted - hit).sum(axis=1)
        return errors

    def _areas(self, sets: Floats) -> dict[str, Floats]:
        """All rows from the fine histogram, the replicates from the coarse one."""
        counts = [
            (_by_class(fine), _by_class(coarse, sets[1:]))
            for fine, coarse in zip(self.scores, self.replicate_scores, strict=True)
        ]

        def each(area: Callable[[Floats, Floats], Floats]) -> Floats:
            mean: Floats = np.mean([np.append(area(*fine), area(*coarse)) for fine, coarse in counts], axis=0)
            return mean

        if len(self.scores) > 1:
            return {"macro_auc": each(auc)}
        interpolated = each(interpolated_average_precision)
        return {"auc": each(auc), "pr_auc": each(average_precision), "auc_precision_recall": interpolated}


def _by_class(histogram: ScoreHistogram, sets: Floats = np.ones((1, 1))) -> tuple[Floats, Floats]:  # noqa: B008
    """Negatives and positives by bin and by set: (bins, sets)."""
    counts = histogram.counts.reshape(-1, sets.shape[1], 2).astype(np.float64)
    return counts[:, :, 0] @ sets.T, counts[:, :, 1] @ sets.T


def binary_statistics(rows: Rows) -> list[ClassificationStatistics]:
    """The statistics of each slice; the predictions are the probability of class 1, predicted when above a half."""
    p = rows.predictions.astype(np.float64)
    positive = rows.labels == 1
    loss = _log_losses(np.where(positive, p, 1 - p))
    hits = _class_sums(rows, rows.labels.astype(np.int64), (p > 0.5).astype(np.int64), 2)
    calibration = rows.sums(np.ones_like(p), p, positive.astype(float), keys=_bins(p), size=CALIBRATION_BINS)
    scores = _histograms(rows, rows.predictions, positive, 1)
    return _sliced(rows, hits, rows.sums(loss)[:, :, 0, 0], calibration, [scores])


def multiclass_statistics(rows: Rows) -> list[ClassificationStatistics]:
    """The statistics of each slice; the predictions are a probability a class, the likeliest is the predicted one."""
    count = rows.predictions.shape[1]
    actual = rows.labels.astype(np.int64)
    predicted = rows.predictions.argmax(axis=1)
    confidence = rows.predictions.max(axis=1).astype(np.float64)
    right = (predicted == actual).astype(np.float64)
    own = np.take_along_axis(rows.predictions, actual[:, None], axis=1)[:, 0].astype(np.float64)
    calibration = rows.sums(np.ones_like(right), confidence, right, keys=_bins(confidence), size=CALIBRATION_BINS)
    scores = [_histograms(rows, rows.predictions[:, k], actual == k, count) for k in range(count)]
    hits = _class_sums(rows, actual, predicted, count)
    return _sliced(rows, hits, rows.sums(_log_losses(own))[:, :, 0, 0], calibration, scores)


def _sliced(
    rows: Rows,
    classes: Floats,
    losses: Floats,
    calibration: Floats,
    scores: Sequence[list[tuple[ScoreHistogram, ScoreHistogram]]],
) -> list[ClassificationStatistics]:
    counts = np.bincount(rows.slices, minlength=rows.slice_count).tolist()
    return [
        ClassificationStatistics(
            counts[s],
            classes[s],
            losses[s],
            calibration[s],
            tuple(of_class[s][0] for of_class in scores),
            tuple(of_class[s][1] for of_class in scores),
        )
        for s in range(rows.slice_count)
    ]


def _log_losses(probabilities: Floats) -> Floats:
    """Clipped by the resolution of float32 as scikit-learn's `log_loss` clips it, so that it stays finite."""
    resolution = float(np.finfo(np.float32).eps)
    return -np.log(np.clip(probabilities, resolution, 1 - resolution))


def _bins(probabilities: Floats) -> Ints:
    return np.minimum((probabilities * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def _class_sums(rows: Rows, actual: Ints, predicted: Ints, count: int) -> Floats:
    one = np.ones(len(actual))
    right = rows.sums((actual == predicted).astype(float), one, keys=actual, size=count)
    guessed = rows.sums(one, keys=predicted, size=count)
    return np.concatenate([right[..., :1], guessed, right[..., 1:]], axis=-1)


def _histograms(
    rows: Rows, scores: npt.NDArray[np.float32], positive: npt.NDArray[np.bool_], classes: int
) -> list[tuple[ScoreHistogram, ScoreHistogram]]:
    """For each slice a fine histogram and one by replicate. One sort serves them all."""
    most = max(rows.most_bins // classes, _FEWEST_BINS)
    coarse = max(_REPLICATE_CELLS // (2 * rows.replicates.width), _FEWEST_REPLICATE_BINS)
    row_bits = max(len(scores) - 1, 1).bit_length()
    packed = (rows.slices << KEY_BITS) | score_keys(scores)
    packed = np.sort((packed << row_bits) | np.arange(len(scores)))
    order = packed & ((1 << row_bits) - 1)
    packed >>= row_bits
    ends = np.searchsorted(packed >> KEY_BITS, np.arange(rows.slice_count + 1))
    keys, classified = packed & ((1 << KEY_BITS) - 1), positive[order].astype(np.int64)
    spans = [slice(start, end) for start, end in pairwise(ends)]
    return [
        (
            ScoreHistogram.of_sorted(keys[span], classified[span], 2, most),
            _replicated(keys[span], classified[span], rows.replicates.take(order[span]), min(most, coarse)),
        )
        for span in spans
    ]


def _replicated(keys: Ints, positive: Ints, replicates: Replicates, most: int) -> ScoreHistogram:
    def count(bins: Ints, length: int) -> Ints:
        counts = replicates.sums(bins * 2 + positive, length * 2).reshape(length, 2, replicates.width)
        return np.swapaxes(counts, 1, 2).reshape(length, 2 * replicates.width).astype(np.int64)

    return ScoreHistogram.of_counted(keys, count, most)


@dataclass(frozen=True)
class RegressionStatistics:
    """What the metrics of a regression need.

    Attributes:
      rows: labelled rows.
      counts: (width,) rows.
      means: (width,) mean label.
      squares: (width,) sum of the labels' squared distances from their mean.
      sums: (width, 3) of prediction - label, of its absolute value and of its square.
    """

    rows: int
    counts: Floats
    means: Floats
    squares: Floats
    sums: Floats

    def merge(self, other: "RegressionStatistics") -> "RegressionStatistics":
        """The statistics of both sets of rows.

        Means and squares by Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37 (1983): no cancellation where the labels are far from zero.
        """
        counts = self.counts + other.counts
        share = np.divide(other.counts, counts, out=np.zeros_like(counts), where=counts > 0)
        apart = other.means - self.means
        return RegressionStatistics(
            self.rows + other.rows,
            counts,
            self.means + apart * share,
            self.squares + other.squares + apart**2 * self.counts * share,
            self.sums + other.sums,
        )

    def values(self, sets: Floats = SETS) -> dict[str, Floats]:
        """Each metric on each of `sets` (see `intervals`), (sets,); NaN where it is undefined."""
        rows = sets @ self.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            error, absolute, square = (sets @ self.sums / rows[:, None]).T
            mean = sets @ (self.counts * self.means) / rows
            between = (sets * self.counts * (self.means[None, :] - mean[:, None]) ** 2).sum(axis=1)
            variance = (sets @ self.squares + between) / rows
            # A variance within the rounding of the labels themselves is that of a constant.
            varies = variance > (np.finfo(np.float64).eps * np.abs(mean)) ** 2
            r2 = np.where(varies, 1 - square / variance, np.nan)
            calibration = (mean + error) / mean
        return {
            "rmse": np.sqrt(square),
            "mae": absolute,
            "r2": r2,
            "mean_error": error,
            "mean_label": mean,
            "mean_prediction": mean + error,
            "mean_squared_error": square,
            "calibration": calibration,
        }

    def errors(self) -> dict[str, float]:
        """Nothing is binned."""
        return {}


def regression_statistics(rows: Rows) -> list[RegressionStatistics]:
    """The statistics of each slice. Labels count from their slice's mean, so that nothing cancels."""
    labels = rows.labels.astype(np.float64)
    error = rows.predictions.astype(np.float64) - labels
    within = np.bincount(rows.slices, minlength=rows.slice_count)
    totals = np.bincount(rows.slices, labels, minlength=rows.slice_count)
    origins = np.divide(totals, within, out=np.zeros(rows.slice_count), where=within > 0)
    apart = labels - origins[rows.slices]
    added = rows.sums(np.ones_like(labels), apart, apart**2, error, np.abs(error), error**2)[:, :, 0]
    counts = added[..., 0]
    shifts = np.divide(added[..., 1], counts, out=np.zeros_like(counts), where=counts > 0)
    squares = np.maximum(added[..., 2] - counts * shifts**2, 0)
    means = origins[:, None] + shifts
    return [
        RegressionStatistics(int(within[s]), counts[s], means[s], squares[s], added[s, :, 3:])
        for s in range(rows.slice_count)
    ]


SliceStatistics = ClassificationStatistics | RegressionStatistics
