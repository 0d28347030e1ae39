"""Which models serve now: what was pushed, held against what the folder they were pushed to says today."""

import os
from collections.abc import Collection, Iterable

from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact

PUSHED_MODEL, MODEL_KEY, CURRENT = "PushedModel", "model", "current"


def pushed_to(archive: Archive, folder: str) -> list[Artifact]:
    """The PushedModel artifacts of one version's folder; the same model may have been pushed there by several runs."""
    return [pushed for pushed in _pushed(archive) if os.path.realpath(_destination(pushed)) == folder]


def serving(archive: Archive) -> dict[int, str]:
    """For each artifact, Model or PushedModel, whose version serves now: the folder it serves from."""
    places = {pushed.id: _destination(pushed) for pushed in _pushed(archive)}
    current = {id_: place for id_, place in places.items() if _is_current(place)}
    return current | {model: current[pushed] for model, pushed in model_pushed(archive, current).items()}


def model_pushed(archive: Archive, pushed: Collection[int]) -> dict[int, int]:
    """For each Model behind these PushedModel artifacts, the newest of those that it was pushed as."""
    makers = {e.execution: e.artifact for e in archive.events_of_artifacts(pushed) if not e.is_input}
    return {
        event.artifact: makers[event.execution]
        for event in sorted(archive.events_of_executions(makers), key=lambda event: event.execution)
        if event.is_input and event.key == MODEL_KEY
    }


def _pushed(archive: Archive) -> Iterable[Artifact]:
    """PushedModel artifacts that really went somewhere: a Pusher that held its model back writes one, too."""
    return [found for found in archive.artifacts_of_type(PUSHED_MODEL) if found.properties.get("pushed") == 1]


def _destination(pushed: Artifact) -> str:
    return str(pushed.properties.get("pushed_destination") or pushed.uri)


def _is_current(version: str) -> bool:
    """Whether a version is the one that `current` points to or, as TensorFlow Serving has it, the highest number."""
    if not os.path.isdir(version):
        return False
    folder = os.path.dirname(version)
    pointer = os.path.join(folder, CURRENT)
    if os.path.lexists(pointer):
        return os.path.realpath(pointer) == os.path.realpath(version)
    numbers = [int(name) for name in os.listdir(folder) if name.isdecimal()]
    return os.path.basename(version).isdecimal() and int(os.path.basename(version)) == max(numbers)
