"""XGBoost's rounds, one by one: stopped early, noted, and such that a training goes on from any round as if undisturbed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xgboost

from components.errors import DivergedError

EVAL = "eval"
GREATER_IS_BETTER = ("auc", "aucpr")
SAMPLING = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")

AfterRound = Callable[[Any, Sequence[float]], None]


@dataclass(frozen=True)
class Boosting:
    """What is to be boosted.

    Attributes:
      params: XGBoost's own, complete.
      rounds: the most.
      early_stopping_rounds: 0 for never.
    """

    params: Mapping[str, Any]
    rounds: int
    early_stopping_rounds: int

    @property
    def metric(self) -> str:
        """The metric on `eval` that tells which round is best."""
        return str(self.params["eval_metric"])

    def best(self, history: Sequence[float]) -> int:
        """The first of the best rounds, from 0; the last one where training does not stop early."""
        if not self.early_stopping_rounds:
            return len(history) - 1
        pick = max if self.metric in GREATER_IS_BETTER else min
        return history.index(pick(history))

    def is_over(self, history: Sequence[float]) -> bool:
        """Whether no further round is to be run."""
        patience = self.early_stopping_rounds
        return len(history) >= self.rounds or bool(
            patience and history and len(history) - 1 - self.best(history) >= patience
        )


@dataclass(frozen=True)
class Start:
    """Where a training goes on.

    Attributes:
      model: the booster as UBJSON.
      history: the metric on `eval` of its rounds.
    """

    model: bytes
    history: tuple[float, ...]


def boost(
    settings: Boosting, train: Any, evaluation: Any, after_round: AfterRound, start: Start | None = None
) -> tuple[Any, list[float]]:
    """Trains to the end.

    Going on from a start gives the very bytes that an undisturbed training gives: margins are computed anew in the order
    in which they were summed, and all that is drawn by lot in a round depends on the seed and the round alone.

    Args:
      settings: parameters and when to stop.
      train: the matrix of the train split.
      evaluation: that of the eval split.
      after_round: called with the booster and the metric of every round so far; what it raises ends the training.
      start: a training that was cut off.

    Returns:
      The booster with all its rounds, and the metric on `eval` of each.

    Raises:
      DivergedError: the metric is no number.
    """
    params = {**settings.params, "seed_per_iteration": True}
    draws_lots = any(float(params.get(name, 1)) < 1 for name in SAMPLING)
    booster = xgboost.Booster(params, [train, evaluation], model_file=bytearray(start.model) if start else None)
    history = list(start.history) if start else []
    while not settings.is_over(history):
        if draws_lots:
            _renew_samplers(booster, str(params["tree_method"]))
        booster.update(train, len(history))
        history.append(_metric(booster.eval_set([(evaluation, EVAL)], len(history)), settings.metric, len(history)))
        after_round(booster, history)
    return booster, history


def cut(booster: Any, settings: Boosting, history: Sequence[float]) -> Any:
    """The booster up to its best round, which it names as its attributes `best_iteration` and `best_score`."""
    best = settings.best(history)
    model = booster[: best + 1]
    model.best_iteration = best
    if settings.early_stopping_rounds:
        model.best_score = history[best]
    return model


def _renew_samplers(booster: Any, tree_method: str) -> None:
    """Makes XGBoost build its tree updaters anew, whose sampler of columns keeps a random state of its own.

    The state would be lost in a checkpoint. As it is made, it is seeded from the round's seed.
    """
    booster.set_param({"tree_method": "approx"})
    booster.save_config()  # configures
    booster.set_param({"tree_method": tree_method})


def _metric(told: str, name: str, round_: int) -> float:
    value = float(told.rsplit(":", 1)[1])
    if not math.isfinite(value):
        raise DivergedError(
            f"The metric '{name}' on '{EVAL}' is {value} in round {round_ + 1}.",
            "Does the split hold more than one class, and are its labels within what the objective allows?"
            " Else lower 'eta', or set another 'eval_metric'.",
        )
    return value
