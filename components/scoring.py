"""A trained model in a worker: loaded once a process, used by all its threads."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import storage
from components import encoding
from components.errors import StepError
from components.model_contract import MODEL, ModelContract

_loading = threading.Lock()


@dataclass(frozen=True)
class Scorer:
    """Predicts batches. Safe to share between threads: XGBoost's in-place prediction takes no lock and keeps nothing.

    Attributes:
      booster: an `xgboost.Booster`, cut at its best round when it was saved.
    """

    contract: ModelContract
    booster: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns to be read for judging: the features, then the label. `predict` needs no label."""
        return self.contract.columns

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """Scores a batch.

        Returns:
          Shape (rows,): the probability of the positive class, or the value of a regression;
          shape (rows, classes) for a multi-class model: probabilities in the order of `contract.classes`.

        Raises:
          StepError: a feature's column is missing or of another kind than in training.
        """
        values = encoding.matrix(batch, self.contract)
        if not len(values):
            many = self.contract.task == "multiclass"
            return np.empty((0, len(self.contract.classes)) if many else 0, np.float32)
        answers: npt.NDArray[np.float32] = self.booster.inplace_predict(values)
        return answers

    def labels(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """The batch's labels as `encoding.labels` gives them: shape (rows,), NaN where missing."""
        return encoding.labels(batch, self.contract)


def load_scorer(model_uri: str, threads: int = 1) -> Scorer:
    """Loads the model of a Model artifact's folder, once a process and folder.

    Args:
      threads: XGBoost's own; 1 where Beam's workers already use every core.

    Raises:
      StepError: the folder holds no model that Braid's Trainer wrote.
    """
    with _loading:
        return _loaded(model_uri.rstrip("/"), threads)


@lru_cache(maxsize=4)
def _loaded(model_uri: str, threads: int) -> Scorer:
    import xgboost

    contract = ModelContract.load(model_uri)
    path = f"{model_uri}/{MODEL}"
    if not storage.exists(path):
        raise StepError(f"'{model_uri}' holds no model: '{MODEL}' is missing.", "Run the Trainer again.")
    booster = xgboost.Booster(params={"nthread": threads})
    with storage.open_input(path) as stream:
        booster.load_model(bytearray(stream.read()))
    booster.set_param({"nthread": threads, "device": "cpu"})
    return Scorer(contract, booster)
