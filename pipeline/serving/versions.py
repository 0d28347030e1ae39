"""The versions of a pipeline's models that were pushed: what ML Metadata tells, held against their folders as they are."""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from beam_jobs import storage
from components import serving_folder
from components.serving_folder import Withdrawal
from components.withdrawn_models import PUT_BACK, ROLLBACK
from pipeline.lineage import serving
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.rollbacks import rollbacks


@dataclass(frozen=True)
class Version:
    """A model where it was pushed to.

    Attributes:
      pipeline: the pipeline that pushed it.
      name: its folder's name.
      path: that folder, whole.
      pushes: the PushedModel artifacts, oldest first; a later run may have pushed the very same model.
      models: the Model artifacts that are this one, oldest first.
      run: the run that pushed it first.
      at: when that was, milliseconds since 1970.
      is_serving: whether `current` names it.
      withdrawal: why it was withdrawn, if it was.
    """

    pipeline: str
    name: str
    path: str
    pushes: tuple[Artifact, ...]
    models: tuple[Artifact, ...]
    run: str
    at: int
    is_serving: bool
    withdrawal: Withdrawal | None

    @property
    def folder(self) -> str:
        """The folder that holds all versions."""
        return os.path.dirname(self.path)

    @property
    def is_there(self) -> bool:
        """Whether its folder still is; a bucket is not asked."""
        return storage.is_remote(self.path) or os.path.isdir(self.path)

    @property
    def model(self) -> Artifact | None:
        """The newest of its Model artifacts whose folder is there, else the newest."""
        there = [one for one in self.models if storage.is_remote(one.uri) or storage.exists(one.uri)]
        return next(reversed(there or self.models), None)


@dataclass(frozen=True)
class Served:
    """That a version began to serve.

    Attributes:
      path: the version's folder.
      execution: the push, or the rollback.
    """

    path: str
    execution: int


def versions(archive: Archive, pipeline: str = "") -> list[Version]:
    """All versions of all pipelines, or of one, each folder's in the order of their numbers."""
    by_path: dict[str, list[Artifact]] = {}
    for one in serving.pushed(archive):
        by_path.setdefault(serving.destination(one), []).append(one)
    makers = _makers(archive, [one.id for pushes in by_path.values() for one in pushes])
    behind = _models(archive, by_path)
    now = serving.serving(archive)
    withdrawals = cache(functools.partial(_withdrawals, archive))
    found = []
    for path, pushes in by_path.items():
        first = next((makers[one.id] for one in pushes if one.id in makers), None)
        if first is None or pipeline not in ("", first.pipeline):
            continue
        folder, name = os.path.split(path)
        withdrawal = withdrawals(folder).get(name)
        serves = any(one.id in now for one in pushes)
        models, at = behind[path], pushes[0].created
        found.append(Version(first.pipeline, name, path, tuple(pushes), models, first.run, at, serves, withdrawal))
    return sorted(found, key=lambda one: (one.pipeline, one.folder, _number(one.name), one.name))


def pipelines(found: Iterable[Version]) -> list[str]:
    """The pipelines that have versions."""
    return sorted({one.pipeline for one in found})


def in_reach(found: Iterable[Version]) -> list[Version]:
    """Those in the folder that was pushed to last, of the folders that are there.

    Workspaces may share a store, and a configuration may come to name another folder.
    """
    every = list(found)
    there = [one for one in every if storage.is_remote(one.folder) or os.path.isdir(one.folder)] or every
    last = max(there, key=lambda one: one.pushes[-1].id, default=None)
    return [one for one in there if last is not None and one.folder == last.folder]


def history(archive: Archive, found: Iterable[Version]) -> list[Served]:
    """When which of these versions began to serve, oldest first."""
    paths = {one.id: version.path for version in found for one in version.pushes}
    events = archive.events_of_artifacts(paths)
    executions = {one.id: one for one in archive.executions({event.execution for event in events})}
    moments = [
        Served(paths[event.artifact], event.execution)
        for event in events
        if _began_to_serve(executions[event.execution], event.is_input, event.key)
    ]
    return sorted(moments, key=lambda one: one.execution)


def _began_to_serve(execution: Execution, is_input: bool, key: str) -> bool:
    if execution.state != "COMPLETE":  # of a push from the cache, nothing was done
        return False
    return not is_input or (execution.type == ROLLBACK and key == PUT_BACK)


def _makers(archive: Archive, pushed: list[int]) -> dict[int, Execution]:
    """For each PushedModel, the Pusher that wrote it, rather than one that took it from the cache."""
    events = archive.events_of_artifacts(pushed, is_input=False)
    executions = {one.id: one for one in archive.executions([event.execution for event in events])}
    ordered = sorted(events, key=lambda event: (not executions[event.execution].is_cached, -event.execution))
    return {event.artifact: executions[event.execution] for event in ordered}


def _models(archive: Archive, by_path: dict[str, list[Artifact]]) -> dict[str, tuple[Artifact, ...]]:
    paths = {one.id: path for path, pushes in by_path.items() for one in pushes}
    found: dict[str, set[int]] = {path: set() for path in by_path}
    for record, model in serving.models_behind(archive, paths):
        found[paths[record]].add(model)
    return {path: tuple(archive.artifacts(models)) for path, models in found.items()}


def _withdrawals(archive: Archive, folder: str) -> dict[str, Withdrawal]:
    """Why versions of a folder do not serve any more; a bucket is not asked, the store tells of what was done there."""
    if not storage.is_remote(folder):
        return serving_folder.withdrawals(Path(folder))
    found: dict[str, Withdrawal] = {}
    for one in rollbacks(archive):
        if one.folder == folder:
            found |= {one.withdrawn: Withdrawal("", one.why, one.by, one.at / 1000)} if one.withdrawn else {}
            found.pop(one.put_back, None)
    return found


def _number(name: str) -> int:
    return int(name) if name.isascii() and name.isdecimal() else 0
