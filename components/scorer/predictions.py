"""What a model makes of a batch: the columns of a table of predictions."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components import encoding
from components.model_contract import ModelContract
from components.prediction_columns import NOT_FINITE, UNSEEN, Wanted
from components.scoring import Scorer, load_scorer


@dataclass(frozen=True)
class Predicting:
    """Turns rows into predictions; a `Finish` of `beam_jobs.kernel`."""

    scorer: Scorer
    wanted: Wanted
    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch, tally: Counter[str]) -> pa.RecordBatch:
        """Predicts a batch; counts predictions that are no numbers, and labels that training never saw."""
        contract = self.scorer.contract
        predicted = np.asarray(self.scorer.predict(batch))
        lost = int(np.count_nonzero(~np.isfinite(predicted)))
        if lost:
            tally[NOT_FINITE] += lost
        columns: list[pa.Array] = [batch.column(name) for name in self.wanted.passed]
        columns += _answers(predicted, contract)
        if self.wanted.contributions:
            columns += _contributions(self.scorer.contributions(batch), predicted)
        if self.wanted.label:
            for value, rows in encoding.unseen_labels(batch.column(contract.label), contract.classes).items():
                tally[f"{UNSEEN}{value}"] += rows
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _answers(predicted: npt.NDArray[np.float32], contract: ModelContract) -> list[pa.Array]:
    if contract.task != "multiclass":
        return [pa.array(predicted, pa.float32())]
    likeliest = pa.array(contract.classes).take(pa.array(predicted.argmax(axis=1)))
    return [likeliest, *(pa.array(np.ascontiguousarray(column), pa.float32()) for column in predicted.T)]


def _contributions(values: npt.NDArray[np.float32], predicted: npt.NDArray[np.float32]) -> list[pa.Array]:
    """A column a feature, then the bias; of several classes those to the likeliest."""
    chosen = values[np.arange(len(values)), predicted.argmax(axis=1)] if values.ndim == 3 else values
    return [pa.array(np.ascontiguousarray(column), pa.float32()) for column in chosen.T]


def predicting(model_uri: str, wanted: Wanted, schema: pa.Schema) -> Predicting:
    """Loads the model in a worker; the library's threads are one, as Beam's workers take every core.

    Raises:
      StepError: the folder holds no model.
    """
    return Predicting(load_scorer(model_uri), wanted, schema)
