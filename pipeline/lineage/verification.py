"""`verify`: digests computed again: what is missing, changed or orphaned."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import MissingFolderError, folder_digest, folder_size
from beam_jobs.table import Table
from pipeline.lineage import naming, tables
from pipeline.lineage.archive import Archive
from pipeline.lineage.origin_changes import files_of
from pipeline.lineage.output_folders import Roots, output_folders
from pipeline.lineage.records import Artifact

Problem = Literal["missing", "changed", "unreadable", "source missing", "source changed", "orphaned", "left over"]
Method = Literal["tree", "table", "existence"]
_REMOVED = ("DELETED", "MARKED_FOR_DELETION")
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was recorded.

    Attributes:
      place: the folder or the source file.
      artifact: its id; of a source file that of the source's table; None for what nothing names.
      made_by: `RUN/step`; '' where the store does not tell.
      recorded: the digest; '' where there is none.
      found: the digest now; '' where there is none.
      note: what is meant, in words.
    """

    problem: Problem
    place: str
    artifact: int | None = None
    type: str = ""
    made_by: str = ""
    recorded: str = ""
    found: str = ""
    note: str = ""


@dataclass(frozen=True)
class Scope:
    """What is to be verified.

    Attributes:
      artifacts: each held against its own folder.
      sources: tables whose source files are looked at.
      removed: artifacts in scope that gc has removed, so that there is nothing to verify.
      superseded: source tables whose files are not looked at, as a newer table was read from the same source.
      roots: the pipelines' folders to be searched for what nothing names; none for less than everything.
    """

    artifacts: tuple[Artifact, ...]
    sources: tuple[Artifact, ...]
    removed: int = 0
    superseded: int = 0
    roots: Roots = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What there is to read, as far as it was recorded."""
        sizes = [artifact.properties.get("bytes") for artifact in self.artifacts]
        sizes += [file.get("size") for table in self.sources for file in (files_of(table) or {}).values()]
        return int(sum(size for size in sizes if isinstance(size, int | float)))


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found wrong.

    Attributes:
      by_digest: artifacts whose content was read and compared.
      by_existence: artifacts of which no digest was recorded, so that only their being there is known.
      source_files: files of sources that were read and compared.
      unknown: in sentences, what could not be verified.
    """

    findings: tuple[Finding, ...]
    by_digest: int
    by_existence: int
    source_files: int
    removed: int
    superseded: int
    unknown: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"sound": self.is_sound, **asdict(self)}


def scope(archive: Archive, name: str = "", roots: Roots | None = None) -> Scope:
    """What to verify: what `name` stands for or, without one, everything LIVE and the newest state of every source.

    Args:
      archive: the store.
      name: a run, `RUN/step`, or whatever else names artifacts.
      roots: the folder of each pipeline, searched only when everything is verified.

    Raises:
      LineageError: nothing is called so.
    """
    if name:
        found = naming.find(archive, name).artifacts
        kept = tuple(artifact for artifact in found if artifact.state not in _REMOVED)
        sources = tuple(artifact for artifact in kept if artifact.type == tables.SOURCE_TABLE)
        return Scope(kept, sources, removed=len(found) - len(kept))
    every = archive.artifacts([proto.id for proto in archive.store.get_artifacts()])
    live = tuple(artifact for artifact in every if artifact.state == "LIVE")
    read = [artifact for artifact in live if artifact.type == tables.SOURCE_TABLE]
    newest = {_source(archive, table): table for table in read}
    return Scope(
        live,
        tuple(newest.values()),
        removed=sum(artifact.state in _REMOVED for artifact in every),
        superseded=len(read) - len(newest),
        roots=roots or {},
    )


def _source(archive: Archive, table: Artifact) -> tuple[str, str]:
    pipeline, made_by = _place(archive, table)
    return pipeline, made_by.rpartition("/")[2] or str(table.id)


def verify(archive: Archive, todo: Scope, advance: Advance = lambda _: None) -> Verification:
    """Reads what is to be verified and compares it with what was recorded.

    Args:
      archive: the store.
      todo: see `scope`.
      advance: called with the bytes that were read, as it goes on.
    """
    content = list(_artifacts(archive, todo.artifacts, advance))
    files = [(table, path, file) for table in todo.sources for path, file in (files_of(table) or {}).items()]
    sources = [_source_file(archive, table, path, file, advance) for table, path, file in files]
    orphans = list(_orphans(archive, todo.roots)) if todo.roots else []
    by_digest = sum(bool(_recorded(artifact)[1]) for artifact in todo.artifacts)
    return Verification(
        findings=tuple(finding for finding in (*sources, *content, *orphans) if finding),
        by_digest=by_digest,
        by_existence=len(todo.artifacts) - by_digest,
        source_files=len(files),
        removed=todo.removed,
        superseded=todo.superseded,
        unknown=tuple(
            f"The digests of the files of {_place(archive, table)[1]} (artifact {table.id}) were not recorded."
            for table in todo.sources
            if files_of(table) is None
        ),
    )


