"""Trains an XGBoost model from Parquet examples, and writes it with its contract."""

import glob
import json
import os
import resource
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import xgboost

from beam_jobs import progress, storage
from beam_jobs.errors import listed
from beam_jobs.table import Table, read_batches
from components import encoding
from components.errors import StepError
from components.importances import Importances
from components.model_contract import MODEL, ModelContract
from components.step_config import one_of
from components.target import LabelCounts
from components.trainer.batches import (
    EncodedBatches,
    MatrixSettings,
    available_memory,
    build_matrix,
    open_batches,
    plan_memory,
)
from components.trainer.parameters import resolve_params

TRAIN, EVAL = "train", "eval"
ROUNDS_A_NOTE = 10


@dataclass(frozen=True)
class TrainingConfig:
    """What the user may set of a training.

    Attributes:
      params: XGBoost's own parameters, over Braid's defaults.
      rounds: the most boosting rounds.
      early_stopping_rounds: ends after so many rounds in which the metric on `eval` did not improve; 0 for never.
      memory: 'memory', 'external' (quantised pages on disk), or 'auto' to decide by size.
      device: 'cpu', 'cuda', or 'auto' for CUDA where there is a device.
      threads: XGBoost's threads; the model's bytes are the same for the same number.
      max_vocabulary: the most values of a category; rarer ones count as missing.
    """

    params: dict[str, Any] = field(default_factory=dict)
    rounds: int = 500
    early_stopping_rounds: int = 30
    memory: str = "auto"
    device: str = "auto"
    threads: int = 2
    seed: int = 0
    max_vocabulary: int = encoding.VOCABULARY_CAP

    def __post_init__(self) -> None:
        one_of(self.memory, ("auto", "memory", "external"), "Trainer: memory")
        one_of(self.device, ("auto", "cpu", "cuda"), "Trainer: device")
        for name, least in (("rounds", 1), ("early_stopping_rounds", 0), ("threads", 1), ("max_vocabulary", 1)):
            if getattr(self, name) < least:
                raise StepError(f"Trainer: {name} is {getattr(self, name)}; {least} is the least.")


@dataclass(frozen=True)
class TrainingReport:
    """What came of a training.

    Attributes:
      best_iteration: from 0; the model is cut after it.
      rounds: boosting rounds that were run.
      score: the metric on `eval` at the best round.
      memory: how the examples were held: 'cached', 'streamed' or 'external'.
      peak_memory: the most bytes that this process ever held.
    """

    task: str
    features: int
    best_iteration: int
    rounds: int
    metric: str
    score: float
    train: LabelCounts
    eval: LabelCounts
    params: dict[str, Any]
    memory: str
    device: str
    seconds: float
    peak_memory: int
    warnings: tuple[str, ...]


