"""Trials of Keras: trainings whose models are thrown away."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from beam_jobs import storage
from components.errors import StepError
from components.step_config import parse
from components.tuner.families import Task, Trials
from components.tuner.spaces import Choice, Parameters, Range, Space, read_space
from components.tuner.study import Objective, Outcome, Report

OF_TRAINING: Space = {
    "learning_rate": Range(0.0001, 0.01, log=True),
    "batch_rows": Choice((256, 1024, 4096)),
}
OF_DEFAULT_MODEL: Space = {
    "hidden": Choice(([64], [128, 64], [256, 128], [256, 128, 64])),
    "dropout": Range(0.0, 0.5),
    "embedding": Choice((8, 16, 32)),
    "l2": Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3)),
}
WHOLE = frozenset({"batch_rows", "embedding"})
DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.001,
    "batch_rows": 1024,
    "hidden": [128, 64],
    "dropout": 0.1,
    "embedding": 16,
    "l2": 0.0,
}
"""The trainer's own, of what is searched."""


def prepare(task: Task, space: Mapping[str, Any]) -> Trials:
    """Checks the trainer's configuration and the space; no row is read.

    Raises:
      StepError: something does not fit, or there is no transform.
    """
    from components.keras_trainer.fitting import METRICS
    from components.keras_trainer.training import TrainingConfig, train

    config = parse(TrainingConfig, json.dumps(dict(task.trainer)), "Tuner: trainer")
    _check(task, METRICS[task.importances.task])
    known = () if config.module else (*OF_TRAINING, *OF_DEFAULT_MODEL, "wide")
    usual = OF_TRAINING if config.module else {**OF_TRAINING, **OF_DEFAULT_MODEL}
    searched = read_space(space, Parameters(known, WHOLE)) if space else usual

    @contextmanager
    def opened() -> Iterator[Objective]:
        disk = None if storage.is_remote(task.folder) else task.folder
        if disk is not None:
            os.makedirs(disk, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".trials-", dir=disk) as folder:

            def objective(parameters: dict[str, Any], report: Report) -> Outcome:
                own = config.with_parameters(parameters)
                done = train(task.table, task.importances, task.transform_graph, own, f"{folder}/model", report=report)
                storage.remove_tree(f"{folder}/model")
                return Outcome(done.score, done.epochs)

            yield objective

    return Trials(
        space=searched,
        own={**DEFAULTS, **config.parameters},
        metric=METRICS[task.importances.task],
        greater_is_better=False,
        unit="epoch",
        most_steps=config.epochs,
        jobs=1,
        opened=opened,
    )


def _check(task: Task, metric: str) -> None:
    if not task.transform_graph:
        raise StepError(
            "Tuner: trials of the family 'keras' need a transform graph.", "Give the Tuner the Transform's."
        )
    if task.metric not in ("", metric):
        raise StepError(f"Tuner: metric is '{task.metric}'.", f"Keras trials of this task are compared by '{metric}'.")
    if task.jobs > 1:
        raise StepError(
            f"Tuner: jobs is {task.jobs}; trials of the family 'keras' run one at a time.",
            "TensorFlow keeps one random state a process, and takes all cores for one training. Set jobs: 1.",
        )
    if task.rows:
        raise StepError(
            "Tuner: sample_rows is for trials of the family 'xgboost'.", "Lower the trainer's 'epochs' instead."
        )
