"""The folders that a pipeline's steps wrote, as they lie on disk, held against what the store knows of them.

TFX gives each output the folder `<root>/<step>/<key>/<execution>`, and keeps files of its own while a step runs in
`<root>/<step>/.system/<key>/<execution>`. A bucket has no folders but by its objects' names; a root there is listed once.
"""

import glob
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from beam_jobs import storage
from beam_jobs.errors import DataError
from pipeline.lineage.archive import NODE, PIPELINE_SUFFIX, Archive
from pipeline.lineage.records import Artifact, Execution

Roots = Mapping[str, str]
"""Folders that outputs go to, local or in a bucket, each with its pipeline, which may have several."""
Owner = Literal["artifact", "execution", "removed", "running", "failed", "none"]
_SYSTEM = ".system"
_PATTERNS = ("*/*/*", f"*/{_SYSTEM}/*/*")
_MOST_DIGITS = 18  # beyond that no store counts
_TAIL = 3  # parts of a path that an artifact's folder has under its pipeline's root


@dataclass(frozen=True)
class OutputFolder:
    """A folder that looks like an output.

    Attributes:
      path: whole, links resolved.
      execution: the number that it bears.
      owner: 'artifact' when an artifact names it; 'removed' when only artifacts do that gc has marked; 'running' or
        'failed' when an execution does that is under way or ended so; 'execution' for TFX's own files of one that ended
        well; 'none' when nothing does.
      changed: when it was written last, in seconds since 1970.
    """

    path: str
    pipeline: str
    step: str
    execution: int
    owner: Owner
    changed: float


def normal(uri: str) -> str:
    """One spelling for each place: links resolved, without `file://` and a slash at the end."""
    return uri.rstrip("/") if storage.is_remote(uri) else os.path.realpath(uri.removeprefix("file://"))


def output_folders(archive: Archive, roots: Roots, artifacts: Iterable[Artifact]) -> list[OutputFolder]:
    """Every output's folder of every step under the pipelines' roots, sorted by path.

    A folder counts as an artifact's where the ends of their paths are the same, too: so it is in a workspace that was
    moved as a whole.

    Args:
      archive: the store.
      roots: the folders that pipelines' outputs go to.
      artifacts: every artifact of the store.

    Raises:
      DataError: a bucket cannot be listed.
    """
    paths = {
        path: (name, normal(root), changed)
        for root, name in roots.items()
        for path, changed in _folders(normal(root)).items()
    }
    executions = {one.id: one for one in archive.executions([_number(path) for path in paths])}
    known = {context.name for context in archive.store.get_contexts_by_type(NODE)}
    states, found = _states(artifacts), []
    for path, (pipeline, root, changed) in sorted(paths.items()):
        step = path.removeprefix(f"{root}/").split("/")[0]
        if known.isdisjoint((f"{pipeline}{PIPELINE_SUFFIX}.{step}", f"{pipeline}.{step}")):
            continue  # a folder of the user's own
        owner = _owner(path, step, states, executions.get(_number(path)))
        found.append(OutputFolder(path, pipeline, step, _number(path), owner, changed))
    return found


def _folders(root: str) -> dict[str, float]:
    """The folders that look like an output, and when each was written last."""
    if storage.is_remote(root):
        return _folders_in_bucket(root)
    paths = (path for pattern in _PATTERNS for path in glob.iglob(os.path.join(glob.escape(root), pattern)))
    return {
        path: os.lstat(path).st_mtime
        for path in paths
        if _number(path) >= 0 and os.path.isdir(path) and not os.path.islink(path)
    }


def _folders_in_bucket(root: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for path, changed in _objects(root).items():
        parts = path.removeprefix(f"{root}/").split("/")
        depth = _TAIL + (parts[1:2] == [_SYSTEM])
        folder = "/".join((root, *parts[:depth]))
        if len(parts) > depth and _number(folder) >= 0:
            # What the store does not date is taken for new.
            found[folder] = max(found.get(folder, 0.0), changed or time.time())
    return found


def _objects(root: str) -> dict[str, float]:
    from beam_jobs import buckets

    try:
        return buckets.below(root)
    except FileNotFoundError:  # the bucket is gone, and all in it
        return {}
    except OSError as error:
        raise DataError(
            f"'{root}', where this workspace has outputs, cannot be listed: {error.strerror}.",
            "Check your credentials, and your permission to list the bucket.",
        ) from error


def _number(path: str) -> int:
    name = os.path.basename(path)
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= _MOST_DIGITS else -1


def _states(artifacts: Iterable[Artifact]) -> dict[str, set[str]]:
    """The states of the artifacts at each place, and at each end of a path."""
    found: dict[str, set[str]] = {}
    for artifact in artifacts:
        place = normal(artifact.uri)
        for name in {place, *_above(place), _tail(place)}:
            found.setdefault(name, set()).add(artifact.state)
    return found


def _above(path: str) -> Iterator[str]:
    """The folder above, for the outputs of a step that writes several under one key: `<execution>/0`, `/1`."""
    yield os.path.dirname(path)
    yield _tail(os.path.dirname(path))


def _tail(path: str) -> str:
    return "/".join(path.split("/")[-_TAIL:])


def _owner(path: str, step: str, states: Mapping[str, set[str]], execution: Execution | None) -> Owner:
    of_artifacts = states.get(path) or states.get(_tail(path))
    if of_artifacts:
        return "removed" if of_artifacts <= {"DELETED", "MARKED_FOR_DELETION"} else "artifact"
    if execution is None or execution.step != step:
        return "none"
    if execution.state in ("RUNNING", "NEW"):
        return "running"
    if execution.state in ("FAILED", "CANCELED"):
        return "failed"
    return "execution" if f"{os.sep}{_SYSTEM}{os.sep}" in path else "none"
