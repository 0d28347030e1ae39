"""What nothing needs any more, and so may be deleted. Plans only: `pipeline.collecting` deletes."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import folder_size
from pipeline.lineage import keeping
from pipeline.lineage.archive import Archive
from pipeline.lineage.keeping import Keep, Policy
from pipeline.lineage.output_folders import OutputFolder, Roots, normal, output_folders
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.waste import bytes_of

Cause = Literal["unneeded", "failed", "unfinished", "orphaned"]
_FAILED, _UNDER_WAY = ("FAILED", "CANCELED"), ("RUNNING", "NEW")
_PRESENT = ("LIVE", "UNKNOWN")
_AT_ONCE = 10_000
_GONE = ("DELETED", "MARKED_FOR_DELETION")
_WRITTEN = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT, pb.Event.PENDING_OUTPUT)
_DEPTH = 3  # an output's folder lies so far under its pipeline's root


@dataclass(frozen=True)
class Removal:
    """A folder to delete.

    Attributes:
      path: whole, links resolved.
      artifacts: the ids of all that lie there; none for a folder that no artifact names.
      run: what wrote it; '' where the store does not tell.
      cause: 'unfinished' for what an earlier gc has marked and not deleted.
      bytes: None where it is gone already.
    """

    path: str
    artifacts: tuple[int, ...]
    pipeline: str
    run: str
    step: str
    cause: Cause
    bytes: int | None


@dataclass(frozen=True)
class Refusal:
    """What nothing needs, but is not gc's to delete."""

    path: str
    artifacts: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Plan:
    """What to delete.

    Attributes:
      kept_runs: why each run that is kept whole is so.
      kept: how many artifacts stay.
    """

    removals: tuple[Removal, ...]
    refusals: tuple[Refusal, ...]
    kept_runs: Mapping[str, Keep]
    kept: int

    @property
    def bytes(self) -> int:
        """What would be free."""
        return sum(removal.bytes or 0 for removal in self.removals)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "bytes": self.bytes}


def plan(archive: Archive, roots: Roots, policy: Policy) -> Plan:
    """Finds what no serving model, no pinned run and no recent run needs, and what failed attempts left behind.

    Args:
      archive: the store.
      roots: the folders of this workspace's outputs; nothing outside of them is ever planned for deletion.
      policy: what else is kept.

    Raises:
      DataError: a bucket cannot be listed.
    """
    artifacts = archive.artifacts([proto.id for proto in archive.store.get_artifacts()])
    kept = keeping.kept(archive, policy)
    free = [one for one in artifacts if one.uri and one.id not in kept.artifacts and one.state != "DELETED"]
    writers = _writers(archive, [one.id for one in free])
    causes = {one.id: cause for one in free if (cause := _cause(archive, one, writers.get(one.id, []), policy))}
    staying = [one for one in artifacts if one.id not in causes and one.state not in _GONE]
    # What an earlier gc has marked but is needed now, by a run pinned since for one, is left alone.
    needed = [one for one in artifacts if one.id in kept.artifacts and one.state in _GONE]
    protected = _Places(keeping.places_of(archive, [*staying, *needed]))
    removals, refusals = [], []
    folders = output_folders(archive, roots, artifacts)
    listed = {folder.path for folder in folders}
    for path, group in _by_place(one for one in artifacts if one.id in causes).items():
        ids = tuple(one.id for one in group)
        if protected.touch(path):
            staying += group
        elif pipeline := _pipeline_of(path, roots):
            written_by = [execution for id_ in ids for execution in writers.get(id_, [])]
            removals.append(_removal(path, group, pipeline, causes[ids[0]], written_by, _is_there(path, listed)))
        else:
            refusals.append(Refusal(path, ids, "outside of the folders of this workspace's pipelines"))
    sources = _Places(file for one in artifacts for file in keeping.files_read(one))
    planned = {removal.path for removal in removals}
    for folder in folders:
        is_free = folder.path not in planned and not protected.touch(folder.path) and not sources.touch(folder.path)
        if is_free and (found := _left_behind(archive, folder, policy)):
            removals.append(found)
    return Plan(tuple(removals), tuple(refusals), kept.runs, len(staying))


