"""The parameters that a Tuner found: `hyperparameters.json`, which trainers lay over those of their configuration."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from components.errors import StepError

HYPERPARAMETERS = "hyperparameters.json"


@dataclass(frozen=True)
class HyperParameters:
    """The best trial of a search.

    Attributes:
      family: of the trainer that the parameters are for.
      parameters: those that were searched, by the trainer's own names.
      value: the metric on `eval`.
      trial: its number, from 0; the trials lie beside it in `trials.json`.
    """

    family: str
    parameters: dict[str, Any]
    metric: str
    value: float
    trial: int

    def save(self, uri: str) -> None:
        """Writes `hyperparameters.json` into the artifact's folder."""
        storage.write_text(f"{uri.rstrip('/')}/{HYPERPARAMETERS}", f"{self.to_json(indent=1)}\n")

    def to_json(self, indent: int | None = None) -> str:
        """As text."""
        return json.dumps(dataclasses.asdict(self), indent=indent)

    @classmethod
    def load(cls, uri: str) -> "HyperParameters":
        """Reads them back.

        Raises:
          StepError: there are none, or the file is not one of Braid's.
        """
        path = f"{uri.rstrip('/')}/{HYPERPARAMETERS}"
        if not storage.exists(path):
            raise StepError(f"'{uri}' holds no '{HYPERPARAMETERS}'.", "Run the Tuner again.")
        try:
            found = cls(**json.loads(storage.read_text(path)))
        except (ValueError, TypeError) as wrong:
            raise StepError(f"'{path}' holds no parameters of Braid's: {wrong}.", "Run the Tuner again.") from wrong
        if not isinstance(found.parameters, dict):
            raise StepError(f"'{path}': 'parameters' is no mapping.", "Run the Tuner again.")
        return found

    def over(self, parameters: dict[str, Any], family: str) -> dict[str, Any]:
        """A trainer's parameters with these laid over them.

        Raises:
          StepError: they are for another family of models.
        """
        if self.family != family:
            raise StepError(
                f"The hyperparameters are for the family '{self.family}', and this trainer is of the family '{family}'.",
                "Give each trainer a `tune` of its own, or reuse a run whose trainer was of the same family.",
            )
        return {**parameters, **self.parameters}
