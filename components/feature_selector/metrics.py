"""Held-out scores, higher is better, in NumPy."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from components.model_contract import Task

Array = npt.NDArray[np.floating]
Metric = Literal["auc", "log loss", "rmse"]


def metric_of(task: Task, labels: Array) -> Metric:
    """AUC for a binary task where both classes are there, log loss for classes, RMSE for numbers."""
    if task == "regression":
        return "rmse"
    return "auc" if task == "binary" and 0 < labels.mean() < 1 else "log loss"


def score(metric: Metric, labels: Array, predictions: Array) -> float:
    """The metric of the predictions; log loss and RMSE with their sign turned, so that higher is better.

    Args:
      labels: shape (rows,): codes or values.
      predictions: shape (rows,), or (rows, classes) for a multi-class task.
    """
    if metric == "auc":
        return auc(labels, predictions)
    if metric == "rmse":
        return -float(np.sqrt(np.mean((labels - predictions.astype(np.float64)) ** 2)))
    both = predictions if predictions.ndim == 2 else np.column_stack([1 - predictions, predictions])
    chosen = both[np.arange(len(labels)), labels.astype(np.int64)]
    return float(np.mean(np.log(np.maximum(chosen.astype(np.float64), 1e-15))))


def ranks(values: Array) -> npt.NDArray[np.float64]:
    """Ranks from 1, equal values sharing their mean rank: shape (rows,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: npt.NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return mean_ranks[inverse]


def auc(labels: Array, predictions: Array) -> float:
    """Area under the ROC curve, by the rank-sum statistic of Mann and Whitney; ties count half."""
    positive = labels == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    rank_sum = ranks(predictions)[positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def r_squared(labels: Array, predictions: Array) -> float:
    """Share of the labels' variance that the predictions explain; 0 where there is none."""
    if not len(labels):
        return 0.0
    spread = np.sum((labels - labels.mean()) ** 2)
    return float(1 - np.sum((labels - predictions) ** 2) / spread) if spread > 0 else 0.0
