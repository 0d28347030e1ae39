"""What each column is worth to a model: its share of the gain, and what shuffling it costs on held-out rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from components.encoding import Floats
from components.feature_selector.metrics import Metric, metric_of, score
from components.model_contract import ModelContract
from components.trainer.parameters import resolve_params

ROUNDS = 200
PATIENCE = 15
FULL_PERMUTATION_FEATURES = 60
LEAST_PERMUTED_ROWS = 2_000


@dataclass(frozen=True)
class Worth:
    """What one column is worth.

    Attributes:
      gain: share of the model's total gain.
      mean: mean loss of the metric over the shuffles; 0 for a column that the model never used.
      std: spread of that loss.
    """

    gain: float
    mean: float
    std: float


@dataclass(frozen=True)
class Rows:
    """Encoded rows: values of shape (rows, features), labels of shape (rows,)."""

    values: Floats
    labels: Floats


@dataclass(frozen=True)
class Measuring:
    """How to measure: XGBoost's threads, the seed of the shuffles, and how often each column is shuffled."""

    threads: int
    seed: int
    repeats: int


def worth_of(contract: ModelContract, train: Rows, held_out: Rows, settings: Measuring) -> tuple[list[Worth], Metric]:
    """Trains a model on all features and measures each of them, in the contract's order."""
    booster = _fit(contract, train, held_out, settings)
    gains = booster.get_score(importance_type="total_gain")
    gain = np.array([gains.get(f"f{place}", 0.0) for place in range(len(contract.features))])
    metric = metric_of(contract.task, held_out.labels)
    used = [int(place) for place in np.flatnonzero(gain)]
    losses = _losses(booster, metric, _fewer(held_out, len(used)), used, settings)
    shares = gain / gain.sum() if gain.sum() > 0 else gain
    worths = [
        Worth(float(shares[place]), float(losses[place].mean()), float(losses[place].std()))
        if place in losses
        else Worth(0.0, 0.0, 0.0)
        for place in range(len(gain))
    ]
    return worths, metric


def _fit(contract: ModelContract, train: Rows, held_out: Rows, settings: Measuring) -> Any:
    params = resolve_params({}, contract.task, len(contract.classes)) | {
        "nthread": settings.threads,
        "seed": settings.seed,
    }
    shared = {"feature_types": contract.feature_types, "enable_categorical": True, "nthread": settings.threads}
    matrix = xgboost.QuantileDMatrix(train.values, train.labels, **shared)
    check = xgboost.QuantileDMatrix(held_out.values, held_out.labels, ref=matrix, **shared)
    stop = xgboost.callback.EarlyStopping(rounds=PATIENCE, save_best=True)
    return xgboost.train(params, matrix, ROUNDS, evals=[(check, "eval")], callbacks=[stop], verbose_eval=False)


def _fewer(held_out: Rows, used: int) -> Rows:
    """Every n-th row only, where there are many features to shuffle: the time does not grow with their square."""
    step = min(-(-used // FULL_PERMUTATION_FEATURES), max(1, len(held_out.labels) // LEAST_PERMUTED_ROWS))
    return held_out if step <= 1 else Rows(held_out.values[::step].copy(), held_out.labels[::step])


def _losses(
    booster: Any, metric: Metric, held_out: Rows, used: list[int], settings: Measuring
) -> dict[int, np.ndarray[Any, np.dtype[np.float64]]]:
    """Loss of the metric for each shuffle of each used feature: shape (repeats,) by the feature's place."""
    values = np.ascontiguousarray(held_out.values)
    base = score(metric, held_out.labels, booster.inplace_predict(values))
    losses = {}
    for place in used:
        rng = np.random.default_rng([settings.seed, place])
        original = values[:, place].copy()
        scores = []
        for _ in range(settings.repeats):
            values[:, place] = rng.permutation(original)
            scores.append(score(metric, held_out.labels, booster.inplace_predict(values)))
        values[:, place] = original
        losses[place] = base - np.array(scores)
    return losses
