"""A trained XGBoost model in a worker."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import storage
from components import encoding
from components.errors import StepError
from components.model_contract import MODEL, ModelContract


@dataclass(frozen=True)
class XgboostScorer:
    """Predicts batches. Safe to share between threads: XGBoost's in-place prediction takes no lock and keeps nothing.

    Attributes:
      booster: an `xgboost.Booster`, cut at its best round when it was saved.
    """

    contract: ModelContract
    booster: Any
    threads: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The features, then the label."""
        return self.contract.columns

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """See `components.scoring.Scorer`."""
        values = encoding.matrix(batch, self.contract)
        if not len(values):
            many = self.contract.task == "multiclass"
            return np.empty((0, len(self.contract.classes)) if many else 0, np.float32)
        answers: npt.NDArray[np.float32] = self.booster.inplace_predict(values)
        return answers

    def labels(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """See `components.scoring.Scorer`."""
        return encoding.labels(batch, self.contract)

    def contributions(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """TreeSHAP (Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
        Nature Machine Intelligence 2, 2020), XGBoost's own `pred_contribs`.
        """
        import xgboost

        rows = xgboost.DMatrix(
            encoding.matrix(batch, self.contract),
            feature_types=self.contract.feature_types,
            enable_categorical=True,
            nthread=self.threads,
        )
        values: npt.NDArray[np.float32] = self.booster.predict(rows, pred_contribs=True)
        return values


def load(model_uri: str, contract: ModelContract, threads: int) -> XgboostScorer:
    """Loads the booster beside the contract.

    Raises:
      StepError: its file is missing.
    """
    import xgboost

    path = f"{model_uri}/{MODEL}"
    if not storage.exists(path):
        raise StepError(f"'{model_uri}' holds no model: '{MODEL}' is missing.", "Run the Trainer again.")
    booster = xgboost.Booster(params={"nthread": threads})
    with storage.open_input(path) as stream:
        booster.load_model(bytearray(stream.read()))
    booster.set_param({"nthread": threads, "device": "cpu"})
    return XgboostScorer(contract, booster, threads)
