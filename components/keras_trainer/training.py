"""Trains a Keras model from Parquet examples, and exports it with its contract."""

import contextlib
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from beam_jobs import progress as listeners
from beam_jobs.table import Table
from components.errors import StepError
from components.importances import Importances
from components.keras_trainer import exporting, library
from components.keras_trainer.checkpoints import Checkpoints, Progress
from components.keras_trainer.fitting import Fitting, FittingSettings, Report
from components.keras_trainer.models import ModelSource, Optimisation
from components.keras_trainer.training_data import EVAL, TRAIN, TrainingData
from components.pruning import PrunedError
from components.step_config import one_of
from components.target import LabelCounts

ROWS_TRIED = 64
"""Rows that a new model is called with, to see that it answers as it must."""


@dataclass(frozen=True)
class TrainingConfig:
    """What the user may set of a training.

    Attributes:
      name: the model's among several; not in its files.
      module: a Python file with a model function of the user's, see `components.keras_trainer.models`; '' for the default.
      module_digest: of the file's content, so that an edited file is another training.
      function: the function's name in it.
      parameters: the model's (of the default one see `default_model.Architecture`), `learning_rate` and `batch_rows`.
      epochs: the most passes over `train`.
      early_stopping_epochs: ends after so many epochs in which the metric on `eval` did not improve; 0 for never.
      memory: 'memory' keeps the transformed rows, 'streamed' reads them anew for each epoch, 'auto' decides by size.
      device: 'cpu', 'cuda', or 'auto' for a GPU where there is one.
      threads: TensorFlow's, where it has not started in this process yet.
    """

    name: str = ""
    module: str = ""
    module_digest: str = ""
    function: str = "build_model"
    parameters: dict[str, Any] = field(default_factory=dict)
    epochs: int = 20
    early_stopping_epochs: int = 3
    memory: str = "auto"
    device: str = "auto"
    threads: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(self.memory, ("auto", "memory", "streamed"), "KerasTrainer: memory")
        one_of(self.device, ("auto", "cpu", "cuda"), "KerasTrainer: device")
        for name, least in (("epochs", 1), ("early_stopping_epochs", 0), ("threads", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise StepError(f"KerasTrainer: {name} is {getattr(self, name)}; {least} is the least.")

    def with_parameters(self, parameters: dict[str, Any]) -> "TrainingConfig":
        """The same with these parameters over its own, as a search has found them."""
        return replace(self, parameters={**self.parameters, **parameters})


@dataclass(frozen=True)
class TrainingReport:
    """What came of a training.

    Attributes:
      best_epoch: from 1; the model has its weights.
      epochs: that were run, in earlier executions too.
      resumed_epochs: of them, those that a checkpoint of an earlier execution held.
      steps: of the optimizer.
      weights: numbers that were learned.
      score: the metric on `eval` at the best epoch.
      memory: how the examples were held: 'memory' or 'streamed'.
      peak_memory: the most bytes that this process ever held.
    """

    task: str
    features: int
    best_epoch: int
    epochs: int
    resumed_epochs: int
    steps: int
    weights: int
    metric: str
    score: float
    history: tuple[float, ...]
    train: LabelCounts
    eval: LabelCounts
    parameters: dict[str, Any]
    memory: str
    device: str
    seconds: float
    peak_memory: int
    warnings: tuple[str, ...]


def train(
    table: Table,
    importances: Importances,
    transform_graph_uri: str,
    config: TrainingConfig,
    model_uri: str,
    checkpoints: str = "",
    report: Report | None = None,
    logs: str = "",
) -> TrainingReport:
    """Trains on the kept columns of `train`, stops early on `eval`, and writes a SavedModel and `contract.json`.

    Args:
      transform_graph_uri: what the Transform learned from the same columns.
      checkpoints: a folder from which it goes on where an earlier call was killed, and which is deleted as it ends;
        '' for none.
      report: told each epoch's number, from 0, and its score on `eval`; True ends the training.
      logs: a local folder for TensorBoard; '' for none.

    Raises:
      StepError: no column was kept, a split has no labelled row, the user's model does not fit, or the loss is not a number.
      PrunedError: `report` said so.
    """
    Optimisation.of(config.parameters)  # its mistakes are told before any row is read
    library.load_tensorflow()
    library.set_threads(config.threads)
    library.choose_device(config.device)
    memory = Checkpoints(checkpoints).memory or config.memory
    data = TrainingData.read(table, importances, transform_graph_uri, memory)
    return train_on(data, config, model_uri, checkpoints, report, logs)


def train_on(
    data: TrainingData,
    config: TrainingConfig,
    model_uri: str,
    checkpoints: str = "",
    report: Report | None = None,
    logs: str = "",
) -> TrainingReport:
    """Trains as `train` does, on rows that were read before.

    Args:
      model_uri: '' for a trial, of which nothing is written.
    """
    started, kept = time.monotonic(), Checkpoints(checkpoints)
    device, rows = library.choose_device(config.device), Optimisation.of(config.parameters).batch_rows
    source = ModelSource(config.module, config.function, config.parameters)
    with library.seeded(config.seed), library.on(device):
        model = source.build(data.transform, data.contract, data.start)
        source.check_answer(model, data.sample.take(slice(0, ROWS_TRIED)).inputs, data.contract)
        model.optimizer.build(model.trainable_variables)
    settings = FittingSettings(config.epochs, config.early_stopping_epochs, rows, config.seed, device, logs)
    fitting = Fitting(model, data.contract, data.train, data.eval, settings, kept, report)
    with _cleared(kept):
        done = fitting.run(data.memory)
    if model_uri:
        listeners.note("exporting the model")
        tracked = model if config.module else list(model.variables)
        exporting.export(exporting.Export(model, data.transform, data.contract, data.sample, tracked), model_uri)
    kept.clear()
    return _report(data, config, fitting, done, data.seconds + time.monotonic() - started)


def _report(
    data: TrainingData, config: TrainingConfig, fitting: Fitting, done: Progress, seconds: float
) -> TrainingReport:
    counts = {TRAIN: data.train.counts, EVAL: data.eval.counts}
    return TrainingReport(
        task=data.contract.task,
        features=len(data.contract.features),
        best_epoch=done.best + 1,
        epochs=done.epochs,
        resumed_epochs=fitting.resumed,
        steps=done.steps,
        weights=fitting.model.count_params(),
        metric=fitting.metric,
        score=done.scores[done.best],
        history=done.scores,
        train=counts[TRAIN],
        eval=counts[EVAL],
        parameters={**vars(Optimisation.of(config.parameters)), **config.parameters},
        memory=data.memory,
        device=fitting.settings.device.strip("/").partition(":")[0].lower(),
        seconds=round(seconds, 3),
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        warnings=tuple(line for name, found in counts.items() for line in found.warnings(name, data.contract.label)),
    )


@contextlib.contextmanager
def _cleared(kept: Checkpoints) -> Iterator[None]:
    """A training that would end the same way again leaves no checkpoint; one that was stopped from outside does."""
    try:
        yield
    except (StepError, PrunedError):
        kept.clear()
        raise


def to_properties(report: TrainingReport) -> dict[str, int | float | str]:
    """The report as custom properties of the Model artifact."""
    return {
        "task": report.task,
        "features": report.features,
        "best_epoch": report.best_epoch,
        "epochs": report.epochs,
        "resumed_epochs": report.resumed_epochs,
        "steps": report.steps,
        "weights": report.weights,
        "eval_metric": report.metric,
        "eval_score": float(report.score),
        "train_rows": report.train.labelled,
        "eval_rows": report.eval.labelled,
        "train_label_missing": report.train.left_out,
        "eval_label_missing": report.eval.left_out,
        "params": json.dumps(report.parameters, sort_keys=True),
        "memory": report.memory,
        "device": report.device,
        "seconds": report.seconds,
        "peak_memory": report.peak_memory,
        "warnings": json.dumps(report.warnings),
    }
