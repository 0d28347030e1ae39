"""The explanations that the Explainer writes: a table of rows, and the features' summary `global.json`.

`explanations.parquet` has one row for each explained row of the split; of a multi-class model one for each row and class:

| column                   | holds                                                                                |
|--------------------------|--------------------------------------------------------------------------------------|
| `_row`                   | the row's identity in the examples                                                   |
| `class`                  | the class that `prediction` is the probability of (with two classes, the positive one); null for a regression |
| `label`                  | the row's label as the examples have it; null where missing                          |
| `prediction`             | the probability of `class`, or the value of a regression                             |
| `bias`                   | the margin before any feature is looked at                                           |
| `value_<feature>`        | the feature's value as the examples have it                                          |
| `contribution_<feature>` | what it adds to the margin                                                           |

`bias` and the contributions sum to the row's margin: the log odds of the positive class, a class's score before softmax,
or the predicted value itself.
"""

import dataclasses
import json
from dataclasses import dataclass

from beam_jobs import storage
from components.errors import StepError
from components.model_contract import ClassValue, Kind, Task

EXPLANATIONS = "explanations.parquet"
GLOBAL = "global.json"
VALUE, CONTRIBUTION = "value_", "contribution_"
"""What the names of a feature's two columns begin with."""


@dataclass(frozen=True)
class Effect:
    """What a feature adds to the margin of one class, or of a regression, over the rows of the sample.

    Attributes:
      class_value: None for a regression.
      mean_absolute: the mean of the contributions' sizes.
      mean_signed: the mean of the contributions.
      correlation: of value and contribution, -1 to 1: its sign says whether larger values push up or down.
        None for text, and where either does not vary.
    """

    class_value: ClassValue | None
    mean_absolute: float
    mean_signed: float
    correlation: float | None


@dataclass(frozen=True)
class FeatureEffect:
    """What a feature does to the predictions.

    Attributes:
      mean_absolute: the mean over the classes that are explained.
    """

    name: str
    kind: Kind
    mean_absolute: float
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Summary:
    """All features, the one that matters most first.

    Attributes:
      family: the library that made the model.
      rows: rows that were explained.
      of_rows: rows of the split that they were drawn from.
      bias: the mean margin before any feature is looked at, for each class that is explained.
      notes: sentences for whoever reads it, such as why there are fewer rows than asked for.
    """

    task: Task
    family: str
    label: str
    split: str
    rows: int
    of_rows: int
    classes: tuple[ClassValue, ...]
    bias: tuple[float, ...]
    features: tuple[FeatureEffect, ...]
    notes: tuple[str, ...] = ()

    def save(self, uri: str) -> None:
        """Writes `global.json` into the artifact's folder."""
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)
        storage.write_text(f"{uri.rstrip('/')}/{GLOBAL}", text)

    @classmethod
    def load(cls, uri: str) -> "Summary":
        """Reads the summary back.

        Raises:
          StepError: there is none.
        """
        path = f"{uri.rstrip('/')}/{GLOBAL}"
        if not storage.exists(path):
            raise StepError(f"'{uri}' holds no '{GLOBAL}'.", "Run the Explainer again.")
        data = json.loads(storage.read_text(path))
        for name in ("classes", "bias", "notes"):
            data[name] = tuple(data[name])
        data["features"] = tuple(
            FeatureEffect(**{**feature, "effects": tuple(Effect(**effect) for effect in feature["effects"])})
            for feature in data["features"]
        )
        return cls(**data)
