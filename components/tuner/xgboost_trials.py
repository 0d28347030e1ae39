"""Trials of XGBoost: many trainings on matrices that are built once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from components.errors import StepError
from components.importances import check_learnable
from components.pruning import PrunedError
from components.step_config import parse
from components.trainer.boosting import GREATER_IS_BETTER, Boosting, boost
from components.trainer.matrices import open_matrices
from components.trainer.parameters import SYNONYMS, TUNABLE
from components.trainer.training import TrainingConfig, training_params, wanted
from components.tuner.families import Task, Trials
from components.tuner.spaces import Parameters, Range, Space, read_space
from components.tuner.study import Objective, Outcome, Report

ROUNDS_A_REPORT = 10
FIXED = {
    "max_bin": "the matrix of the train split is built once, for all trials; set it in the trainer's 'parameters'",
    "objective": "trials could not be compared; set it in the trainer's 'parameters'",
    "eval_metric": "trials could not be compared; set 'metric' of the search",
}
DEFAULTS = {
    "lambda": 1.0,
    "alpha": 0.0,
    "gamma": 0.0,
    "max_delta_step": 0.0,
    "colsample_bylevel": 1.0,
    "colsample_bynode": 1.0,
    "grow_policy": "depthwise",
    "max_leaves": 0,
    "num_parallel_tree": 1,
    "sampling_method": "uniform",
    "scale_pos_weight": 1.0,
}
"""XGBoost's own, of what Braid leaves to it."""
PARAMETERS = Parameters(
    known=tuple(name for name in TUNABLE if name not in FIXED),
    whole=frozenset({"max_depth", "max_leaves", "num_parallel_tree", "max_cat_to_onehot", "max_cat_threshold"}),
    synonyms=SYNONYMS,
    fixed=FIXED,
)
SPACE: Space = {
    "eta": Range(0.02, 0.3, log=True),
    "max_depth": Range(3, 10, whole=True),
    "min_child_weight": Range(1.0, 64.0, log=True),
    "subsample": Range(0.5, 1.0),
    "colsample_bytree": Range(0.5, 1.0),
    "lambda": Range(0.01, 30.0, log=True),
}


def prepare(task: Task, space: Mapping[str, Any]) -> Trials:
    """Checks the trainer's configuration and every bound of the space; no row is read.

    Raises:
      StepError: XGBoost would refuse something, or the examples are no good.
    """
    config = parse(TrainingConfig, json.dumps(dict(task.trainer)), "Tuner: trainer")
    if task.metric:
        config = replace(config, params={**config.params, "eval_metric": task.metric})
    check_learnable(task.table, task.importances)
    classes = len(task.importances.classes)
    own = training_params(config, task.importances.task, classes)
    wide = read_space(space, PARAMETERS) if space else SPACE
    for name, part in wide.items():
        for value in part.extremes:
            training_params(_with(config, {name: value}), task.importances.task, classes)
    metric = str(own["eval_metric"])
    config = replace(config, threads=max(1, config.threads // task.jobs))

    @contextmanager
    def opened() -> Iterator[Objective]:
        with open_matrices(task.table, task.importances, wanted(config, own, task.folder, task.rows)) as matrices:
            # XGBoost reads pages from disk for one training at a time, and so it copies to a GPU.
            if task.jobs > 1 and (matrices.memory == "external" or own["device"] != "cpu"):
                raise StepError(
                    f"Tuner: jobs is {task.jobs}, and these trials cannot share their matrix"
                    f" ({'it lies on disk' if matrices.memory == 'external' else 'it lies on a GPU'}).",
                    "Set jobs: 1, or for the trainer memory: memory and device: cpu.",
                )

            def objective(parameters: dict[str, Any], report: Report) -> Outcome:
                params = training_params(_with(config, parameters), task.importances.task, classes)
                settings = Boosting(params, config.rounds, config.early_stopping_rounds)
                _, history = boost(settings, matrices.train, matrices.eval, _reporting(report))
                return Outcome(history[settings.best(history)], len(history))

            yield objective

    return Trials(
        space=wide,
        own=_own_values(wide, own),
        metric=metric,
        greater_is_better=metric in GREATER_IS_BETTER,
        unit="round",
        most_steps=config.rounds,
        jobs=task.jobs,
        opened=opened,
    )


def _own_values(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """What a training without a search has, by the names that the space uses."""
    known = {**DEFAULTS, **params}
    return {name: known[own] for name in space if (own := SYNONYMS.get(name, name)) in known}


def _with(config: TrainingConfig, parameters: Mapping[str, Any]) -> TrainingConfig:
    return replace(config, params={**config.params, **parameters})


def _reporting(report: Report) -> Any:
    def after_round(_: Any, history: Sequence[float]) -> None:
        if len(history) % ROUNDS_A_REPORT == 0 and report(len(history) - 1, history[-1]):
            raise PrunedError

    return after_round
