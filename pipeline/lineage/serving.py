"""Which models serve now: what was pushed, held against what the folder they were pushed to says today."""

import os
from collections.abc import Collection, Iterable
from functools import cache

from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact

PUSHED_MODEL, MODEL_KEY, CURRENT = "PushedModel", "model", "current"


def serving(archive: Archive) -> dict[int, str]:
    """For each artifact, Model or PushedModel, whose version serves now: the folder it serves from.

    A bucket is not asked: of what was pushed there, the highest version is taken to serve.
    """
    places = {pushed.id: _destination(pushed) for pushed in _pushed(archive)}
    now = _serving_versions(set(places.values()))
    current = {id_: place for id_, place in places.items() if place in now}
    return current | {model: current[pushed] for model, pushed in model_pushed(archive, current).items()}


def pushed_versions(archive: Archive) -> dict[str, list[Artifact]]:
    """The PushedModel artifacts by their version's folder, links resolved: several runs may have pushed the same model."""
    found: dict[str, list[Artifact]] = {}
    resolved = cache(os.path.realpath)
    for pushed in _pushed(archive):
        place = _destination(pushed)
        folder, version = os.path.split(place)
        place = place if _is_remote(place) else os.path.join(resolved(folder), version)
        for name in {place, os.path.realpath(place)} if os.path.islink(place) else {place}:
            found.setdefault(name, []).append(pushed)
    return found


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
    return str(pushed.properties.get("pushed_destination") or pushed.uri).rstrip("/")


def _serving_versions(versions: Collection[str]) -> set[str]:
    """Those of the versions that their folder serves now; each folder is looked at once."""
    folders: dict[str, list[str]] = {}
    for version in versions:
        folders.setdefault(os.path.dirname(version), []).append(version)
    return {version for folder, recorded in folders.items() for version in _current(folder, recorded)}


def _current(folder: str, recorded: Collection[str]) -> list[str]:
    """The version that `current` points to or, as TensorFlow Serving has it, the highest number."""
    pointer = os.path.join(folder, CURRENT)
    if os.path.lexists(pointer):
        target = os.path.realpath(pointer)
        names = {os.path.basename(target), os.path.basename(os.readlink(pointer)) if os.path.islink(pointer) else ""}
        some = [version for version in recorded if os.path.basename(version) in names]
        return [version for version in some if os.path.isdir(version) and os.path.realpath(version) == target]
    highest = max(filter(_is_number, _versions(folder, recorded)), key=int, default="")
    return [version for version in recorded if highest and os.path.basename(version) == highest]


def _versions(folder: str, recorded: Collection[str]) -> Collection[str]:
    """What is in the folder or, where it cannot be listed, what was put there."""
    put = [os.path.basename(version) for version in recorded]
    if _is_remote(folder):
        return put
    try:
        return os.listdir(folder)
    except PermissionError:
        return put
    except OSError:  # it is gone
        return []


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 100


def _is_remote(path: str) -> bool:
    return "://" in path
