"""What a Keras training reads: the rows of `train` and `eval`, transformed, and what one pass over them tells."""

import math
import time
from dataclasses import dataclass

import numpy as np

from beam_jobs import progress as listeners
from beam_jobs.table import Table
from components import encoding
from components.importances import Importances, check_learnable
from components.keras_trainer.dataset import Rows, TransformedSplit
from components.keras_trainer.default_model import Start
from components.keras_trainer.transform_graph import TransformGraph
from components.memory import available_memory
from components.model_contract import ModelContract

TRAIN, EVAL = "train", "eval"
FAMILY = "keras"
SHARE_OF_MEMORY = 0.4
SAMPLE_ROWS = 8_192
"""Rows, at least, of the sample, where there are as many."""


@dataclass(frozen=True)
class TrainingData:
    """The rows of a training; several trainings may share them.

    Attributes:
      memory: 'memory' or 'streamed': how the rows are held.
      start: what the labels of `train` are like.
      sample: rows from everywhere in `train`.
      seconds: that reading took.
    """

    contract: ModelContract
    transform: TransformGraph
    train: TransformedSplit
    eval: TransformedSplit
    memory: str
    start: Start
    sample: Rows
    seconds: float

    @classmethod
    def read(cls, table: Table, importances: Importances, transform_graph_uri: str, memory: str) -> "TrainingData":
        """Reads both splits once.

        Args:
          memory: 'memory', 'streamed', or 'auto' to decide by size.

        Raises:
          StepError: no column was kept, a split has no labelled row, or the transform is of other columns.
        """
        started = time.monotonic()
        check_learnable(table, importances)
        contract = contract_of(table, importances)
        transform = TransformGraph(transform_graph_uri, contract.features)
        memory = plan_memory(memory, table, transform)
        train, judged = (
            TransformedSplit(table, split, contract, transform, memory == "memory") for split in (TRAIN, EVAL)
        )
        listeners.note(f"reading '{TRAIN}' and '{EVAL}' ({memory})")
        sample, labels = _Sample(SAMPLE_ROWS), _Labels()
        for rows in train.in_order():
            sample.add(rows)
            labels.add(rows.labels, contract)
        for _ in judged.in_order():
            pass
        start, seconds = labels.start(contract), time.monotonic() - started
        return cls(contract, transform, train, judged, memory, start, sample.rows(), seconds)


def contract_of(table: Table, importances: Importances) -> ModelContract:
    """The contract of the model to be trained: kept columns, whose vocabularies the transform holds."""
    features = encoding.features_of(table.schema, importances.kept, {})
    return ModelContract(importances.task, importances.label, importances.classes, features, FAMILY)


def plan_memory(asked: str, table: Table, transform: TransformGraph) -> str:
    """'memory' or 'streamed': which was asked for, or what fits."""
    if asked != "auto":
        return asked
    rows = sum(table.splits[split] for split in (TRAIN, EVAL))
    # Twice: the slices as they are read, and all of them together.
    return "memory" if 2 * rows * transform.row_bytes <= SHARE_OF_MEMORY * available_memory() else "streamed"


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
