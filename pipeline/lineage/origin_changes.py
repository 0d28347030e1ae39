"""Where two runs began: source files, configuration, code, steps and their parameters."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.lineage import changes
from pipeline.lineage.changes import Change, Comparison
from pipeline.lineage.records import Artifact
from pipeline.lineage.run_contents import RunContents, parameters_of_both
from pipeline.lineage.tables import SOURCE_TABLE

FILES, FINGERPRINT = "files", "input_fingerprint"
TOLD_BY_FILES = ("fingerprint", FILES, FINGERPRINT)
"""Parameters that say of a source's files no more than the files themselves do."""
_CODE = {
    "code_commit": "commit",
    "code_dirty": "changed since that commit",
    "lock_digest": "lock",
    "python": "Python",
    "braid_version": "Braid",
    "runner": "Beam runner",
    "target": "target",
}
Files = Mapping[str, Mapping[str, Any]]


def source_files(before: RunContents, after: RunContents) -> Comparison:
    """Files of sources that were added, changed, moved or are gone."""
    old, new = (dict(run.artifacts(SOURCE_TABLE)) for run in (before, after))
    found = [_of_source(name.partition(".")[0], old[name], new[name]) for name in old if name in new]
    for name in old.keys() ^ new.keys():
        step = name.partition(".")[0]
        found.append(changed_files(step, _recorded(old.get(name)) or {}, _recorded(new.get(name)) or {}))
    return changes.total([*found, _fingerprints(before, after)])


def changed_files(source: str, before: Files, after: Files) -> Comparison:
    """The files of one source, by path, with their digests and sizes."""
    gone = {path: file for path, file in before.items() if path not in after}
    found = []
    for path, file in after.items():
        if path in before and before[path] != file:
            found.append(Change("source file", f"{source}: {path}", before[path], file, note="changed"))
        elif path not in before:
            origin = next((old for old, other in gone.items() if other == file and file.get("digest")), None)
            gone.pop(origin or "", None)
            found.append(
                Change("source file", f"{source}: {path}", {"path": origin, **file}, file, note="moved")
                if origin
                else Change("source file", f"{source}: {path}", None, file, note="added")
            )
    found += [Change("source file", f"{source}: {path}", file, None, note="gone") for path, file in gone.items()]
    return Comparison(tuple(found), len(before.keys() | after.keys()))


def files_of(table: Artifact) -> Files | None:
    """Digest and size of each file that a source's table was read from; nothing where they were not recorded."""
    return _recorded(table)


def _recorded(table: Artifact | None) -> Files | None:
    files = table.properties.get(FILES) if table else None
    if not isinstance(files, list):
        return None
    return {file["path"]: {"digest": file.get("digest", ""), "size": file.get("size")} for file in files}


def _of_source(source: str, before: Artifact, after: Artifact) -> Comparison:
    if before.id == after.id:
        return Comparison((), len(_recorded(before) or {}))
    old, new = _recorded(before), _recorded(after)
    if old is not None and new is not None:
        return changed_files(source, old, new)
    digests = [table.properties.get("content_digest") for table in (before, after)]
    unknown = f"Source '{source}': its files' digests were not recorded, so no file can be named."
    if None in digests or digests[0] == digests[1]:
        return Comparison((), 1, () if None not in digests else (unknown,))
    change = Change(
        "source file", source, {"digest": digests[0]}, {"digest": digests[1]}, note="the files or how they are read"
    )
    return Comparison((change,), 1, (unknown,))


def _fingerprints(before: RunContents, after: RunContents) -> Comparison:
    """What TFX's own ExampleGens record of the files they read."""
    old, new = ({name: _fingerprint(a) for name, a in run.artifacts() if _fingerprint(a)} for run in (before, after))
    return changes.by_key("source file", "", old, new)


def _fingerprint(artifact: Artifact) -> Any:
    return artifact.properties.get(FINGERPRINT)


def configuration(before: RunContents, after: RunContents) -> Comparison:
    """Keys of the configuration, dotted; a text of several lines also as a unified difference."""
    configs = [run.facts.get("config") for run in (before, after)]
    without = [run.name for run, config in zip((before, after), configs, strict=True) if not isinstance(config, dict)]
    if without:
        told = f"Configuration: {' and '.join(dict.fromkeys(without))} did not record it; the steps' parameters were compared."
        return Comparison((), 0, (told,))
    found = changes.by_key("configuration", "", changes.flattened(configs[0]), changes.flattened(configs[1]))
    return Comparison(tuple(map(with_lines, found.changes)), found.compared)


def code(before: RunContents, after: RunContents) -> Comparison:
    """Commit, lock, Python, runner and target; of other pipelines, the version of TFX."""
    facts = [{words: run.facts[name] for name, words in _CODE.items() if name in run.facts} for run in (before, after)]
    for found, run in zip(facts, (before, after), strict=True):
        versions = {artifact.properties.get("tfx_version") for _, artifact in run.artifacts()} - {None}
        if len(versions) == 1:
            found["TFX"] = versions.pop()
    both = facts[0].keys() & facts[1].keys()
    one = facts[0].keys() ^ facts[1].keys()
    old, new = ({name: found[name] for name in found if name in both} for found in facts)
    unknown = (f"Code: only one of the runs recorded: {', '.join(sorted(one))}.",) if one else ()
    if not {"commit", "lock"} & (both | one):
        unknown = ("Code: neither run recorded its commit, lock or Python.",)
    return Comparison((), 0, unknown) + changes.by_key("code", "", old, new)


def steps(before: RunContents, after: RunContents) -> Comparison:
    """Steps that only one of the pipelines has; where a run ended early, what was not reached is told elsewhere."""
    gone = () if after.ended_early else (name for name in before.steps if name not in after.steps)
    new = () if before.ended_early else (name for name in after.steps if name not in before.steps)
    found = [Change("step", name, before.steps[name].type, None) for name in gone]
    found += [Change("step", name, None, after.steps[name].type) for name in new]
    return Comparison(tuple(found), len(before.steps.keys() | after.steps.keys()))


def step_parameters(before: RunContents, after: RunContents, told: Iterable[Change]) -> Comparison:
    """Parameters of the steps, but for those that the configuration's changes have told."""
    known = {(change.where.rpartition(".")[2], _text(change.before), _text(change.after)) for change in told}
    found = []
    for name in (name for name in before.steps if name in after.steps):
        both = parameters_of_both(before.steps[name], after.steps[name])
        old, new = ({key: value for key, value in told.items() if key not in TOLD_BY_FILES} for told in both)
        compared = changes.by_key("parameter", f"{name}: ", old, new)
        kept = (c for c in compared.changes if _identity(c) not in known)
        found.append(Comparison(tuple(map(with_lines, kept)), compared.compared))
    return changes.total(found)


def _identity(change: Change) -> tuple[str, str, str]:
    key = change.where.rpartition(": ")[2].rpartition(".")[2]
    return key, _text(change.before), _text(change.after)


def _text(value: Any) -> str:
    return str(value).strip()


def with_lines(change: Change) -> Change:
    """The change; of a text of several lines, with their difference as its note."""
    if not (isinstance(change.before, str) and isinstance(change.after, str)):
        return change
    if "\n" not in change.before.strip() + change.after.strip():
        return change
    return Change(change.kind, change.where, change.before, change.after, note=unified(change.before, change.after))


def unified(before: str, after: str) -> str:
    """The difference of two texts as `diff -u` shows it, without its two lines of names."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return "\n".join(list(lines)[2:])