def train(table: Table, importances: Importances, config: TrainingConfig, model_uri: str) -> TrainingReport:
    """Trains on the kept columns of `train`, stops early on `eval`, and writes `model.ubj` and `contract.json`.

    Raises:
      StepError: no column was kept, a split has no labelled row, or a parameter is refused.
    """
    started = time.monotonic()
    _check(table, importances)
    device = choose_device(config.device)
    params = resolve_params(config.params, importances.task, len(importances.classes))
    contract = fit_contract(table, importances, config.max_vocabulary)
    cells = sum(table.splits[split] for split in (TRAIN, EVAL)) * len(contract.features)
    memory = plan_memory(config.memory, cells, available_memory())
    # Beside the output, on a disk meant for data; what a training that was killed leaves goes with it.
    disk = None if storage.is_remote(model_uri) else model_uri
    if disk is not None:
        os.makedirs(disk, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pages-", dir=disk) as folder:
        settings = MatrixSettings(memory, config.threads, int(params["max_bin"]), folder)
        train_rows, eval_rows = (open_batches(table, split, contract, settings) for split in (TRAIN, EVAL))
        params |= {"nthread": config.threads, "seed": config.seed, "device": device}
        booster, history = _boost(train_rows, eval_rows, settings, params, config)
    _save(booster, contract, model_uri)
    metric = str(params["eval_metric"])
    best = int(booster.best_iteration)
    return TrainingReport(
        task=contract.task,
        features=len(contract.features),
        best_iteration=best,
        rounds=len(history),
        metric=metric,
        score=history[best],
        train=train_rows.counts,
        eval=eval_rows.counts,
        params=params,
        memory=memory,
        device=device,
        seconds=round(time.monotonic() - started, 3),
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        warnings=(
            *train_rows.counts.warnings(TRAIN, contract.label),
            *eval_rows.counts.warnings(EVAL, contract.label),
        ),
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


def choose_device(asked: str) -> str:
    """'cuda' or 'cpu'.

    Raises:
      StepError: CUDA was asked for and there is no device.
    """
    found = bool(xgboost.build_info().get("USE_CUDA")) and bool(glob.glob("/dev/nvidia[0-9]*"))
    if asked == "cuda" and not found:
        raise StepError("Trainer: device is 'cuda', and this machine has no CUDA device.", "Set device: auto or cpu.")
    return "cuda" if found and asked != "cpu" else "cpu"


def fit_contract(table: Table, importances: Importances, max_vocabulary: int) -> ModelContract:
    """The contract of the model to be trained: kept columns, with the vocabularies that `train` shows.

    Reads the kept text columns of `train` once, and nothing where there are none.
    """
    text = [name for name in importances.kept if encoding.kind_of(table.schema.field(name).type) == "category"]
    batches = read_batches(table, TRAIN, text) if text else iter(())
    vocabularies = encoding.fit_vocabularies(batches, text, max_vocabulary)
    features = encoding.features_of(table.schema, importances.kept, vocabularies)
    return ModelContract(importances.task, importances.label, importances.classes, features)


def _boost(
    train_rows: EncodedBatches,
    eval_rows: EncodedBatches,
    settings: MatrixSettings,
    params: dict[str, Any],
    config: TrainingConfig,
) -> tuple[Any, list[float]]:
    """Returns the booster, cut after its best round, and the metric on `eval` of every round."""
    progress.note(f"reading '{TRAIN}' ({settings.memory})")
    train_matrix = build_matrix(train_rows, settings)
    eval_matrix = build_matrix(eval_rows, settings, train_matrix)
    results: dict[str, dict[str, list[float]]] = {}
    metric = str(params["eval_metric"])
    callbacks: list[Any] = [_Notes(config.rounds, metric)]
    if config.early_stopping_rounds:
        callbacks.append(xgboost.callback.EarlyStopping(rounds=config.early_stopping_rounds, save_best=True))
    booster = xgboost.train(
        params,
        train_matrix,
        config.rounds,
        evals=[(eval_matrix, EVAL)],
        evals_result=results,
        callbacks=callbacks,
        verbose_eval=False,
    )
    history = results[EVAL][metric]
    if not config.early_stopping_rounds:
        booster.best_iteration = len(history) - 1
    return booster, history


class _Notes(xgboost.callback.TrainingCallback):
    """Tells the listeners how far the training is."""

    def __init__(self, rounds: int, metric: str) -> None:
        self.rounds, self.metric = rounds, metric

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Called by XGBoost after each round; returns whether to stop."""
        if epoch % ROUNDS_A_NOTE == 0:
            score = evals_log[EVAL][self.metric][-1]
            progress.note(f"round {epoch + 1} of at most {self.rounds}, eval {self.metric} {score:.4f}")
        return False


def _save(booster: Any, contract: ModelContract, model_uri: str) -> None:
    with storage.open_output(f"{model_uri.rstrip('/')}/{MODEL}") as stream:
        stream.write(booster.save_raw("ubj"))
    contract.save(model_uri)


def to_properties(report: TrainingReport) -> dict[str, int | float | str]:
    """The report as custom properties of the Model artifact."""
    return {
        "task": report.task,
        "features": report.features,
        "best_iteration": report.best_iteration,
        "rounds": report.rounds,
        "eval_metric": report.metric,
        "eval_score": float(report.score),
        "train_rows": report.train.labelled,
        "eval_rows": report.eval.labelled,
        "train_label_missing": report.train.left_out,
        "eval_label_missing": report.eval.left_out,
        "params": json.dumps(report.params, sort_keys=True),
        "memory": report.memory,
        "device": report.device,
        "seconds": report.seconds,
        "peak_memory": report.peak_memory,
        "warnings": json.dumps(report.warnings),
    }
