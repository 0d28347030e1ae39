"""Which models serve now: what was pushed, held against what the folder they were pushed to says today."""

import os
from collections.abc import Collection, Iterable, Mapping
from functools import cache

from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact

PUSHED_MODEL, MODEL, MODEL_KEY, CURRENT = "PushedModel", "Model", "model", "current"


def serving(archive: Archive) -> dict[int, str]:
    """For each artifact, Model or PushedModel, whose version serves now: the folder it serves from.

    A bucket is not asked: of what was pushed there, the highest version is taken to serve.
    """
    return _current_of(archive, {pushed.id: _destination(pushed) for pushed in _pushed(archive)})


def serving_among(archive: Archive, artifacts: Mapping[int, Artifact]) -> dict[int, str]:
    """The same for some artifacts; of a store with many pushes, only those of these models are looked at."""
    models = [id_ for id_, artifact in artifacts.items() if artifact.type == MODEL]
    readers = {e.execution for e in archive.events_of_artifacts(models, is_input=True) if e.key == MODEL_KEY}
    written = {event.artifact for event in archive.events_of_executions(readers, is_input=False)}
    near = [*artifacts.values(), *archive.artifacts(written - artifacts.keys())]
    places = {found.id: _destination(found) for found in near if found.type == PUSHED_MODEL and _went_out(found)}
    current = _current_of(archive, places) if all(map(_can_be_seen, places.values())) else serving(archive)
    return {id_: place for id_, place in current.items() if id_ in artifacts}


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
    makers = {event.execution: event.artifact for event in archive.events_of_artifacts(pushed, is_input=False)}
    return {
        event.artifact: makers[event.execution]
        for event in sorted(archive.events_of_executions(makers, is_input=True), key=lambda event: event.execution)
        if event.key == MODEL_KEY
    }


def _pushed(archive: Archive) -> Iterable[Artifact]:
    return [found for found in archive.artifacts_of_type(PUSHED_MODEL) if _went_out(found)]


def _went_out(pushed: Artifact) -> bool:
    """Whether it really went somewhere: a Pusher that held its model back writes an artifact, too."""
    return bool(pushed.custom("pushed") == 1)


def _destination(pushed: Artifact) -> str:
    return str(pushed.custom("pushed_destination") or pushed.uri).rstrip("/")


def _current_of(archive: Archive, places: Mapping[int, str]) -> dict[int, str]:
    """Those of the pushed that serve now, and their models."""
    now = _serving_versions(set(places.values()))
    current = {id_: place for id_, place in places.items() if place in now}
    return current | {model: current[pushed] for model, pushed in model_pushed(archive, current).items()}


def _can_be_seen(version: str) -> bool:
    """Whether the disk tells what serves; else all that was ever pushed there counts."""
    folder = os.path.dirname(version)
    return not _is_remote(version) and (os.access(folder, os.R_OK) or not os.path.isdir(folder))


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
