"""Trains an XGBoost model from Parquet examples, and writes it with its contract."""

import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from beam_jobs import progress, storage
from beam_jobs.table import Table
from components import encoding
from components.errors import StepError
from components.hyperparameters import HyperParameters
from components.importances import Importances, check_learnable
from components.model_contract import MODEL, ModelContract, Task
from components.step_config import one_of
from components.target import LabelCounts
from components.trainer.boosting import Boosting, boost, cut
from components.trainer.checkpoints import Checkpoints
from components.trainer.matrices import EVAL, TRAIN, Matrices, Wanted, choose_device, open_matrices
from components.trainer.parameters import resolve_params

FAMILY = "xgboost"
ROUNDS_A_NOTE = 10


@dataclass(frozen=True)
class TrainingConfig:
    """What the user may set of a training.

    Attributes:
      name: of the model among others of the run; '' for the family's.
      params: XGBoost's own parameters, over Braid's defaults.
      rounds: the most boosting rounds.
      early_stopping_rounds: ends after so many rounds in which the metric on `eval` did not improve; 0 for never.
      memory: 'memory', 'external' (quantised pages on disk), or 'auto' to decide by size.
      device: 'cpu', 'cuda', or 'auto' for CUDA where there is a device.
      threads: XGBoost's threads; the model's bytes are the same for the same number.
      max_vocabulary: the most values of a category; rarer ones count as missing.
    """

    name: str = ""
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
      resumed_from: rounds that an execution which was cut off had run; 0 for none.
      tuned: the parameters that a Tuner found, if it did.
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
    resumed_from: int = 0
    tuned: HyperParameters | None = None


def train(
    table: Table,
    importances: Importances,
    config: TrainingConfig,
    model_uri: str,
    hyperparameters: HyperParameters | None = None,
    checkpoints: str = "",
) -> TrainingReport:
    """Trains on the kept columns of `train`, stops early on `eval`, and writes `model.ubj` and `contract.json`.

    Args:
      table: the examples.
      importances: which columns, and what the label means.
      config: what the user has set.
      model_uri: where the model goes.
      hyperparameters: a Tuner's, laid over the configuration's.
      checkpoints: a folder for them, where a training that was cut off may have left its own; '' for none.

    Raises:
      StepError: no column was kept, a split has no labelled row, or a parameter is refused.
    """
    started = time.monotonic()
    check_learnable(table, importances)
    params = training_params(config, importances.task, len(importances.classes), hyperparameters)
    with open_matrices(table, importances, wanted(config, params, model_uri)) as matrices:
        settings = Boosting(params, config.rounds, config.early_stopping_rounds)
        booster, history, resumed_from = _boosted(settings, matrices, checkpoints)
    _save(cut(booster, settings, history), matrices.contract, model_uri)
    best = settings.best(history)
    return TrainingReport(
        task=matrices.contract.task,
        features=len(matrices.contract.features),
        best_iteration=best,
        rounds=len(history),
        metric=settings.metric,
        score=history[best],
        train=matrices.train_counts,
        eval=matrices.eval_counts,
        params=params,
        memory=matrices.memory,
        device=str(params["device"]),
        seconds=round(time.monotonic() - started, 3),
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        warnings=_warnings(matrices),
        resumed_from=resumed_from,
        tuned=hyperparameters,
    )


def _boosted(settings: Boosting, matrices: Matrices, checkpoints: str) -> tuple[Any, list[float], int]:
    """The booster, its metrics, and how many rounds were run before this process."""
    saved = Checkpoints(checkpoints, _signature(settings, matrices))
    start = saved.load()
    if start is not None:
        progress.note(f"going on after round {len(start.history)}, where a training was cut off")

    def after_round(booster: Any, history: Sequence[float]) -> None:
        saved.after_round(booster, history)
        if len(history) % ROUNDS_A_NOTE == 1:
            score = f"eval {settings.metric} {history[-1]:.4f}"
            progress.note(f"round {len(history)} of at most {settings.rounds}, {score}")

    booster, history = boost(settings, matrices.train, matrices.eval, after_round, start)
    return booster, history, len(start.history) if start else 0


def training_params(
    config: TrainingConfig, task: Task, classes: int, hyperparameters: HyperParameters | None = None
) -> dict[str, Any]:
    """All that XGBoost is told.

    Raises:
      StepError: a parameter is refused, the hyperparameters are another family's, or there is no such device.
    """
    device = choose_device(config.device)
    own = hyperparameters.over(config.params, FAMILY) if hyperparameters else config.params
    params = resolve_params(own, task, classes)
    return params | {"nthread": config.threads, "seed": config.seed, "device": device}


def wanted(config: TrainingConfig, params: dict[str, Any], folder: str, rows: int = 0) -> Wanted:
    """The matrices for a configuration; see `Wanted`."""
    return Wanted(config.memory, config.threads, int(params["max_bin"]), config.max_vocabulary, folder, rows)


def _signature(settings: Boosting, matrices: Matrices) -> str:
    """What a checkpoint must share with this training beyond the folder's key: what was found on this machine."""
    external = matrices.memory == "external"
    told = {"params": settings.params, "external": external, "stop": settings.early_stopping_rounds}
    return storage.text_digest(json.dumps(told, sort_keys=True))


def _warnings(matrices: Matrices) -> tuple[str, ...]:
    label = matrices.contract.label
    return (*matrices.train_counts.warnings(TRAIN, label), *matrices.eval_counts.warnings(EVAL, label))


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
        **({"tuned": report.tuned.to_json()} if report.tuned else {}),
    }
