"""Leaks that can be proved: one column that alone tells the label of held-out rows."""

import numpy as np
import numpy.typing as npt

from components.encoding import Floats
from components.feature_selector.metrics import auc, r_squared, ranks
from components.model_contract import Task

ALMOST_PERFECT = 0.99
MOST_BINS = 1_000
ROWS_A_BIN = 20
LEAST_ROWS = 100
LEAST_ROWS_A_CLASS = 10


def testable(task: Task, labels: Floats) -> bool:
    """Whether there are held-out rows enough to prove a leak: 100, and in a binary task 10 of either class."""
    if task != "binary":
        return len(labels) >= LEAST_ROWS
    return len(labels) >= LEAST_ROWS and min((labels == 0).sum(), (labels == 1).sum()) >= LEAST_ROWS_A_CLASS


def leak(
    task: Task, classes: int, train: tuple[Floats, Floats], held_out: tuple[Floats, Floats], category: bool
) -> str:
    """Says how well one column alone predicts the label, where that is almost perfect; else ''.

    The column is cut into bins (a category's values, or up to 1,000 quantiles, and missing); each bin predicts its
    mean over the train rows. Almost perfect is an AUC of 0.99; 99% of the errors of always guessing the commonest
    class avoided; or for numbers an R2 of 0.99 on the ranks (so that no outlier decides), reached as well without
    the rows of the commonest value (so that telling zero from not zero is not enough).

    Args:
      train: the column, encoded, and the labels, each of shape (rows,).
      held_out: the same of rows that the means were not taken from.
    """
    (values, labels), (held_values, held_labels) = train, held_out
    bins, held_bins = _bins(values, held_values, category)
    if task == "binary":
        reached = auc(held_labels, _means(bins, labels)[held_bins])
        return f"AUC {reached:.4f}" if reached >= ALMOST_PERFECT else ""
    if task == "multiclass":
        accuracy, base = _accuracy(bins, labels, held_bins, held_labels, classes)
        return f"accuracy {accuracy:.4f}" if base < 1 and (accuracy - base) / (1 - base) >= ALMOST_PERFECT else ""
    places = ranks(np.concatenate([labels, held_labels]))
    held_places = places[len(labels) :]
    guesses = _means(bins, places[: len(labels)])[held_bins]
    uncommon = held_labels != _commonest(held_labels)
    reached = min(r_squared(held_places, guesses), r_squared(held_places[uncommon], guesses[uncommon]))
    return f"R2 {reached:.4f} on ranks" if reached >= ALMOST_PERFECT else ""


def _commonest(values: Floats) -> float:
    distinct, rows = np.unique(values, return_counts=True)
    return float(distinct[rows.argmax()])


def _bins(values: Floats, held_values: Floats, category: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The bin of each train and each held-out row; bin 0 holds the missing."""
    present = values[np.isfinite(values)]
    if category or not len(present):
        edges = np.unique(present)
    else:
        count = int(np.clip(len(present) // ROWS_A_BIN, 1, MOST_BINS))
        quantiles = np.quantile(present, np.arange(count) / count, method="lower")
        # A value that fills several quantiles gets a bin to itself, apart from those just above it.
        frequent = quantiles[1:][quantiles[1:] == quantiles[:-1]]
        edges = np.unique(np.concatenate([quantiles, np.nextafter(frequent, np.float32(np.inf))]))
    return _bin(values, edges), _bin(held_values, edges)


def _bin(values: Floats, edges: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    places = np.searchsorted(edges, values, side="right") + 1
    places[~np.isfinite(values)] = 0
    return places


def _means(bins: npt.NDArray[np.int64], labels: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Mean label of each bin, the mean of all where a bin is empty: shape (bins,)."""
    size = 2 * MOST_BINS + int(bins.max())
    rows = np.bincount(bins, minlength=size)
    sums = np.bincount(bins, labels.astype(np.float64), minlength=size)
    return np.where(rows > 0, sums / np.maximum(rows, 1), labels.mean(dtype=np.float64))


def _accuracy(
    bins: npt.NDArray[np.int64],
    labels: Floats,
    held_bins: npt.NDArray[np.int64],
    held_labels: Floats,
    classes: int,
) -> tuple[float, float]:
    """Accuracy of each bin's commonest class on the held-out rows, and that of their commonest class."""
    size = max(int(bins.max()), int(held_bins.max())) + 1
    table = np.bincount(bins * classes + labels.astype(np.int64), minlength=size * classes).reshape(size, classes)
    guesses = table.argmax(axis=1)[held_bins]
    base = np.bincount(held_labels.astype(np.int64), minlength=classes).max() / len(held_labels)
    return float(np.mean(guesses == held_labels)), float(base)
