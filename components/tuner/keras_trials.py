"""Trials of Keras: many trainings, none of which is written, on rows that are read and transformed once."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.errors import StepError
from components.step_config import parse
from components.tuner.families import Task, Trials
from components.tuner.spaces import Choice, Parameters, Range, Space, read_space
from components.tuner.study import Objective, Outcome, Report

if TYPE_CHECKING:
    from components.keras_trainer.training import TrainingConfig

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


def prepare(task: Task, space: Mapping[str, Any]) -> Trials:
    """Checks the trainer's configuration and every bound of the space; no row is read.

    Raises:
      StepError: something does not fit, or there is no transform.
    """
    from components.keras_trainer import library
    from components.keras_trainer.default_model import Architecture
    from components.keras_trainer.fitting import METRICS
    from components.keras_trainer.models import Optimisation
    from components.keras_trainer.training import TrainingConfig, train_on
    from components.keras_trainer.training_data import TrainingData

    config = parse(TrainingConfig, json.dumps(dict(task.trainer)), "Tuner: trainer")
    metric = METRICS[task.importances.task]
    _check(task, metric)
    usual, defaults = OF_TRAINING, vars(Optimisation())
    if not config.module:
        usual, defaults = {**usual, **OF_DEFAULT_MODEL}, {**defaults, **vars(Architecture())}
    searched = read_space(space, Parameters(() if config.module else tuple(defaults), WHOLE)) if space else usual
    _check_bounds(config, searched)

    @contextmanager
    def opened() -> Iterator[Objective]:
        library.load_tensorflow()
        library.set_threads(config.threads)
        data = TrainingData.read(task.table, task.importances, task.transform_graph, config.memory)

        def objective(parameters: dict[str, Any], report: Report) -> Outcome:
            done = train_on(data, config.with_parameters(parameters), "", report=report)
            return Outcome(done.score, done.epochs)

        yield objective

    return Trials(
        space=searched,
        own={name: _plain(value) for name, value in {**defaults, **config.parameters}.items()},
        metric=metric,
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


def _check_bounds(config: "TrainingConfig", space: Space) -> None:
    from components.keras_trainer.default_model import architecture
    from components.keras_trainer.models import Optimisation

    of_training = vars(Optimisation())
    for name, part in space.items():
        for value in part.extremes:
            parameters = {**config.parameters, name: value}
            Optimisation.of(parameters)
            if not config.module:
                architecture({name: value for name, value in parameters.items() if name not in of_training})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
