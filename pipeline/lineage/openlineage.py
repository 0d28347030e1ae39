"""A lineage as OpenLineage events, for Marquez, DataHub and whatever else reads them.

For each execution a START event and, where it has ended, COMPLETE, FAIL or ABORT; a line of JSON each, oldest first. An
execution that took its outputs from the cache is COMPLETE and has the run tag `cached`. Events are whole: they have all
inputs and outputs of an execution, also those outside of the lineage.

The events are plain dictionaries: OpenLineage's own client would add packages to the environment for classes that, too,
only become dictionaries. That they fit the official schemas is tested.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.lineage import as_json, facts, openlineage_columns, openlineage_quality, openlineage_runs, records
from pipeline.lineage import openlineage_names as names
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.archive import Archive
from pipeline.lineage.openlineage_datasets import Schemas, of_input, of_output, of_sources
from pipeline.lineage.openlineage_names import NAMESPACE, Dataset
from pipeline.lineage.records import Artifact, Execution

_ENDS = {"COMPLETE": "COMPLETE", "CACHED": "COMPLETE", "FAILED": "FAIL", "CANCELED": "ABORT"}
RunEvent = dict[str, Any]
Keyed = tuple[str, Artifact]
"""An artifact and the key that an execution read or wrote it under."""


def text(archive: Archive, lineage: Lineage, namespace: str = NAMESPACE) -> Iterator[str]:
    """The events, a line each."""
    for found in events(archive, lineage, namespace):
        yield json.dumps(as_json.storable(found), separators=(",", ":")) + "\n"


def events(archive: Archive, lineage: Lineage, namespace: str = NAMESPACE) -> Iterator[RunEvent]:
    """The events of every execution of a lineage, oldest first.

    Args:
      archive: the store that the lineage is from; inputs and outputs are read from it.
      lineage: tells which executions.
      namespace: of the jobs.
    """
    work = _Work(archive, lineage)
    for execution in sorted(lineage.executions.values(), key=lambda execution: (execution.created, execution.id)):
        yield from _of_execution(work, execution, namespace)


class _Work:
    """All inputs and outputs of the executions, by key, and the columns of tables."""

    def __init__(self, archive: Archive, lineage: Lineage) -> None:
        found = archive.events_of_executions(lineage.executions)
        artifacts = {artifact.id: artifact for artifact in archive.artifacts({event.artifact for event in found})}
        self.schemas = Schemas()
        self.inputs: dict[int, list[Keyed]] = {}
        self.outputs: dict[int, list[Keyed]] = {}
        for event in sorted(found, key=lambda event: (event.key, event.artifact)):
            if event.artifact in artifacts:
                side = self.inputs if event.is_input else self.outputs
                side.setdefault(event.execution, []).append((event.key, artifacts[event.artifact]))
        runs = {
            name: archive.run(name) for name in {execution.run for execution in lineage.executions.values()} if name
        }
        told = {
            name: records.plain(run.properties) | records.plain(run.custom_properties)
            for name, run in runs.items()
            if run
        }
        self.versions = {name: str(properties.get("braid_version") or "") for name, properties in told.items()}


def _of_execution(work: _Work, execution: Execution, namespace: str) -> Iterator[RunEvent]:
    read, wrote = work.inputs.get(execution.id, []), work.outputs.get(execution.id, [])
    files = {} if read else _files(work, execution, wrote)
    inputs = _once(
        [dataset for datasets in files.values() for dataset in datasets] + _inputs(work, execution, read, wrote)
    )
    named = [{"namespace": dataset["namespace"], "name": dataset["name"]} for dataset in inputs]
    braid = work.versions.get(execution.run, "")
    yield _event("START", execution, namespace, braid, named, [])
    if execution.state in _ENDS:
        outputs = _once(
            of_output(artifact, work.schemas, _columns(work, execution, artifact, read, files)) for _, artifact in wrote
        )
        yield _event(_ENDS[execution.state], execution, namespace, braid, inputs, outputs)


def _files(work: _Work, execution: Execution, wrote: list[Keyed]) -> dict[int, list[Dataset]]:
    """The files from outside behind each table that was read from them, by its id."""
    found: dict[int, list[Dataset]] = {}
    for _, table in wrote:
        sources = facts.sources_of(table, execution)
        if sources:
            assertions = openlineage_quality.ledger(table, _most_rejected(execution))
            quality = {"dataQualityAssertions": {"assertions": assertions}} if assertions else {}
            found[table.id] = of_sources(sources, table, work.schemas, **quality)
    return found


def _inputs(work: _Work, execution: Execution, read: list[Keyed], wrote: list[Keyed]) -> list[Dataset]:
    return [
        of_input(artifact, work.schemas, **openlineage_quality.found_out(execution, key, artifact, read, wrote))
        for key, artifact in read
    ]


def _columns(
    work: _Work, execution: Execution, artifact: Artifact, read: list[Keyed], files: Mapping[int, list[Dataset]]
) -> dict[str, Any] | None:
    if artifact.id in files:
        return openlineage_columns.of_files(artifact, files[artifact.id], work.schemas)
    if "schema_digest" not in artifact.properties:
        return None
    return openlineage_columns.of_query(execution, (table for _, table in read), work.schemas)


def _once(datasets: Iterable[Dataset]) -> list[Dataset]:
    """Each dataset once, also where it was read under several keys."""
    return list({(dataset["namespace"], dataset["name"]): dataset for dataset in datasets}.values())


def _most_rejected(execution: Execution) -> Any:
    source = execution.properties.get("source")
    return source.get("max_reject_fraction") if isinstance(source, Mapping) else None


def _ended(execution: Execution) -> int:
    """Milliseconds since 1970: as recorded, else when its record changed last."""
    seconds = execution.properties.get("seconds")
    if isinstance(seconds, int | float):
        return execution.created + round(seconds * 1000)
    return max(execution.created, int(execution.proto.last_update_time_since_epoch))


def _event(
    kind: str, execution: Execution, namespace: str, braid: str, inputs: list[Dataset], outputs: list[Dataset]
) -> RunEvent:
    of_namespace, name = names.job(execution, namespace)
    final = kind != "START"
    run_facets = openlineage_runs.run_facets(execution, namespace, braid, final)
    return {
        "eventType": kind,
        "eventTime": as_json.moment(_ended(execution) if final else execution.created),
        "producer": names.producer(),
        "schemaURL": names.SPEC,
        "run": {"runId": names.run_id(execution), "facets": run_facets},
        "job": {"namespace": of_namespace, "name": name, "facets": openlineage_runs.job_facets(execution)},
        "inputs": inputs,
        "outputs": outputs,
    }
