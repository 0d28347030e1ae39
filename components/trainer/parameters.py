"""XGBoost's parameters: Braid's defaults, what the task sets, and what the user may set."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

from beam_jobs.errors import listed, nearest
from components.errors import StepError
from components.model_contract import Task

DEFAULTS: dict[str, Any] = {
    "eta": 0.1,
    "max_depth": 6,
    "min_child_weight": 1.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "max_bin": 256,
}
OBJECTIVES: dict[Task, tuple[str, ...]] = {
    "binary": ("binary:logistic",),
    "multiclass": ("multi:softprob",),
    "regression": (
        "reg:squarederror",
        "reg:absoluteerror",
        "reg:pseudohubererror",
        "reg:squaredlogerror",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
    ),
}
METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("logloss", "auc", "aucpr", "error"),
    "multiclass": ("mlogloss", "merror", "auc"),
    "regression": ("rmse", "mae", "mape", "rmsle", "mphe", "poisson-nloglik", "gamma-nloglik", "gamma-deviance"),
}
TUNABLE = (
    "eta",
    "learning_rate",
    "gamma",
    "min_split_loss",
    "max_depth",
    "min_child_weight",
    "max_delta_step",
    "subsample",
    "sampling_method",
    "colsample_bytree",
    "colsample_bylevel",
    "colsample_bynode",
    "lambda",
    "reg_lambda",
    "alpha",
    "reg_alpha",
    "scale_pos_weight",
    "grow_policy",
    "max_leaves",
    "max_bin",
    "num_parallel_tree",
    "max_cat_to_onehot",
    "max_cat_threshold",
    "base_score",
    "tweedie_variance_power",
    "huber_slope",
    "objective",
    "eval_metric",
)
SYNONYMS = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}
SET_ELSEWHERE = {
    "nthread": "threads",
    "n_jobs": "threads",
    "seed": "seed",
    "random_state": "seed",
    "device": "device",
    "n_estimators": "rounds",
    "num_boost_round": "rounds",
    "early_stopping_rounds": "early_stopping_rounds",
}


def resolve_params(given: Mapping[str, Any], task: Task, classes: int) -> dict[str, Any]:
    """The parameters of a training: defaults, then the user's, then what the task sets.

    Raises:
      StepError: a name that XGBoost does not know or that is set elsewhere, an objective or a metric of another task,
        or a value that XGBoost refuses.
    """
    for name in given:
        _check_name(name)
    user = {SYNONYMS.get(name, name): value for name, value in given.items()}
    params = {"objective": OBJECTIVES[task][0], "eval_metric": METRICS[task][0], **DEFAULTS, **user}
    _check_choice("objective", params["objective"], OBJECTIVES[task], task)
    _check_choice("eval_metric", params["eval_metric"], METRICS[task], task)
    params["tree_method"] = "hist"
    if task == "multiclass":
        params["num_class"] = classes
    _try(params, classes)
    return params


def _check_name(name: str) -> None:
    if name in SET_ELSEWHERE:
        raise StepError(
            f"The Trainer's params may not hold '{name}'.", f"Set '{SET_ELSEWHERE[name]}' beside 'params' instead."
        )
    if name not in TUNABLE:
        raise StepError(
            f"XGBoost has no parameter '{name}' that can be set here.{nearest(name, TUNABLE)}",
            f"Parameters: {listed(TUNABLE, len(TUNABLE))}.",
        )


def _check_choice(name: str, value: object, allowed: tuple[str, ...], task: Task) -> None:
    if value not in allowed:
        raise StepError(
            f"The {name} '{value}' does not fit the task '{task}'.{nearest(str(value), allowed)}",
            f"For this task: {listed(allowed)}.",
        )


def _try(params: Mapping[str, Any], classes: int) -> None:
    """Trains one round on a handful of numbers, so that a bad value is found before any data is read."""
    labels = np.arange(8) % max(classes, 2)
    rows = xgboost.DMatrix(np.arange(8.0).reshape(-1, 1), labels, nthread=1)
    try:
        xgboost.train({**params, "nthread": 1, "verbosity": 0}, rows, 1)
    except (xgboost.core.XGBoostError, TypeError, ValueError) as refused:
        raise StepError(
            f"XGBoost refuses the Trainer's params: {_own_words(str(refused))}.", "Correct the value in 'params'."
        ) from refused


def _own_words(message: str) -> str:
    """What XGBoost says, without its source positions and stack."""
    lines = [line.strip() for line in message.partition("Stack trace")[0].splitlines() if line.strip()]
    return lines[0].rsplit("] ", 1)[-1].rsplit(".cc:", 1)[-1].strip() if lines else message
