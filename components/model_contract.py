"""What a model expects and answers: the JSON contract that lies beside the model's own file."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, cast

from beam_jobs import storage
from components.errors import StepError

MODEL = "model.ubj"
CONTRACT = "contract.json"
MODEL_NAME = "model_name"
"""The property of a Model artifact that tells it from other candidates; `name` is TFX's own."""

Task = Literal["binary", "multiclass", "regression"]
Kind = Literal["numeric", "category", "time", "bool"]
ClassValue = bool | int | float | str


@dataclass(frozen=True)
class Feature:
    """One column that the model reads.

    Attributes:
      kind: how it becomes a number, see `components.encoding`.
      type: the Arrow type that it had in training, as text.
      vocabulary: for a category, the values in the order of their codes 0, 1, ...
    """

    name: str
    kind: Kind
    type: str
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelContract:
    """The columns a model reads, and what its answers mean.

    Attributes:
      classes: the label's values in the order of their codes, sorted; for a binary task [negative, positive];
        empty for a regression.
      features: in the order of the matrix's columns.
      family: the library that made the model.
    """

    task: Task
    label: str
    classes: tuple[ClassValue, ...]
    features: tuple[Feature, ...]
    family: str = "xgboost"

    @property
    def names(self) -> tuple[str, ...]:
        """The features' columns, in the order of the matrix."""
        return tuple(feature.name for feature in self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns to be read for judging: the features, then the label."""
        return (*self.names, self.label)

    @property
    def feature_types(self) -> list[str]:
        """XGBoost's own words for the columns: 'c' for a category, 'q' for a quantity."""
        return ["c" if feature.kind == "category" else "q" for feature in self.features]

    def save(self, model_uri: str) -> None:
        """Writes `contract.json` into the model's folder."""
        storage.write_text(f"{model_uri.rstrip('/')}/{CONTRACT}", json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, model_uri: str) -> "ModelContract":
        """Reads the contract of a model's folder.

        Raises:
          StepError: the folder holds no contract, so Braid's Trainer did not write it.
        """
        path = f"{model_uri.rstrip('/')}/{CONTRACT}"
        if not storage.exists(path):
            raise StepError(
                f"'{model_uri}' holds no model of Braid's: '{CONTRACT}' is missing.",
                "Run the Trainer again, or name the folder of a model that it wrote.",
            )
        return cls._from_json(json.loads(storage.read_text(path)))

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> "ModelContract":
        features = [Feature(**{**feature, "vocabulary": tuple(feature["vocabulary"])}) for feature in data["features"]]
        return cls(
            task=cast(Task, data["task"]),
            label=data["label"],
            classes=tuple(data["classes"]),
            features=tuple(features),
            family=data["family"],
        )
