"""What a store says about an execution or an artifact beside who made it: each fact, or nothing where none is on record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.records import Artifact, Execution

FINAL_TYPES = ("Model", "PushedModel", "Predictions", "InferenceResult")
"""What a pipeline is run for."""
SOURCE_TABLE = "SourceTable"
_RESULT = "__execution_result__"


@dataclass(frozen=True)
class Code:
    """The version of the code that ran: a git commit, and whether files were changed since."""

    commit: str
    dirty: bool


@dataclass(frozen=True)
class Failure:
    """Why an execution failed; `traceback` is the file that was kept of it, '' where there is none."""

    message: str
    traceback: str


@dataclass(frozen=True)
class Source:
    """A file, or a folder of them, as a table was read from it; what was not recorded is '' or None."""

    path: str
    digest: str
    size: int | None


@dataclass(frozen=True)
class Totals:
    """How much a lineage holds."""

    artifacts: int
    executions: int
    runs: int
    source_files: int


def code_of(execution: Execution) -> Code | None:
    """The code's version."""
    commit = execution.properties.get("code_commit")
    return Code(str(commit), bool(execution.properties.get("code_dirty"))) if commit else None


def lock_of(execution: Execution) -> str:
    """The digest of the lock of the environment."""
    return str(execution.properties.get("lock_digest") or "")


def failure_of(execution: Execution) -> Failure | None:
    """Why it failed."""
    result = execution.properties.get(_RESULT)
    found = execution.properties if execution.is_braids else {}
    message = found.get("error") or (result.get("resultMessage") if isinstance(result, Mapping) else "")
    if not message:
        return None
    kind = found.get("error_type")
    return Failure(f"{kind}: {message}" if kind else str(message), str(found.get("traceback") or ""))


def ledger_of(artifact: Artifact) -> dict[str, float] | None:
    """The row counts of the job that wrote a table."""
    ledger = artifact.properties.get("ledger")
    counts = ("read", "rejected", "filtered", "merged", "kept", "multiplied", "written")
    is_ledger = isinstance(ledger, Mapping) and all(isinstance(ledger.get(key), int | float) for key in counts)
    return {key: ledger[key] for key in counts} if is_ledger and isinstance(ledger, Mapping) else None


def number_of(record: Artifact | Execution, key: str) -> int | None:
    """A whole number among the properties."""
    found = record.properties.get(key)
    return int(found) if isinstance(found, int | float) and abs(found) < 2**63 else None


def sources_of(artifact: Artifact, maker: Execution) -> list[Source]:
    """The files from outside that an artifact was read from: a table of Braid's, or what TFX's example generators wrote."""
    if artifact.type == SOURCE_TABLE:
        return [Source(str(file["path"]), str(file.get("digest") or ""), _size(file)) for file in _files(artifact)]
    base = maker.properties.get("input_base")
    fingerprint = artifact.properties.get("input_fingerprint")
    return [Source(str(base), str(fingerprint or ""), None)] if base else []


def _files(table: Artifact) -> list[Mapping[str, Any]]:
    recorded = table.properties.get("files")
    if isinstance(recorded, list):
        return recorded
    # Older stores do not tell, but the table's manifest. To read it loads Arrow and DuckDB, which takes longer than the rest.
    from pipeline.lineage.source_files import recorded_files

    return recorded_files(table)


def _size(file: Mapping[str, Any]) -> int | None:
    size = file.get("size")
    return int(size) if isinstance(size, int | float) and size >= 0 else None


def source_files(lineage: Lineage) -> dict[int, list[Source]]:
    """The files behind each artifact that was read from outside, by its id; of what was made from X, those are not asked for."""
    if lineage.direction == "down":
        return {}
    reading = {event.execution for event in lineage.events if event.is_input}
    first = {e.artifact: e.execution for e in lineage.events if not e.is_input and e.execution not in reading}
    found = {id_: sources_of(lineage.artifacts[id_], lineage.executions[maker]) for id_, maker in first.items()}
    return {id_: sources for id_, sources in found.items() if sources}


def totals(lineage: Lineage, sources: Mapping[int, list[Source]]) -> Totals:
    """Counts each artifact, execution, run and source file once."""
    return Totals(
        artifacts=len(lineage.artifacts),
        executions=len(lineage.executions),
        runs=len({(e.pipeline, e.run) for e in lineage.executions.values() if e.run}),
        source_files=len({source.path for files in sources.values() for source in files}),
    )
