"""Which models serve now: what was pushed, held against what the folder they were pushed to says today."""

import os
from collections.abc import Collection, Mapping
from functools import cache

from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact
from pipeline.lineage.rollbacks import rollbacks

PUSHED_MODEL, MODEL, MODEL_KEY, CURRENT = "PushedModel", "Model", "model", "current"
CHOSEN_DIGEST = "model_digest"
"""The property of a PushedModel that tells which of several candidates it is: the digest of that Model's folder."""


def serving(archive: Archive) -> dict[int, str]:
    """For each artifact, Model or PushedModel, whose version serves now: the folder it serves from.

    A bucket is not asked: what was pushed or put back there last is taken to serve.
    """
    return _current_of(archive, {one.id: destination(one) for one in pushed(archive)})


def serving_among(archive: Archive, artifacts: Mapping[int, Artifact]) -> dict[int, str]:
    """The same for some artifacts; of a store with many pushes, only those of these models are looked at."""
    models = [id_ for id_, artifact in artifacts.items() if artifact.type == MODEL]
    readers = {e.execution for e in archive.events_of_artifacts(models, is_input=True) if e.key == MODEL_KEY}
    written = {event.artifact for event in archive.events_of_executions(readers, is_input=False)}
    near = [*artifacts.values(), *archive.artifacts(written - artifacts.keys())]
    places = {found.id: destination(found) for found in near if found.type == PUSHED_MODEL and _went_out(found)}
    current = _current_of(archive, places) if all(map(_can_be_seen, places.values())) else serving(archive)
    return {id_: place for id_, place in current.items() if id_ in artifacts}


def pushed(archive: Archive) -> list[Artifact]:
    """The PushedModel artifacts of models that went somewhere; what was held back left one, too."""
    return [found for found in archive.artifacts_of_type(PUSHED_MODEL) if _went_out(found)]


def destination(pushed: Artifact) -> str:
    """The folder of the version that was pushed."""
    return str(pushed.custom("pushed_destination") or pushed.uri).rstrip("/")


def pushed_versions(archive: Archive) -> dict[str, list[Artifact]]:
    """The PushedModel artifacts by their version's folder, links resolved: several runs may have pushed the same model."""
    found: dict[str, list[Artifact]] = {}
    resolved = cache(os.path.realpath)
    for one in pushed(archive):
        place = destination(one)
        folder, version = os.path.split(place)
        place = place if _is_remote(place) else os.path.join(resolved(folder), version)
        for name in {place, os.path.realpath(place)} if os.path.islink(place) else {place}:
            found.setdefault(name, []).append(one)
    return found


def model_pushed(archive: Archive, pushed: Collection[int]) -> dict[int, int]:
    """For each Model behind these PushedModel artifacts, the newest of those that it was pushed as."""
    return {model: record for record, model in models_behind(archive, pushed)}


def models_behind(archive: Archive, pushed: Collection[int]) -> list[tuple[int, int]]:
    """Each of these PushedModel artifacts with each Model that was pushed as it, in the order of the pushes."""
    makers = {event.execution: event.artifact for event in archive.events_of_artifacts(pushed, is_input=False)}
    read: dict[int, list[int]] = {}
    for event in sorted(archive.events_of_executions(makers, is_input=True), key=lambda event: event.execution):
        if event.key == MODEL_KEY:
            read.setdefault(event.execution, []).append(event.artifact)
    found = [(makers[id_], model) for id_, read_by in read.items() for model in _chosen(archive, makers[id_], read_by)]
    return list(dict.fromkeys(found))


def _chosen(archive: Archive, pushed: int, models: Collection[int]) -> Collection[int]:
    """Which of several candidates was pushed; of a Pusher that does not record it, all."""
    (record,) = archive.artifacts([pushed]) if len(models) > 1 else [None]
    chosen = record.custom(CHOSEN_DIGEST) if record else None
    return [one.id for one in archive.artifacts(models) if not chosen or one.custom("tree_digest") == chosen]


def _went_out(pushed: Artifact) -> bool:
    """Whether it really went somewhere: a Pusher that held its model back writes an artifact, too."""
    return bool(pushed.custom("pushed") == 1)


def _current_of(archive: Archive, places: Mapping[int, str]) -> dict[int, str]:
    """Those of the pushed that serve now, and their models."""
    here = {place for place in places.values() if not _is_remote(place)}
    remote = {id_: place for id_, place in places.items() if place not in here}
    now = _serving_versions(here) | (_last_put_there(archive, remote) if remote else set())
    current = {id_: place for id_, place in places.items() if place in now}
    return current | {model: current[pushed] for model, pushed in model_pushed(archive, current).items()}


def _last_put_there(archive: Archive, places: Mapping[int, str]) -> set[str]:
    """Of the versions in each folder, the highest that was pushed since the last rollback, else the one put back then."""
    rolled_back = {one.folder: one for one in rollbacks(archive)}
    by_folder: dict[str, list[tuple[str, int]]] = {}
    for pushed in archive.artifacts(places):
        folder, version = os.path.split(places[pushed.id])
        by_folder.setdefault(folder, []).append((version, pushed.created))
    found = set()
    for folder, versions in by_folder.items():
        last = rolled_back.get(folder)
        since = [version for version, at in versions if last is None or at > last.at]
        highest = max(filter(_is_number, since), key=int, default=last.put_back if last else "")
        found |= {f"{folder}/{version}" for version, _ in versions if version == highest}
    return found


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
    """What is in the folder or, where it may not be listed, what was put there."""
    put = [os.path.basename(version) for version in recorded]
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