def _artifacts(archive: Archive, artifacts: Iterable[Artifact], advance: Advance) -> Iterator[Finding]:
    """What is wrong with them; a folder that several artifacts share is read once."""
    known: dict[tuple[Method, str], tuple[Problem | None, str]] = {}
    for artifact in artifacts:
        method, recorded = _recorded(artifact)
        if (method, artifact.uri) not in known:
            known[method, artifact.uri] = _now(method, artifact.uri, advance)
        problem, found = known[method, artifact.uri]
        if problem:
            yield _finding(archive, problem, artifact, note=found)
        elif recorded != found:
            yield _finding(archive, "changed", artifact, recorded=recorded, found=found)


def _recorded(artifact: Artifact) -> tuple[Method, str]:
    """How to verify an artifact, and the digest to be found."""
    digests = artifact.properties
    if digests.get("tree_digest"):
        return "tree", str(digests["tree_digest"])
    # The content digest of a source's table is that of the source's files.
    if digests.get("content_digest") and artifact.type != tables.SOURCE_TABLE:
        return "table", str(digests["content_digest"])
    return "existence", ""


def _now(method: Method, uri: str, advance: Advance) -> tuple[Problem | None, str]:
    """What is wrong with a folder at first sight and the words for it, or nothing and its digest."""
    try:
        if method == "tree":
            return None, folder_digest(uri, advance).digest
        if method == "table":
            return None, _table_digest(uri, advance)
        if uri:
            folder_size(uri)
        return None, ""
    except MissingFolderError as error:
        return "missing", str(error)
    except DataError as error:
        return ("unreadable" if storage.is_remote(uri) or storage.exists(uri) else "missing"), str(error)


def _table_digest(uri: str, advance: Advance) -> str:
    """As a step records it on the table that it wrote."""
    table, lines = Table.load(uri), []
    for part in table.parts:
        try:
            lines.append(f"{part.path}:{storage.bytes_digest(table.path(part))}")
        except OSError as error:
            raise DataError(f"'{error.filename or table.path(part)}' cannot be read: {error.strerror}.") from error
    advance(folder_size(uri)[1])
    return storage.text_digest("\n".join(lines))


def _source_file(
    archive: Archive, table: Artifact, path: str, file: Mapping[str, Any], advance: Advance
) -> Finding | None:
    if not storage.exists(path):
        return _finding(archive, "source missing", table, path, file["digest"], note=f"'{path}' does not exist.")
    try:
        found = storage.content_digest(path)
    except OSError as error:
        return _finding(archive, "unreadable", table, path, file["digest"], note=f"'{path}': {error.strerror}.")
    advance(int(file.get("size") or 0))
    if found == file["digest"] or not file["digest"]:
        return None
    return _finding(archive, "source changed", table, path, file["digest"], found)


def _orphans(archive: Archive, roots: Roots) -> Iterator[Finding]:
    every = archive.artifacts([proto.id for proto in archive.store.get_artifacts()])
    for folder in output_folders(archive, roots, every):
        if folder.owner == "none":
            yield Finding("orphaned", folder.path, note="No artifact and no execution of the store names it.")
        elif folder.owner == "removed":
            yield Finding("left over", folder.path, note="gc was cut off before it was deleted.")


def _finding(
    archive: Archive,
    problem: Problem,
    artifact: Artifact,
    place: str = "",
    recorded: str = "",
    found: str = "",
    note: str = "",
) -> Finding:
    made_by = _place(archive, artifact)[1]
    return Finding(problem, place or artifact.uri, artifact.id, artifact.type, made_by, recorded, found, note)


def _place(archive: Archive, artifact: Artifact) -> tuple[str, str]:
    """The pipeline and `RUN/step` of what made an artifact; '' where the store does not tell."""
    maker = tables.maker(archive, artifact)
    return (maker.pipeline, f"{maker.run}/{maker.step}") if maker else ("", "")
