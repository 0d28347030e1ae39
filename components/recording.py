"""What every output table tells ML Metadata: its name, its rows, its ledger, its digests."""

import json
from typing import Any

import pyarrow as pa
from tfx.types.artifact import Artifact

from beam_jobs import storage
from beam_jobs.table import Table


def record_table(artifact: Artifact, name: str, table: Table, content: str = "") -> None:
    """Sets the custom properties of an artifact that holds a table.

    `table` is its name in queries, `ledger` the job's counts, `splits` the rows of each split,
    `schema_digest` that of the columns, `content_digest` that of its files (`content`, where it is known).
    """
    if "rows" in (artifact.PROPERTIES or {}):
        artifact.rows = table.rows
    else:
        artifact.set_int_custom_property("rows", table.rows)
    artifact.set_string_custom_property("table", name)
    artifact.set_json_value_custom_property("ledger", table.ledger.to_dict())
    artifact.set_json_value_custom_property("splits", {split: rows for split, rows in table.splits.items() if split})
    artifact.set_string_custom_property("schema_digest", schema_digest(table.schema))
    artifact.set_string_custom_property("content_digest", content or content_digest(table))


def schema_digest(schema: pa.Schema) -> str:
    """Digest of column names and types, in order."""
    return storage.text_digest(json.dumps([(field.name, str(field.type)) for field in schema]))


def content_digest(table: Table) -> str:
    """Digest of the bytes of the table's files, in the manifest's order."""
    lines = (f"{part.path}:{storage.content_digest(table.path(part))}" for part in table.parts)
    return storage.text_digest("\n".join(lines))


def name_of(artifact: Artifact) -> str:
    """The name that queries know the artifact's table by."""
    name: str = artifact.get_string_custom_property("table")
    return name


def to_json(value: Any) -> str:
    """Structured configuration as one execution parameter: the same text for the same value."""
    return json.dumps(value, sort_keys=True, default=str)
