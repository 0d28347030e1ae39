"""Sufficient statistics of predictions and labels: what a metric needs to know of rows, added up.

The statistics of two sets of rows merge into those of their union, whatever the batches and the order
(floating-point sums up to rounding). Their size depends on bins, groups and classes, never on rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from beam_jobs.jackknife import GROUPS, SETS
from beam_jobs.score_histogram import (
    KEY_BITS,
    Floats,
    Ints,
    ScoreHistogram,
    auc,
    auc_error,
    average_precision,
    average_precision_error,
    score_keys,
)

CALIBRATION_BINS = 15
_CELL_BITS = (2 * GROUPS).bit_length()
OVERALL_BINS, SLICE_BINS = 65_536, 32_768
"""Average precision, the most sensitive to binning, is off by about 1/bins: 5e-5 with 32,768 and 1% positives."""
_FEWEST_BINS, _GROUP_BINS = 1_024, 512


@dataclass(frozen=True)
class Rows:
    """Labelled rows and where each is counted.

    Attributes:
      labels: (rows,) a class's code or, for a regression, the value.
      predictions: (rows,) or (rows, classes), see `Scorer.predict`.
      groups: (rows,) the jackknife's group.
      slices: (rows,) the slice's number.
      slice_count: how many slices there are.
      most_bins: the most bins of a slice's score histogram.
    """

    labels: Floats
    predictions: npt.NDArray[np.float32]
    groups: Ints
    slices: Ints
    slice_count: int
    most_bins: int = OVERALL_BINS

    def sums(self, *weights: Floats, keys: Ints | int = 0, size: int = 1) -> Floats:
        """Adds up weights: (slices, GROUPS, size, weights); `keys` says where in `size` a row falls."""
        cells = (self.slices * GROUPS + self.groups) * size + keys
        length = self.slice_count * GROUPS * size
        added: list[Floats] = [np.bincount(cells, weight, minlength=length).astype(np.float64) for weight in weights]
        return np.stack(added, axis=-1).reshape(self.slice_count, GROUPS, size, len(weights))


@dataclass(frozen=True)
class ClassificationStatistics:
    """What the metrics of a binary or multi-class model need.

    Attributes:
      classes: (GROUPS, classes, 3) rows that are of the class and predicted so, predicted so, of the class.
      losses: (GROUPS,) sum of -log of the label's probability.
      calibration: (GROUPS, CALIBRATION_BINS, 3) rows, sum of probabilities, sum of hits; by probability of the
        positive class, or, multi-class, of the class predicted.
      scores: for the positive class, or each class against the rest: by score, counts of (negative, positive).
      group_scores: coarser, counts by (group, negative or positive), for the intervals.
    """

    classes: Floats
    losses: Floats
    calibration: Floats
    scores: tuple[ScoreHistogram, ...]
    group_scores: tuple[ScoreHistogram, ...]

    @property
    def rows(self) -> int:
        """Labelled rows."""
        return int(self.classes[:, :, 2].sum())

    def merge(self, other: "ClassificationStatistics") -> "ClassificationStatistics":
        """The statistics of both sets of rows."""
        return ClassificationStatistics(
            self.classes + other.classes,
            self.losses + other.losses,
            self.calibration + other.calibration,
            tuple(a.merge(b) for a, b in zip(self.scores, other.scores, strict=True)),
            tuple(a.merge(b) for a, b in zip(self.group_scores, other.group_scores, strict=True)),
        )

    def values(self) -> dict[str, Floats]:
        """Each metric on each of `jackknife.SETS`, (1 + GROUPS,); NaN where it is undefined."""
        rows = SETS @ self.classes[:, :, 2].sum(axis=1)
        hits, predicted, actual = np.moveaxis(np.tensordot(SETS, self.classes, axes=1), 2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            common = {
                "log_loss": SETS @ self.losses / rows,
                "accuracy": hits.sum(axis=1) / rows,
                "calibration_error": self._calibration_errors() / rows,
            }
            if len(self.scores) == 1:
                mean = SETS @ self.calibration[:, :, 1].sum(axis=1) / rows
                return {**self._areas(), **common, "base_rate": actual[:, 1] / rows, "mean_prediction": mean}
            # As scikit-learn's: the mean over the classes that are a label or a prediction of some row.
            f1 = np.nanmean(2 * hits / np.where(predicted + actual > 0, predicted + actual, np.nan), axis=1)
            return {**self._areas(), **common, "macro_f1": f1}

    def errors(self) -> dict[str, float]:
        """By how much binning scores can have moved a metric at the most; absent where nothing was binned."""
        if not any(scores.level for scores in self.scores):
            return {}
        if len(self.scores) > 1:
            return {"macro_auc": float(np.mean([auc_error(*_by_class(scores, 1))[0] for scores in self.scores]))}
        counts = _by_class(self.scores[0], 1)
        return {"auc": float(auc_error(*counts)[0]), "pr_auc": float(average_precision_error(*counts)[0])}

    def _calibration_errors(self) -> Floats:
        _, predicted, hit = np.moveaxis(np.tensordot(SETS, self.calibration, axes=1), 2, 0)
        errors: Floats = np.abs(predicted - hit).sum(axis=1)
        return errors

    def _areas(self) -> dict[str, Floats]:
        if len(self.scores) == 1:
            fine, coarse = _by_class(self.scores[0], 1), _by_class(self.group_scores[0], GROUPS)
            return {
                "auc": np.append(auc(*fine), auc(*coarse)[1:]),
                "pr_auc": np.append(average_precision(*fine), average_precision(*coarse)[1:]),
            }
        each = [
            np.append(auc(*_by_class(fine, 1)), auc(*_by_class(coarse, GROUPS))[1:])
            for fine, coarse in zip(self.scores, self.group_scores, strict=True)
        ]
        return {"macro_auc": np.mean(each, axis=0)}


def _by_class(histogram: ScoreHistogram, groups: int) -> tuple[Floats, Floats]:
    """Negatives and positives by bin and by set: (bins, 1) of all rows, or (bins, 1 + GROUPS) of `SETS`."""
    counts = histogram.counts.reshape(-1, groups, 2).astype(np.float64)
    sets = SETS.T if groups == GROUPS else np.ones((1, 1))
    return counts[:, :, 0] @ sets, counts[:, :, 1] @ sets


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
    return [
        ClassificationStatistics(
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
    """For each slice a fine histogram and one by group. One sort serves them all."""
    most = max(rows.most_bins // classes, _FEWEST_BINS)
    packed = (rows.slices << KEY_BITS) | score_keys(scores)
    packed = np.sort((packed << _CELL_BITS) | (rows.groups * 2 + positive))
    ends = np.searchsorted(packed >> (KEY_BITS + _CELL_BITS), np.arange(rows.slice_count + 1))
    keys, cells = (packed >> _CELL_BITS) & ((1 << KEY_BITS) - 1), packed & ((1 << _CELL_BITS) - 1)
    spans = [slice(start, end) for start, end in pairwise(ends)]
    return [
        (
            ScoreHistogram.of_sorted(keys[span], cells[span] & 1, 2, most),
            ScoreHistogram.of_sorted(keys[span], cells[span], 2 * GROUPS, min(most, _GROUP_BINS)),
        )
        for span in spans
    ]


@dataclass(frozen=True)
class RegressionStatistics:
    """What the metrics of a regression need.

    Attributes:
      counts: (GROUPS,) rows.
      means: (GROUPS,) mean label.
      squares: (GROUPS,) sum of the labels' squared distances from the group's mean.
      sums: (GROUPS, 3) of prediction - label, of its absolute value and of its square.
    """

    counts: Floats
    means: Floats
    squares: Floats
    sums: Floats

    @property
    def rows(self) -> int:
        """Labelled rows."""
        return int(self.counts.sum())

    def merge(self, other: "RegressionStatistics") -> "RegressionStatistics":
        """The statistics of both sets of rows.

        Means and squares by Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37 (1983): no cancellation where the labels are far from zero.
        """
        counts = self.counts + other.counts
        share = np.divide(other.counts, counts, out=np.zeros(GROUPS), where=counts > 0)
        apart = other.means - self.means
        return RegressionStatistics(
            counts,
            self.means + apart * share,
            self.squares + other.squares + apart**2 * self.counts * share,
            self.sums + other.sums,
        )

    def values(self) -> dict[str, Floats]:
        """Each metric on each of `jackknife.SETS`, (1 + GROUPS,); NaN where it is undefined."""
        rows = SETS @ self.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            error, absolute, square = (SETS @ self.sums / rows[:, None]).T
            mean = SETS @ (self.counts * self.means) / rows
            between = (SETS * self.counts * (self.means[None, :] - mean[:, None]) ** 2).sum(axis=1)
            variance = (SETS @ self.squares + between) / rows
            # A variance within the rounding of the labels themselves is that of a constant.
            varies = variance > (np.finfo(np.float64).eps * np.abs(mean)) ** 2
            r2 = np.where(varies, 1 - square / variance, np.nan)
        return {
            "rmse": np.sqrt(square),
            "mae": absolute,
            "r2": r2,
            "mean_error": error,
            "mean_label": mean,
            "mean_prediction": mean + error,
        }

    def errors(self) -> dict[str, float]:
        """Nothing is binned."""
        return {}


def regression_statistics(rows: Rows) -> list[RegressionStatistics]:
    """The statistics of each slice."""
    labels = rows.labels.astype(np.float64)
    error = rows.predictions.astype(np.float64) - labels
    added = rows.sums(np.ones_like(labels), labels, error, np.abs(error), error**2)[:, :, 0]
    counts = added[..., 0]
    means = np.divide(added[..., 1], counts, out=np.zeros_like(counts), where=counts > 0)
    squares = rows.sums((labels - means[rows.slices, rows.groups]) ** 2)[:, :, 0, 0]
    return [RegressionStatistics(counts[s], means[s], squares[s], added[s, :, 2:]) for s in range(rows.slice_count)]


SliceStatistics = ClassificationStatistics | RegressionStatistics
