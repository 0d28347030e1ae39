"""The inputs of a capsule: copied, cut down, or left where they lie."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import files_in, folder_digest, folder_size
from pipeline.debugging import sampling
from pipeline.debugging.capsule import INPUTS, Stored
from pipeline.debugging.recorded import RecordedArtifact, RecordedStep

COPIED_BYTES = 200 << 20
"""Inputs of up to so many bytes are copied into the capsule; larger ones are read where they lie, unless in a bucket."""


@dataclass(frozen=True)
class Wishes:
    """What the user asked of a capsule.

    Attributes:
      copy: copy inputs of any size.
      sample: rows that tables are cut down to; 0 for whole tables.
      code: the root of the code to replay with; '' for this program's own.
      interpreter: the Python of the run configurations; '' for this program's own.
    """

    copy: bool = False
    sample: int = 0
    code: str = ""
    interpreter: str = ""


def inputs(step: RecordedStep, folder: str, wishes: Wishes, notes: list[str]) -> dict[str, tuple[Stored, ...]]:
    """Puts what a step read into its capsule.

    Args:
      step: as it was recorded.
      folder: the capsule's.
      wishes: how much is to be copied.
      notes: what the user should know is added here: inputs that are gone, changed, large or cut down.
    """
    sizes = {found.artifact.id: _bytes(found, notes) for found in step.inputs}
    small = sum(sizes.values()) <= COPIED_BYTES

    def stored(found: RecordedArtifact) -> Stored:
        uri = found.artifact.uri
        place = os.path.join(INPUTS, found.key, str(found.artifact.id))
        if sizes[found.artifact.id] < 0:
            place = ""
        elif wishes.sample and sampling.is_table(uri):
            place += f"-{wishes.sample}-rows"
            notes.append(f"{found.key}: {_sampled(step, found, os.path.join(folder, place), wishes.sample)}")
        elif storage.is_remote(uri) or wishes.copy or small:
            _copy(found, os.path.join(folder, place), notes)
        else:
            size = sizes[found.artifact.id]
            notes.append(f"{found.key}: {size:,} bytes are read where they lie ({uri}); --copy copies them.")
            place = uri
        return Stored(**found.to_json(), original=uri, place=place)

    made = by_key(step.inputs, stored)
    _forget_others(folder, {one.place for found in made.values() for one in found})
    return made


def by_key(
    artifacts: tuple[RecordedArtifact, ...], stored: Callable[[RecordedArtifact], Stored]
) -> dict[str, tuple[Stored, ...]]:
    """Artifacts under the names that the step knows them by, in order."""
    found: dict[str, list[Stored]] = {}
    for artifact in artifacts:
        found.setdefault(artifact.key, []).append(stored(artifact))
    return {key: tuple(of_key) for key, of_key in found.items()}


def fetch(uri: str, folder: str) -> None:
    """Copies a folder, local or in a bucket, in the place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    for relative, path in files_in(uri):
        with storage.open_input(path) as source, storage.open_output(os.path.join(folder, relative)) as copy:
            shutil.copyfileobj(source, copy)


def _bytes(found: RecordedArtifact, notes: list[str]) -> int:
    """-1 for what is gone: a capsule without it still tells what happened."""
    try:
        return folder_size(found.artifact.uri)[1]
    except DataError as error:
        notes.append(
            f"{found.key}: {error} Without it the step cannot be replayed; "
            "running the pipeline again writes it anew, and `braid lineage verify` lists what else is missing."
        )
        return -1


def _copy(found: RecordedArtifact, folder: str, notes: list[str]) -> None:
    """Fetches an input, unless the capsule has it already, and tells whether it is what the step read."""
    uri, recorded = found.artifact.uri, found.artifact.properties.get("tree_digest")
    if recorded and os.path.isdir(folder) and folder_digest(folder).digest == recorded:
        return
    fetch(uri, folder)
    if recorded and folder_digest(folder).digest != recorded:
        notes.append(f"{found.key}: the files in '{uri}' are not what they were when they were written.")


def _sampled(step: RecordedStep, found: RecordedArtifact, folder: str, rows: int) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    return sampling.sample(found.artifact.uri, folder, rows, _streams(step, found))


def _streams(step: RecordedStep, found: RecordedArtifact) -> bool:
    """Whether the step streams the table: a table that it broadcasts stays whole, or joins would find no partner."""
    config = str(step.properties.get("config", ""))
    return f'"stream": "{found.artifact.properties.get("table", "")}"' in config or '"stream"' not in config


def _forget_others(folder: str, places: set[str]) -> None:
    """Removes copies that this capsule does not use: it was another's, or another sample was asked for."""
    root = os.path.join(folder, INPUTS)
    for key in os.listdir(root) if os.path.isdir(root) else ():
        for name in os.listdir(os.path.join(root, key)):
            if os.path.join(INPUTS, key, name) not in places:
                shutil.rmtree(os.path.join(root, key, name), ignore_errors=True)


def sources_since(properties: Mapping[str, object]) -> list[str]:
    """How the files behind a source's table differ by now from those that were read."""
    listed = properties.get("files")
    return [words for file in listed if (words := _since(file))] if isinstance(listed, list) else []


def _since(file: Mapping[str, object]) -> str:
    path, size = str(file.get("path", "")), file.get("size")
    if storage.is_remote(path) or not file.get("digest"):
        return ""
    if not os.path.exists(path):
        return f"The source file '{path}' is gone."
    same = os.path.getsize(path) == size
    if same and os.path.getsize(path) <= COPIED_BYTES:
        same = storage.content_digest(path) == file["digest"]
    return "" if same else f"The source file '{path}' is not what it was when the step read it."
