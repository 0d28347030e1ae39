"""What a source file went into, whichever way its path is written."""

import dataclasses
import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import DataError, listed, nearest
from pipeline.lineage import ancestry
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.records import Artifact
from pipeline.lineage.tables import SOURCE_TABLE, open_table


@dataclass(frozen=True)
class SourceFile:
    """A file as one source's table was read from it.

    Attributes:
      table: the artifact of the source's table.
      path: whole, or a bucket path.
      digest: of its bytes when it was read; '' where that was not recorded.
      size: in bytes; -1 where that was not recorded.
      found_by: 'path', or 'content' for one of another path with the same bytes.
    """

    table: Artifact
    path: str
    digest: str
    size: int
    found_by: str

    @property
    def now(self) -> str:
        """'unchanged', 'changed' or 'gone', held against the file as it is; 'unknown' without a recorded digest."""
        if not storage.exists(self.path):
            return "gone"
        if not self.digest:
            return "unknown"
        return "unchanged" if storage.content_digest(self.path) == self.digest else "changed"


@dataclass(frozen=True)
class FileUse:
    """What was made from a file.

    Attributes:
      path: as it was asked for.
      files: every version of it that was read, oldest first.
      lineage: everything made from them.
    """

    path: str
    files: tuple[SourceFile, ...]
    lineage: Lineage

    @property
    def runs(self) -> dict[str, list[str]]:
        """The steps that it went into, by run, oldest first; what only looked artifacts up is left out."""
        found: dict[str, list[str]] = {}
        for execution in sorted(self.lineage.executions.values(), key=lambda execution: execution.id):
            if not execution.is_resolver:
                found.setdefault(execution.run, []).append(execution.step)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        lineage = self.lineage
        return {
            "path": self.path,
            "files": [
                {
                    "path": f.path,
                    "table": f.table.id,
                    "digest": f.digest,
                    "size": f.size,
                    "found_by": f.found_by,
                    "now": f.now,
                }
                for f in self.files
            ],
            "runs": self.runs,
            "artifacts": [
                {"id": a.id, "type": a.type, "uri": a.uri, "serves_from": lineage.serving.get(a.id, "")}
                for a in lineage.artifacts.values()
            ],
        }


def uses_of(archive: Archive, path: str) -> FileUse:
    """Everything made from a source file, a folder of them or a glob: relative, with `~`, `file://` or `package://`, or through a link.

    Raises:
      LineageError: no run has read it; the message names the nearest file that one has.
    """
    known = list(_files(archive))
    spellings = _spellings(path)
    found = [file for file in known if _is_meant(file, spellings)]
    found = found or _by_link(known, spellings) or _by_content(known, path)
    if not found:
        raise _never_read(known, path)
    lineage = ancestry.of_artifacts(archive, path, "down", {file.table.id for file in found})
    return FileUse(path, tuple(found), lineage)


def recorded_files(table: Artifact) -> list[Mapping[str, Any]]:
    """The files that a source's table was read from: as recorded or, in older stores, as its manifest names them."""
    recorded = table.properties.get("files")
    if isinstance(recorded, list):
        return recorded
    try:
        opened = open_table(table)
    except LineageError:
        return []
    paths = [origin.file for origin in opened.origins] or [opened.path(part) for part in opened.parts]
    return [{"path": path} for path in dict.fromkeys(paths)]


def _files(archive: Archive) -> Iterator[SourceFile]:
    for table in archive.artifacts_of_type(SOURCE_TABLE):
        for file in recorded_files(table):
            yield SourceFile(table, file["path"], file.get("digest", ""), int(file.get("size", -1)), "path")


def _is_meant(file: SourceFile, spellings: Collection[str]) -> bool:
    """Whether it is one of the paths, lies in one of them as a folder, or matches one of them as a glob."""
    return any(
        file.path == path or file.path.startswith(f"{path.rstrip('/')}/") or fnmatch.fnmatchcase(file.path, path)
        for path in spellings
    )


def _spellings(path: str) -> set[str]:
    """The path as it is, whole, and with its links followed."""
    try:
        whole = storage.resolve(path)
    except DataError:  # a package that is not installed here
        return {path}
    return {whole} if storage.is_remote(whole) else {path, whole, os.path.realpath(whole)}


def _by_link(known: Iterable[SourceFile], spellings: Collection[str]) -> list[SourceFile]:
    """Files that were read through a link to the path."""
    real = {path: os.path.realpath(path) for path in {file.path for file in known} if not storage.is_remote(path)}
    return [file for file in known if real.get(file.path) in spellings]


def _by_content(known: Iterable[SourceFile], path: str) -> list[SourceFile]:
    """Files of other names with the same bytes: the file was moved or copied since, or before."""
    try:
        whole = storage.resolve(path)
        digest = storage.content_digest(whole) if storage.exists(whole) and not os.path.isdir(whole) else ""
    except (DataError, OSError):
        return []
    return [dataclasses.replace(file, found_by="content") for file in known if digest and file.digest == digest]


def _never_read(known: Iterable[SourceFile], path: str) -> LineageError:
    paths = sorted({file.path for file in known})
    if not paths:
        return LineageError(
            f"No run in this store has read '{path}': it holds no source table of Braid's.",
            "For the artifacts of other pipelines, ask `braid lineage down URI`.",
        )
    by_name = {os.path.basename(known_path): known_path for known_path in paths}
    close = nearest(path, paths) or nearest(os.path.basename(path), by_name)
    return LineageError(
        f"No run in this store has read '{path}', nor a file with the same bytes.{close}",
        f"Files that were read: {listed(paths, 6)}.",
    )
