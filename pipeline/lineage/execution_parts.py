"""What two executions of a step depend on, part by part: parameters, source files, inputs, code, environment."""

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from beam_jobs.errors import listed
from pipeline import cache_key
from pipeline.cache_key import CacheKey
from pipeline.lineage import changes, origin_changes, records, tables
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.run_contents import fact, parameters_of_both

Kind = Literal[
    "first",
    "source file",
    "parameter",
    "input",
    "code",
    "environment",
    "outputs gone",
    "failed before",
    "forced",
    "edited",
    "looks up",
    "unknown",
]
_CODE = {"code_commit": "commit", "code_dirty": "changed since that commit", "lock_digest": "lock", "python": "Python"}
_CONTENT_WORDS = {
    "other": "other content",
    "same": "another artifact with the same content",
    "unknown": "another artifact; whether its content differs is not recorded",
}


@dataclass(frozen=True)
class Reason:
    """One part that differs, or one circumstance.

    Attributes:
      what: the source file, the parameter's dotted key, the input's key, the output, the attempt, the part of the code.
      before: as the earlier execution had it; an input is a list of `InputArtifact`, without those that both had.
      after: as this one has it.
      decides: whether the cache looks at it, so that it makes the step run again.
      note: in words or lines what the values do not tell.
    """

    kind: Kind
    what: str = ""
    before: Any = None
    after: Any = None
    decides: bool = True
    note: str = ""


@dataclass(frozen=True)
class InputArtifact:
    """An artifact that went into an execution; `made_by` and `digest` are '' where they were not recorded."""

    artifact: int
    type: str
    made_by: str
    digest: str


def differing(archive: Archive, earlier: Execution, execution: Execution) -> list[Reason]:
    """The parts that differ, those that the cache looks at first.

    Where both recorded the key of Braid's cache, that goes by content and decides; TFX's own goes by artifacts and
    parameters, and never looks at code.
    """
    keys = [key_of(archive, one) for one in (earlier, execution)]
    found = [*_parameters(archive, earlier, execution), *_inputs(archive, earlier, execution)]
    if keys[0] is not None and keys[1] is not None:
        decided = cache_key.differences(keys[0], keys[1])
        names = {(difference.part, difference.name) for difference in decided}
        found = [_by_key(reason, names) for reason in found]
        found += [_of_key(one) for one in decided if one.part in ("code", "component", "environment")]
    commits = list(_code(archive, earlier, execution))
    return sorted([*found, *commits], key=lambda reason: not reason.decides)


def _of_key(found: cache_key.Difference) -> Reason:
    """A part that is in the cache's key alone."""
    if found.part == "environment":
        return Reason("environment", found.name, found.before, found.after)
    return Reason("code", "component" if found.part == "component" else found.name, found.before, found.after)


def key_of(archive: Archive, execution: Execution) -> CacheKey | None:
    """The key of Braid's cache, where it was recorded."""
    digest = execution.properties.get("cache_key")
    context = archive.store.get_context_by_type_and_name(cache_key.CONTEXT_TYPE, str(digest)) if digest else None
    recorded = records.plain(context.custom_properties).get(cache_key.PARTS) if context else None
    return CacheKey.from_json(recorded) if recorded else None


def _by_key(reason: Reason, names: Collection[tuple[str, str]]) -> Reason:
    """The reason, deciding only where the cache's key differs in the same part."""
    if reason.kind == "source file":
        return reason
    part = "parameter" if reason.kind == "parameter" else "input"
    return dataclasses.replace(reason, decides=(part, reason.what.partition(".")[0]) in names)


def _parameters(archive: Archive, earlier: Execution, execution: Execution) -> Iterator[Reason]:
    files = list(_files(archive, earlier, execution))
    yield from files
    old, new = parameters_of_both(earlier, execution)
    for change in changes.by_key("parameter", "", old, new).changes:
        if change.where not in origin_changes.TOLD_BY_FILES or not files:
            lines = origin_changes.with_lines(change).note
            yield Reason("parameter", change.where, change.before, change.after, note=lines)


def _files(archive: Archive, earlier: Execution, execution: Execution) -> Iterator[Reason]:
    """For a step that reads a source: which of its files differ, where both recorded them."""
    old, new = (_files_read(archive, one) for one in (earlier, execution))
    if old is not None and new is not None:
        for change in origin_changes.changed_files(execution.step, old, new).changes:
            path = change.where.partition(": ")[2]
            yield Reason("source file", path, change.before, change.after, note=change.note)


def _files_read(archive: Archive, execution: Execution) -> origin_changes.Files | None:
    outputs = tables.outputs_of(archive, execution).values()
    sources = [artifact for found in outputs for artifact in found if artifact.type == tables.SOURCE_TABLE]
    return origin_changes.files_of(sources[0]) if sources else None


def _inputs(archive: Archive, earlier: Execution, execution: Execution) -> Iterator[Reason]:
    old, new = (tables.inputs_of(archive, one) for one in (earlier, execution))
    for key in dict.fromkeys([*old, *new]):
        sides = [side.get(key, []) for side in (old, new)]
        ids = [[artifact.id for artifact in side] for side in sides]
        if ids[0] == ids[1]:
            continue
        shared = set(ids[0]) & set(ids[1]) if set(ids[0]) != set(ids[1]) else set[int]()
        new_on_each = [[one for one in side if one.id not in shared] for side in sides]
        before, after = ([_input(archive, one) for one in side] for side in new_on_each)
        yield Reason("input", key, before, after, note=_content_words(before, after) + _recorded_words(*new_on_each))


def _input(archive: Archive, artifact: Artifact) -> InputArtifact:
    maker = tables.maker(archive, artifact)
    made_by = f"{maker.run}/{maker.step}" if maker else ""
    return InputArtifact(artifact.id, artifact.type, made_by, digest_of(artifact))


def digest_of(artifact: Artifact) -> str:
    """The digest of what an artifact holds; '' where none was recorded."""
    found = artifact.properties
    return str(found.get("content_digest") or found.get("tree_digest") or found.get("digest") or "")


def _content_words(before: list[InputArtifact], after: list[InputArtifact]) -> str:
    if not before or not after:
        return "not there before" if after else "not there any more"
    if {one.artifact for one in before} == {one.artifact for one in after}:
        return "the same artifacts in another order"
    digests = [[one.digest for one in side] for side in (before, after)]
    if "" in (*digests[0], *digests[1]):
        return _CONTENT_WORDS["unknown"]
    return _CONTENT_WORDS["same" if sorted(digests[0]) == sorted(digests[1]) else "other"]


def _recorded_words(before: list[Artifact], after: list[Artifact]) -> str:
    """Of single artifacts with the same files: what else is recorded of them that steps may read, and differs."""
    if len(before) != 1 or len(after) != 1 or digest_of(before[0]) != digest_of(after[0]) or not digest_of(after[0]):
        return ""
    old, new = (cache_key.recorded_content(side[0].properties) for side in (before, after))
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return f" but other {listed(names)}" if names else ""


def _code(archive: Archive, earlier: Execution, execution: Execution) -> Iterator[Reason]:
    """Commit, lock and Python as they were recorded: what the code was, whether or not the step uses what changed."""
    for name, words in _CODE.items():
        old, new = (fact(archive, one, name) for one in (earlier, execution))
        if old != new and None not in (old, new):
            yield Reason("code", words, old, new, decides=False)
