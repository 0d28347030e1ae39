"""What steps tell ML Metadata: of a table its name, rows, ledger and digests; of a Beam job its files and counters."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from apache_beam.metrics.metric import MetricResults
from tfx.types.artifact import Artifact

from beam_jobs import io_lineage, storage
from beam_jobs.table import Table


def record_table(artifact: Artifact, name: str, table: Table, known: Mapping[str, str] | None = None) -> None:
    """Sets the custom properties of an artifact that holds a table.

    `table` is its name in queries, `ledger` the job's counts, `splits` the rows of each split,
    `schema_digest` that of the columns, `content_digest` that of its data files (see there).
    """
    if "rows" in (artifact.PROPERTIES or {}):
        artifact.rows = table.rows
    else:
        artifact.set_int_custom_property("rows", table.rows)
    artifact.set_string_custom_property("table", name)
    artifact.set_json_value_custom_property("ledger", table.ledger.to_dict())
    artifact.set_json_value_custom_property("splits", {split: rows for split, rows in table.splits.items() if split})
    artifact.set_string_custom_property("schema_digest", schema_digest(table.schema))
    artifact.set_string_custom_property("content_digest", content_digest(table, known))


def record_properties(artifact: Artifact, properties: Mapping[str, int | float | str]) -> None:
    """Sets custom properties, each by its type."""
    setters = {int: artifact.set_int_custom_property, float: artifact.set_float_custom_property}
    for name, value in properties.items():
        setters.get(type(value), artifact.set_string_custom_property)(name, value)


def record_job(exec_properties: dict[str, Any], result: Any) -> None:
    """Puts what a finished Beam job tells of itself on the step's execution.

    `io_sources` and `io_sinks` are the files that its workers read and wrote, `counters` its counters' values by
    namespace and name (`flights.read`), each as JSON; `job_id` is the job's name where it ran on a service.

    Args:
      exec_properties: as given to `Do`: TFX records what an executor adds to them, though not in its cache's key.
      result: the pipeline's.
    """
    exec_properties["io_sources"] = to_json(io_lineage.sources(result))
    exec_properties["io_sinks"] = to_json(io_lineage.sinks(result))
    exec_properties["counters"] = to_json(_counters(result))
    job = _job_id(result)
    if job:
        exec_properties["job_id"] = job


def _counters(result: Any) -> dict[str, int]:
    """The counters' values; those of several Beam steps under one name are one counter."""
    found: dict[str, int] = {}
    for counter in result.metrics().query()[MetricResults.COUNTERS]:
        name = f"{counter.key.metric.namespace}.{counter.key.metric.name}"
        found[name] = found.get(name, 0) + int(counter.result or 0)
    return found


def _job_id(result: Any) -> str:
    """Dataflow tells it by a method; a portable runner keeps it to itself; in this process there is none."""
    told = getattr(result, "job_id", None) or getattr(result, "_job_id", "")
    return str(told() if callable(told) else told)


def schema_digest(schema: pa.Schema) -> str:
    """Digest of column names and types, in order."""
    return storage.text_digest(json.dumps([(field.name, str(field.type)) for field in schema]))


def content_digest(table: Table, known: Mapping[str, str] | None = None) -> str:
    """Digest of the bytes of the table's files, in the manifest's order; of those read in place, whatever their names.

    What a job wrote is digested already, and is not read again.

    Args:
      table: the table.
      known: digests of files that are read in place, by path; of others in a bucket the store's checksums are taken.
    """
    lines = []
    for part in table.parts:
        if part.is_in_place:
            lines.append((known or {}).get(part.path) or storage.content_digest(part.path))
        else:
            lines.append(f"{part.path}:{part.digest or storage.bytes_digest(table.path(part))}")
    return storage.text_digest("\n".join(lines))


def name_of(artifact: Artifact) -> str:
    """The name that queries know the artifact's table by."""
    name: str = artifact.get_string_custom_property("table")
    return name


def to_json(value: Any) -> str:
    """Structured configuration as one execution parameter: the same text for the same value."""
    return json.dumps(value, sort_keys=True, default=str)
