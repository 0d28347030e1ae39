"""Finds the artifact that a path means, however the path is written."""

import os
from collections.abc import Iterator

from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact
from pipeline.lineage.serving import pushed_versions

_MOST_PARENTS = 8  # folders within an artifact's, such as those of a SavedModel


def artifacts_of_path(archive: Archive, name: str) -> list[Artifact]:
    """The artifacts at a path: relative, with file://, with a slash at its end, of a file inside, or where it serves."""
    path = name.removeprefix("file://")
    if not path:
        return []
    whole = path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))
    pushed = pushed_versions(archive)
    for place in _and_parents(whole):
        if place != whole and not _may_hold(place, whole):
            continue
        found = [artifact for spelling in _spellings(place) for artifact in archive.artifacts_at(spelling)]
        found = found or next((pushed[spelling] for spelling in _resolved(place) if spelling in pushed), [])
        if found:
            return found
    return []


def _and_parents(path: str) -> Iterator[str]:
    for _ in range(_MOST_PARENTS):
        if not path.rpartition("/")[2] or path.endswith(":/"):
            return
        yield path
        path = path.rpartition("/")[0]


def _may_hold(folder: str, path: str) -> bool:
    """Whether the path may be inside the folder: a folder that is there and lacks it is not what was meant."""
    return "://" in path or os.path.exists(path) or not os.path.exists(folder)


def _spellings(path: str) -> dict[str, None]:
    """How a store may have written the path, each once."""
    if "://" in path:
        return dict.fromkeys((path, f"{path}/"))
    written = [path, os.path.realpath(path)]
    inner = os.path.relpath(path)
    if not inner.startswith(".."):  # a pipeline run from here may have a root such as ./output
        written += [inner, f"./{inner}"]
    return dict.fromkeys(
        spelling
        for place in written
        for spelling in (place, f"{place}/", f"file://{place}", f"file://{place}/")
        if place.startswith("/") or not spelling.startswith("file:")
    )


def _resolved(path: str) -> tuple[str, ...]:
    if "://" in path:
        return (path,)
    folder, version = os.path.split(path)
    return os.path.realpath(path), os.path.join(os.path.realpath(folder), version)
