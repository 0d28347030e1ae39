"""Tables among the artifacts, and the prepare steps between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs.errors import DataError
from beam_jobs.sql import CheckedQuery, check_query
from beam_jobs.table import Table
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.records import Artifact, Execution

SOURCE_TABLE = "SourceTable"


@dataclass(frozen=True)
class Preparation:
    """One prepare step as it ran.

    Attributes:
      config: its parameters: step, stream, sql, partition_by, fan_out, split.
      inputs: the tables that the query could read, by the names it knows them by.
    """

    execution: Execution
    config: Mapping[str, Any]
    inputs: Mapping[str, Artifact]
    output: Artifact

    @property
    def stream(self) -> str:
        """The streamed table's name."""
        return str(self.config["stream"])

    @property
    def name(self) -> str:
        """The step's name, which is the output table's."""
        return str(self.config["step"])

    def query(self) -> CheckedQuery:
        """The query, checked against the tables' columns as they are on disk.

        Raises:
          LineageError: a table is gone.
        """
        schemas = {name: open_table(artifact).schema for name, artifact in self.inputs.items()}
        return check_query(self.name, self.config["sql"], self.stream, schemas, self.config["partition_by"])


def name_of(artifact: Artifact) -> str:
    """The name that queries know a table by; '' for what is no table."""
    return str(artifact.properties.get("table", ""))


def open_table(artifact: Artifact) -> Table:
    """The manifest of a table.

    Raises:
      LineageError: the table was removed.
    """
    try:
        return Table.load(artifact.uri)
    except DataError as error:
        raise LineageError(
            f"Table '{name_of(artifact)}' (artifact {artifact.id}) is gone from '{artifact.uri}', so its rows cannot be followed.",
            "Run the pipeline again, which writes it anew, and ask that run.",
        ) from error


def maker(archive: Archive, artifact: Artifact) -> Execution | None:
    """The execution that wrote an artifact."""
    events = [event for event in archive.events_of_artifacts([artifact.id]) if not event.is_input]
    executions = archive.executions([event.execution for event in events])
    return next((e for e in executions if not e.is_cached), executions[0] if executions else None)


def inputs_of(archive: Archive, execution: Execution) -> dict[str, list[Artifact]]:
    """What an execution read, by key."""
    return _by_key(archive, execution, is_input=True)


def outputs_of(archive: Archive, execution: Execution | None) -> dict[str, list[Artifact]]:
    """What an execution wrote, by key."""
    return _by_key(archive, execution, is_input=False) if execution else {}


def _by_key(archive: Archive, execution: Execution, is_input: bool) -> dict[str, list[Artifact]]:
    events = [event for event in archive.events_of_executions([execution.id]) if event.is_input == is_input]
    by_id = {artifact.id: artifact for artifact in archive.artifacts([event.artifact for event in events])}
    found: dict[str, list[Artifact]] = {}
    for event in events:
        found.setdefault(event.key, []).append(by_id[event.artifact])
    return found


def examples_of(archive: Archive, model: Artifact) -> Artifact:
    """The examples that a model learned from.

    Raises:
      LineageError: the store does not say, or they are not Braid's.
    """
    trained_by = maker(archive, model)
    found = inputs_of(archive, trained_by).get("examples", []) if trained_by else []
    if len(found) != 1 or not name_of(found[0]):
        raise LineageError(
            f"Model {model.id} has no examples on record whose rows Braid could follow.",
            "Rows are followed through tables that Braid's own steps wrote.",
        )
    return found[0]


def preparations(archive: Archive, examples: Artifact) -> list[Preparation]:
    """The prepare steps behind the examples, sources first."""
    found: dict[int, Preparation] = {}
    waiting = [examples]
    while waiting:
        output = waiting.pop()
        execution = maker(archive, output)
        config = execution.properties.get("config") if execution else None
        if execution is None or output.id in found or not (isinstance(config, dict) and "stream" in config):
            continue
        tables = [table for tables in inputs_of(archive, execution).values() for table in tables]
        found[output.id] = Preparation(execution, config, {name_of(table): table for table in tables}, output)
        waiting += tables
    return sorted(found.values(), key=lambda step: step.output.id)
