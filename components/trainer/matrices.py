"""The two matrices that a training needs, built once: also for many trainings on the same rows."""

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import xgboost

from beam_jobs import progress
from beam_jobs.table import Table, read_batches
from components import encoding, local_folders
from components.errors import StepError
from components.importances import Importances
from components.memory import available_memory
from components.model_contract import ModelContract
from components.target import LabelCounts
from components.trainer.batches import (
    MatrixSettings,
    Memory,
    build_matrix,
    open_batches,
    plan_memory,
)

TRAIN, EVAL = "train", "eval"


@dataclass(frozen=True)
class Wanted:
    """How the matrices are to be made.

    Attributes:
      memory: 'memory', 'external', or 'auto' to decide by size.
      bins: the most histogram bins of a feature.
      rows: the most rows of `train`, about; 0 for all.
      folder: of the output, beside which pages may lie.
    """

    memory: str
    threads: int
    bins: int
    max_vocabulary: int
    folder: str
    rows: int = 0


@dataclass(frozen=True)
class Matrices:
    """Both splits, quantised by the same bins, and what is known of them.

    Attributes:
      memory: how the examples are held: 'cached', 'streamed' or 'external'.
    """

    contract: ModelContract
    train: Any
    eval: Any
    train_counts: LabelCounts
    eval_counts: LabelCounts
    memory: Memory


@contextmanager
def open_matrices(table: Table, importances: Importances, wanted: Wanted) -> Iterator[Matrices]:
    """Builds the matrices of the kept columns; what they keep on disk goes as the context ends.

    Raises:
      StepError: no column was kept, or a split has no labelled row.
    """
    contract = fit_contract(table, importances, wanted.max_vocabulary)
    share = min(1.0, wanted.rows / table.splits[TRAIN]) if wanted.rows else 1.0
    rows = table.splits[TRAIN] * share + table.splits[EVAL]
    memory = plan_memory(wanted.memory, int(rows) * len(contract.features), available_memory())
    # Beside the output, on a disk meant for data; what a training that was killed leaves goes with it.
    disk = local_folders.beside(wanted.folder) or None
    if disk is not None:
        os.makedirs(disk, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pages-", dir=disk) as folder:
        settings = MatrixSettings(memory, wanted.threads, wanted.bins, folder)
        progress.note(f"reading '{TRAIN}' ({memory})")
        train_rows = open_batches(table, TRAIN, contract, settings, share)
        eval_rows = open_batches(table, EVAL, contract, settings)
        train = build_matrix(train_rows, settings)
        evaluation = build_matrix(eval_rows, settings, train)
        yield Matrices(contract, train, evaluation, train_rows.counts, eval_rows.counts, memory)
    if disk is not None and disk != wanted.folder:
        with suppress(OSError):  # the step keeps more there
            os.removedirs(disk)


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
