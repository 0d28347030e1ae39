"""The capsule: a folder from which one step of one past run can be replayed. What it says of itself is `capsule.json`."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs import storage
from pipeline.errors import RunError

DESCRIPTION, REPLAY, INPUTS, REPLAYS = "capsule.json", "replay.py", "inputs", "replays"
FORMAT = 1


@dataclass(frozen=True)
class Stored:
    """An artifact in a capsule.

    Attributes:
      type: MLMD's ArtifactType, in protobuf's JSON.
      artifact: MLMD's Artifact, the same.
      original: where it was when the step ran.
      place: where the replay finds it: a path in the capsule, or the original; '' for an output.
    """

    type: Mapping[str, Any]
    artifact: Mapping[str, Any]
    original: str
    place: str = ""


@dataclass(frozen=True)
class Capsule:
    """What a replay needs to know.

    Attributes:
      folder: where it lies; not written down, as it may be moved.
      project: the root of the code that it runs.
      component: the component's class.
      executor: the executor's class, with its module.
      parameters: as the executor gets them.
      redirected: parameters that name a place which the step writes to, beside its outputs.
      facts: what was recorded of the run: code_commit, lock_digest, python, ...
      error: what the step raised; '' when it ended well.
      sampled: rows that each table was cut down to; 0 for whole tables.
    """

    run: str
    step: str
    pipeline: str
    execution: int
    state: str
    project: str
    component: str
    executor: str
    parameters: Mapping[str, Any]
    redirected: tuple[str, ...]
    inputs: Mapping[str, tuple[Stored, ...]]
    outputs: Mapping[str, tuple[Stored, ...]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    sampled: int = 0
    folder: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """`RUN/step`."""
        return f"{self.run}/{self.step}"

    def path(self, *parts: str) -> str:
        """A path in the capsule."""
        return os.path.join(self.folder, *parts)

    def save(self) -> None:
        """Writes `capsule.json`."""
        data = {key: value for key, value in dataclasses.asdict(self).items() if key != "folder"}
        storage.write_text(self.path(DESCRIPTION), json.dumps({"format": FORMAT, **data}, indent=1))

    @classmethod
    def load(cls, folder: str) -> "Capsule":
        """Reads a capsule.

        Raises:
          RunError: the folder holds none, or one of another format.
        """
        path = os.path.join(folder, DESCRIPTION)
        if not os.path.exists(path):
            raise RunError(
                f"'{folder}' holds no capsule: '{DESCRIPTION}' is missing.", "`braid debug RUN/step` makes one."
            )
        data = json.loads(storage.read_text(path))
        if data.pop("format", 0) != FORMAT:
            raise RunError(f"'{path}' was written by another version of Braid.", "Make the capsule again: braid debug.")
        for side in ("inputs", "outputs"):
            data[side] = {key: tuple(Stored(**one) for one in found) for key, found in data[side].items()}
        data["redirected"] = tuple(data["redirected"])
        return cls(**data, folder=os.path.abspath(folder))