class _Places:
    """Paths, and what lies in them or around them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = {normal(path) for path in paths}
        self.around = {above for path in self.paths for above in _above(path)}

    def touch(self, path: str) -> bool:
        """Whether one of them is this path, lies in it, or holds it."""
        return path in self.paths or path in self.around or any(above in self.paths for above in _above(path))


def _above(path: str) -> Iterator[str]:
    while (above := os.path.dirname(path)) not in (path, ""):
        yield above
        path = above


def _writers(archive: Archive, artifacts: list[int]) -> dict[int, list[Execution]]:
    """The executions that wrote, or only announced, each artifact."""
    portions = (artifacts[start : start + _AT_ONCE] for start in range(0, len(artifacts), _AT_ONCE))
    events = [event for some in portions for event in archive.store.get_events_by_artifact_ids(some)]
    pairs = [(event.artifact_id, event.execution_id) for event in events if event.type in _WRITTEN]
    executions = {one.id: one for one in archive.executions({execution for _, execution in pairs})}
    found: dict[int, list[Execution]] = {}
    for artifact, execution in dict.fromkeys(pairs):
        found.setdefault(artifact, []).append(executions[execution])
    return found


def _cause(archive: Archive, artifact: Artifact, written_by: list[Execution], policy: Policy) -> Cause | None:
    """Why an artifact that nothing needs may go, if it may: what failed attempts half wrote is kept for a while."""
    if artifact.state == "MARKED_FOR_DELETION":
        return "unfinished"
    if artifact.state in _PRESENT:
        return None if any(one.state in _UNDER_WAY for one in written_by) else "unneeded"
    stale = written_by and all(_is_stale(archive, one, policy) for one in written_by)
    return "failed" if stale else None


def _is_stale(archive: Archive, execution: Execution, policy: Policy) -> bool:
    """Whether it failed, long ago, in a run that was not pinned."""
    ended = execution.proto.last_update_time_since_epoch
    old = execution.state in _FAILED and ended < policy.since(policy.failed_days)
    return old and not keeping.is_pinned(archive, execution.run)


def _by_place(artifacts: Iterable[Artifact]) -> dict[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        found.setdefault(normal(artifact.uri), []).append(artifact)
    return found


def _pipeline_of(path: str, roots: Roots) -> str:
    """The pipeline under whose root a path lies as an output does; '' where it lies elsewhere."""
    for root, pipeline in roots.items():
        above = f"{normal(root)}/"
        if path.startswith(above) and len(path.removeprefix(above).split("/")) >= _DEPTH:
            return pipeline
    return ""


def _is_there(path: str, listed: Collection[str]) -> bool:
    """Of what lies in a bucket, as the listing tells; a step may write several outputs into one folder."""
    if storage.is_remote(path):
        return path in listed or os.path.dirname(path) in listed
    return storage.exists(path)


def _removal(
    path: str, group: Collection[Artifact], pipeline: str, cause: Cause, written_by: list[Execution], there: bool
) -> Removal:
    maker = next((one for one in written_by if not one.is_cached), written_by[0] if written_by else None)
    run, step = (maker.run, maker.step) if maker else ("", "")
    size = max((size for one in group if (size := bytes_of(one)) is not None), default=None)
    return Removal(path, tuple(one.id for one in group), pipeline, run, step, cause, size if there else None)


def _left_behind(archive: Archive, folder: OutputFolder, policy: Policy) -> Removal | None:
    """The removal of a folder that no artifact needs: an orphan's, a failed attempt's, or what an earlier gc left."""
    execution = next(iter(archive.executions([folder.execution])), None)
    if folder.owner == "none" and folder.changed * 1000 < policy.since(policy.failed_days):
        cause: Cause = "orphaned"
    elif folder.owner == "failed" and execution and _is_stale(archive, execution, policy):
        cause = "failed"
    elif folder.owner == "removed":
        cause = "unfinished"
    else:
        return None
    run = execution.run if execution and cause != "orphaned" else ""
    try:
        size = folder_size(folder.path)[1]
    except DataError:
        size = None
    return Removal(folder.path, (), folder.pipeline, run, folder.step, cause, size)
