"""The list of features that the FeatureSelector writes and the Trainer reads: `importances.json`."""

import dataclasses
import json
from dataclasses import dataclass
from typing import cast

from beam_jobs import storage
from beam_jobs.errors import listed
from beam_jobs.table import Table
from components.errors import StepError
from components.model_contract import ClassValue, Task

IMPORTANCES = "importances.json"


@dataclass(frozen=True)
class FeatureImportance:
    """What one column is worth.

    Attributes:
      gain: its share of the model's total gain, 0 to 1.
      permutation_mean: how much worse the held-out metric gets when its values are shuffled among the rows.
      permutation_std: the spread of that over the repeats.
      rank: from 1, the most important; None for a column that was not given to the model.
      reason: why it was kept, or why not.
    """

    name: str
    gain: float
    permutation_mean: float
    permutation_std: float
    rank: int | None
    kept: bool
    reason: str


@dataclass(frozen=True)
class Importances:
    """All columns of the examples but the label, the most important first; and what the label means.

    Attributes:
      classes: the label's values in the order of their codes; empty for a regression.
      metric: what the permutation importances measure: 'auc', 'log loss' or 'rmse'.
      train_rows: rows that the importances were learned from.
      eval_rows: held-out rows that they were measured on.
    """

    label: str
    task: Task
    classes: tuple[ClassValue, ...]
    features: tuple[FeatureImportance, ...]
    warnings: tuple[str, ...] = ()
    metric: str = ""
    train_rows: int = 0
    eval_rows: int = 0

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns that every later step reads."""
        return tuple(feature.name for feature in self.features if feature.kept)

    def save(self, uri: str) -> None:
        """Writes `importances.json` into the artifact's folder."""
        storage.write_text(f"{uri.rstrip('/')}/{IMPORTANCES}", json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, uri: str) -> "Importances":
        """Reads the list back.

        Raises:
          StepError: there is none.
        """
        path = f"{uri.rstrip('/')}/{IMPORTANCES}"
        if not storage.exists(path):
            raise StepError(f"'{uri}' holds no '{IMPORTANCES}'.", "Run the FeatureSelector again.")
        data = json.loads(storage.read_text(path))
        data["task"] = cast(Task, data["task"])
        data["features"] = tuple(FeatureImportance(**feature) for feature in data["features"])
        data["classes"], data["warnings"] = tuple(data["classes"]), tuple(data["warnings"])
        return cls(**data)


def check_learnable(table: Table, importances: Importances) -> None:
    """Looks whether there is something to learn from.

    Raises:
      StepError: no column was kept, or one of the splits `train` and `eval` is empty.
    """
    if not importances.kept:
        raise StepError("No feature was kept, so there is nothing to learn from.", "See the FeatureSelector's reasons.")
    for split in ("train", "eval"):
        if not table.splits.get(split):
            raise StepError(
                f"The examples have no row in the split '{split}'.",
                f"Splits: {listed(f'{name} ({rows:,} rows)' for name, rows in table.splits.items())}. Move the bounds.",
            )
