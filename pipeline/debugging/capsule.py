"""The capsule: a folder from which one step of one past run can be replayed. What it says of itself is `capsule.json`."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import listed
from pipeline.errors import RunError
from pipeline.run_facts import without_credentials

DESCRIPTION, REPLAY, INPUTS, REPLAYS = "capsule.json", "replay.py", "inputs", "replays"
FORMAT = 2
_CLAIM = ".capsule"
"""Marks a folder as a capsule's own before `capsule.json` is there."""


@dataclass(frozen=True)
class Stored:
    """An artifact in a capsule.

    Attributes:
      type: MLMD's ArtifactType, in protobuf's JSON.
      artifact: MLMD's Artifact, the same.
      original: where it was when the step ran.
      place: where the replay finds it: a path in the capsule, or the original; '' for an output, or an input that was
        gone already when the capsule was made.
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
      paths: where else modules of the step's own lie.
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
    paths: tuple[str, ...]
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
        """Writes `capsule.json`; credentials in URLs stay out."""
        data = {key: _clean(value) for key, value in dataclasses.asdict(self).items() if key != "folder"}
        storage.write_text(self.path(DESCRIPTION), json.dumps({"format": FORMAT, **data}, indent=1))

    @classmethod
    def load(cls, folder: str) -> "Capsule":
        """Reads a capsule.

        Raises:
          RunError: the folder holds none, or one that is damaged or of another format.
        """
        path = os.path.join(folder, DESCRIPTION)
        if not os.path.exists(path):
            raise RunError(
                f"'{folder}' holds no capsule: '{DESCRIPTION}' is missing.", "`braid debug RUN/step` makes one."
            )
        try:
            data = json.loads(storage.read_text(path))
            written_by = data.pop("format")
            if written_by == FORMAT:
                return cls._of(data, os.path.abspath(folder))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"'{path}' is damaged: {type(error).__name__}: {error}.",
                "Make the capsule again: braid debug RUN/step.",
            ) from error
        raise RunError(
            f"'{path}' has format {written_by!r}, and this version of Braid reads format {FORMAT}.",
            "Make the capsule again: braid debug RUN/step.",
        )

    @classmethod
    def _of(cls, data: dict[str, Any], folder: str) -> "Capsule":
        for side in ("inputs", "outputs"):
            data[side] = {key: tuple(Stored(**one) for one in found) for key, found in data[side].items()}
        for name in ("redirected", "paths"):
            data[name] = tuple(data[name])
        return cls(**data, folder=folder)


def claim(folder: str) -> None:
    """Makes a folder for a capsule, or takes one that is a capsule's.

    Raises:
      RunError: it is a file, holds something else, or cannot be made.
    """
    hint = "Name an empty folder, or one that is not there yet, with --to."
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise RunError(f"'{folder}' is no folder.", hint)
    found = os.listdir(folder) if os.path.isdir(folder) else []
    if found and not {_CLAIM, DESCRIPTION} & set(found):
        raise RunError(f"'{folder}' is no capsule, and holds {listed(sorted(found), 4)}: it is left alone.", hint)
    try:
        storage.write_text(os.path.join(folder, _CLAIM), "")
    except OSError as error:
        raise RunError(f"'{folder}' cannot be written to: {error.strerror or error}.", hint) from error


def _clean(value: Any) -> Any:
    """The value with no `user:password@` in any URL of it."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {key: _clean(inner) for key, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, Iterable) else value
