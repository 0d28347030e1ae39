"""A trained model in a worker, whatever its family: loaded once a process, used by all its threads."""

import importlib
import threading
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.errors import listed, nearest
from components.errors import StepError
from components.model_contract import ModelContract

FAMILIES = {"xgboost": "components.xgboost_scoring", "keras": "components.keras_scoring"}
"""For each family the module whose `load(model_uri, contract, threads)` gives a Scorer."""
_loading = threading.Lock()


class Scorer(Protocol):
    """Predicts batches; safe to share between threads."""

    @property
    def contract(self) -> ModelContract:
        """What the model expects and answers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns to be read for judging: the features, then the label. `predict` needs no label."""

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """Scores a batch.

        Returns:
          Shape (rows,): the probability of the positive class, or the value of a regression;
          shape (rows, classes) for a multi-class model: probabilities in the order of `contract.classes`.

        Raises:
          StepError: a feature's column is missing or of another kind than in training.
        """

    def labels(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """The batch's labels as `encoding.labels` gives them: shape (rows,), NaN where missing."""

    def contributions(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """What each feature adds to the model's margin (log odds, or the value of a regression).

        Returns:
          Shape (rows, features + 1), or (rows, classes, features + 1) for a multi-class model; the last column is
          the bias, and a row sums to its margin.
        """


def load_scorer(model_uri: str, threads: int = 1) -> Scorer:
    """Loads the model of a Model artifact's folder, once a process and folder.

    Args:
      threads: the library's own; 1 where Beam's workers already use every core.

    Raises:
      StepError: the folder holds no model that one of Braid's trainers wrote.
    """
    with _loading:
        return _loaded(model_uri.rstrip("/"), threads)


@lru_cache(maxsize=4)
def _loaded(model_uri: str, threads: int) -> Scorer:
    contract = ModelContract.load(model_uri)
    if contract.family not in FAMILIES:
        raise StepError(
            f"'{model_uri}' holds a model of the family '{contract.family}'.{nearest(contract.family, FAMILIES)}",
            f"Families: {listed(FAMILIES)}.",
        )
    scorer: Scorer = importlib.import_module(FAMILIES[contract.family]).load(model_uri, contract, threads)
    return scorer
