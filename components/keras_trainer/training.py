"""Trains a Keras model from Parquet examples, and exports it with its contract."""

import contextlib
import json
import math
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from beam_jobs import progress as listeners
from beam_jobs.errors import listed
from beam_jobs.table import Table
from components import encoding
from components.errors import StepError
from components.importances import Importances
from components.keras_trainer import exporting, library
from components.keras_trainer.checkpoints import Checkpoints
from components.keras_trainer.dataset import Rows, TransformedSplit
from components.keras_trainer.default_model import Start
from components.keras_trainer.fitting import Fitting, FittingSettings, Report
from components.keras_trainer.models import ModelSource, Optimisation
from components.keras_trainer.transform_graph import TransformGraph
from components.model_contract import ModelContract
from components.pruning import PrunedError
from components.step_config import one_of
from components.target import LabelCounts

TRAIN, EVAL = "train", "eval"
FAMILY = "keras"
SHARE_OF_MEMORY = 0.4
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
    started = time.monotonic()
    _check(table, importances)
    optimisation = Optimisation.of(config.parameters)
    library.load_tensorflow()
    library.set_threads(config.threads)
    device = library.choose_device(config.device)
    contract = contract_of(table, importances)
    transform = TransformGraph(transform_graph_uri, contract.features)
    kept = Checkpoints(checkpoints)
    source = ModelSource(config.module, config.function, config.parameters)
    memory = kept.memory or plan_memory(config.memory, table, transform)
    splits = {name: TransformedSplit(table, name, contract, transform, memory == "memory") for name in (TRAIN, EVAL)}
    listeners.note(f"reading '{TRAIN}' and '{EVAL}' ({memory})")
    summary = _summarised(splits[TRAIN], contract)
    for _ in splits[EVAL].in_order():
        pass
    with library.seeded(config.seed), library.on(device):
        model = source.build(transform, contract, summary.start)
        source.check_answer(model, summary.sample.take(slice(0, ROWS_TRIED)).inputs, contract)
    model.optimizer.build(model.trainable_variables)
    settings = FittingSettings(
        config.epochs, config.early_stopping_epochs, optimisation.batch_rows, config.seed, device, logs
    )
    fitting = Fitting(model, contract, splits[TRAIN], splits[EVAL], settings, kept, report)
    with _cleared(kept):
        done = fitting.run(memory)
    listeners.note("exporting the model")
    tracked = model if config.module else list(model.variables)
    exporting.export(exporting.Export(model, transform, contract, summary.sample, tracked), model_uri)
    kept.clear()
    return TrainingReport(
        task=contract.task,
        features=len(contract.features),
        best_epoch=done.best + 1,
        epochs=done.epochs,
        resumed_epochs=fitting.resumed,
        steps=done.steps,
        weights=model.count_params(),
        metric=fitting.metric,
        score=done.scores[done.best],
        history=done.scores,
        train=splits[TRAIN].counts,
        eval=splits[EVAL].counts,
        parameters={**vars(optimisation), **config.parameters},
        memory=memory,
        device=device.strip("/").partition(":")[0].lower(),
        seconds=round(time.monotonic() - started, 3),
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        warnings=tuple(line for name in splits for line in splits[name].counts.warnings(name, contract.label)),
    )


def _check(table: Table, importances: Importances) -> None:
    if not importances.kept:
        raise StepError("No feature was kept, so there is nothing to learn from.", "See the FeatureSelector's reasons.")
    for split in (TRAIN, EVAL):
        if not table.splits.get(split):
            raise StepError(
                f"The examples have no row in the split '{split}'.",
                f"Splits: {listed(f'{name} ({rows:,} rows)' for name, rows in table.splits.items())}. Move the bounds.",
            )


def contract_of(table: Table, importances: Importances) -> ModelContract:
    """The contract of the model to be trained: kept columns, whose vocabularies the transform holds."""
    features = encoding.features_of(table.schema, importances.kept, {})
    return ModelContract(importances.task, importances.label, importances.classes, features, FAMILY)


def plan_memory(asked: str, table: Table, transform: TransformGraph) -> str:
    """'memory' or 'streamed': which was asked for, or what fits."""
    from components.trainer.batches import available_memory

    if asked != "auto":
        return asked
    rows = sum(table.splits[split] for split in (TRAIN, EVAL))
    # Twice: the slices as they are read, and all of them together.
    return "memory" if 2 * rows * transform.row_bytes <= SHARE_OF_MEMORY * available_memory() else "streamed"


@dataclass(frozen=True)
class _Summary:
    """What one pass over `train` tells.

    Attributes:
      sample: rows from everywhere in it.
    """

    start: Start
    sample: Rows


def _summarised(split: TransformedSplit, contract: ModelContract) -> _Summary:
    """Reads the split once: its label counts, a sample of its rows, and what its labels are like."""
    sample, moments = _Sample(exporting.BASELINE_ROWS), _Labels()
    for rows in split.in_order():
        sample.add(rows)
        moments.add(rows.labels, contract)
    return _Summary(moments.start(contract), sample.rows())


class _Sample:
    """A sample of many rows: the first ones until there are enough, then every second, every fourth, ..."""

    def __init__(self, most: int) -> None:
        self._most, self._every, self._seen = most, 1, 0
        self._parts: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Takes the slice's share."""
        first = -self._seen % self._every
        self._seen += len(rows)
        self._parts.append(rows.take(slice(first, None, self._every)))
        if sum(map(len, self._parts)) > 2 * self._most:
            self._parts, self._every = [self.rows().take(slice(None, None, 2))], self._every * 2

    def rows(self) -> Rows:
        """The sample so far."""
        return Rows.concat(self._parts)


class _Labels:
    """Counts of the classes, or mean and spread of the values."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, 0.0, 0.0
        self._classes = np.zeros(0)

    def add(self, labels: encoding.Floats, contract: ModelContract) -> None:
        """Adds a slice's."""
        if contract.classes:
            counts = np.bincount(labels.astype(np.int64), minlength=len(contract.classes)).astype(np.float64)
            self._classes = counts if not len(self._classes) else self._classes + counts
            return
        values = labels.astype(np.float64)
        self._count, self._sum = self._count + len(values), self._sum + float(values.sum())
        self._squares += float((values**2).sum())

    def start(self, contract: ModelContract) -> Start:
        """The log odds, the classes' scores, or the mean and the standard deviation."""
        if contract.task == "regression":
            mean = self._sum / self._count
            spread = math.sqrt(max(self._squares / self._count - mean**2, 0.0))
            return Start((mean,), spread or 1.0)
        scores = np.log(np.maximum(self._classes, 0.5) / self._classes.sum())
        return Start((float(scores[1] - scores[0]),) if contract.task == "binary" else tuple(map(float, scores)))


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
