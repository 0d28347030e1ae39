"""How a model's examples were made, read from ML Metadata: sources, queries, statistics. Loads neither TFX nor Beam."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from beam_jobs import storage
from beam_jobs.sources import SourceConfig
from beam_jobs.table import MANIFEST, Table
from pipeline.errors import RunError
from pipeline.lineage.archive import Archive
from pipeline.lineage.naming import ENDED
from pipeline.lineage.records import Artifact, Event, Execution

MODEL, EXAMPLES, STATISTICS = "Model", "examples", "statistics"
_TABLE = "table"
"""The property of an artifact that holds a table's name in queries."""


@dataclass(frozen=True)
class RecordedTable:
    """A table of the training run: a source's, or one that a prepare step wrote.

    Attributes:
      name: what queries call it.
      artifact: its id.
      uri: the folder of its manifest, which may be gone by now.
      execution: the step that wrote it.
    """

    name: str
    artifact: int
    uri: str
    execution: int

    @property
    def is_there(self) -> bool:
        """Whether its manifest still is."""
        return storage.exists(f"{self.uri.rstrip('/')}/{MANIFEST}")

    def schema(self) -> pa.Schema | None:
        """Its columns as its manifest has them; None where that is gone."""
        return Table.load(self.uri).schema if self.is_there else None


@dataclass(frozen=True)
class RecordedSource:
    """A source as the training run read it.

    Attributes:
      config: its path, format and declared types.
      fingerprint: the digest of what it held.
    """

    table: RecordedTable
    config: SourceConfig
    fingerprint: str


@dataclass(frozen=True)
class RecordedStep:
    """A prepare step as the training run took it.

    Attributes:
      config: its component's parameter: step, stream, sql, partition_by, fan_out, split.
      reads: the names of its input tables, the stream among them.
    """

    table: RecordedTable
    config: Mapping[str, Any]
    reads: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table that it writes."""
        return self.table.name

    @property
    def stream(self) -> str:
        """The table that it streams."""
        return str(self.config["stream"])


@dataclass(frozen=True)
class Recipe:
    """How a model's examples were made, and what was known of them.

    Attributes:
      pipeline: the pipeline that trained the model.
      run: the run that did.
      model: the artifact's id.
      model_uri: its folder.
      sources: by name.
      steps: by name, each after what it reads; the examples' step is the last.
      statistics: the id of the examples' statistics, 0 where there are none.
      schema: the id of the schema that they were held against, 0 where there is none.
      gate: the configuration of the gate that they passed.
    """

    pipeline: str
    run: str
    model: int
    model_uri: str
    sources: dict[str, RecordedSource]
    steps: dict[str, RecordedStep]
    statistics: int = 0
    schema: int = 0
    gate: Mapping[str, Any] = field(default_factory=dict)

    @property
    def examples(self) -> RecordedStep:
        """The step that wrote the examples."""
        return list(self.steps.values())[-1]

    @property
    def chain(self) -> tuple[RecordedStep, ...]:
        """The steps that the streamed rows go through, from the source to the examples."""
        found = [self.examples]
        while found[-1].stream in self.steps:
            found.append(self.steps[found[-1].stream])
        return tuple(reversed(found))

    @property
    def streamed(self) -> str:
        """The source whose rows become the examples."""
        return self.chain[0].stream

    @property
    def aside(self) -> tuple[RecordedStep, ...]:
        """The steps whose tables the chain joins, each after what it reads."""
        on_chain = {step.name for step in self.chain}
        return tuple(step for name, step in self.steps.items() if name not in on_chain)


def recipe_of(archive: Archive, model: Artifact) -> Recipe:
    """The recipe of a Model artifact.

    Raises:
      RunError: the store does not tell what the model was trained on, or from what that was made.
    """
    reader = _Reader(archive)
    trainer = reader.maker(model)
    inputs = [event for event in archive.events_of_executions([trainer.id], is_input=True) if event.key == EXAMPLES]
    if not inputs:
        raise _unknown(model, f"step '{trainer.step}' of run '{trainer.run}' reads no examples")
    (examples,) = archive.artifacts([inputs[0].artifact])
    reader.read(examples)
    statistics = reader.outcome(examples.id, "ArrowStatistics", STATISTICS, trainer.run)
    gate = reader.reader_of(statistics, "DataGate", trainer.run) if statistics else None
    return Recipe(
        pipeline=trainer.pipeline,
        run=trainer.run,
        model=model.id,
        model_uri=model.uri,
        sources=reader.sources,
        steps=reader.steps,
        statistics=statistics,
        schema=reader.input_of(gate, "schema") if gate else 0,
        gate=_mapping(gate.properties.get("config")) if gate else {},
    )


class _Reader:
    """Follows tables back to their sources."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.sources: dict[str, RecordedSource] = {}
        self.steps: dict[str, RecordedStep] = {}

    def maker(self, artifact: Artifact) -> Execution:
        """The execution that wrote it, not one that took it from the cache.

        Raises:
          RunError: none is on record.
        """
        ids = [event.execution for event in self._archive.events_of_artifacts([artifact.id], is_input=False)]
        makers = [found for found in self._archive.executions(ids) if found.state in ENDED]
        if not makers:
            raise _unknown(artifact, "the metadata store does not tell which step wrote it")
        return min(makers, key=lambda found: (found.is_cached, found.id))

    def read(self, artifact: Artifact) -> str:
        """Takes in how a table was made, and what it was made from; returns its name.

        Raises:
          RunError: the store does not tell.
        """
        name = str(artifact.custom(_TABLE) or "")
        if name in self.sources or name in self.steps:
            return name
        maker = self.maker(artifact)
        table = RecordedTable(name, artifact.id, artifact.uri, maker.id)
        if "source" in maker.properties:
            told = _mapping(maker.properties["source"])
            self.sources[name] = RecordedSource(
                table, SourceConfig(**told), str(maker.properties.get("fingerprint", ""))
            )
        elif "sql" in (config := _mapping(maker.properties.get("config"))):
            reads = tuple(self.read(found) for found in self._inputs(maker))
            self.steps[name] = RecordedStep(table, config, reads)
        else:
            raise _unknown(artifact, f"step '{maker.step}' of run '{maker.run}', which wrote it, records no query")
        return name

    def outcome(self, artifact: int, component: str, key: str, run: str) -> int:
        """The id of what a component made of an artifact, by preference in that run; 0 for nothing."""
        execution = self.reader_of(artifact, component, run)
        written = self._archive.events_of_executions([execution.id], is_input=False) if execution else []
        return next((event.artifact for event in written if event.key == key), 0)

    def reader_of(self, artifact: int, component: str, run: str) -> Execution | None:
        """The last execution of a component that read the artifact and ended well, by preference in that run."""
        ids = [event.execution for event in self._archive.events_of_artifacts([artifact], is_input=True)]
        found = [e for e in self._archive.executions(ids) if e.type.endswith(component) and e.state in ENDED]
        return max(found, key=lambda e: (e.run == run, e.id), default=None)

    def input_of(self, execution: Execution, key: str) -> int:
        """The id of an execution's input; 0 for none."""
        return next((event.artifact for event in self._read_by(execution) if event.key == key), 0)

    def _inputs(self, execution: Execution) -> Sequence[Artifact]:
        return self._archive.artifacts([event.artifact for event in self._read_by(execution)])

    def _read_by(self, execution: Execution) -> list[Event]:
        return self._archive.events_of_executions([execution.id], is_input=True)


def _mapping(told: Any) -> dict[str, Any]:
    return dict(told) if isinstance(told, Mapping) else {}


def _unknown(artifact: Artifact, reason: str) -> RunError:
    return RunError(
        f"How the data of {artifact.type} {artifact.id} ('{artifact.uri}') was made is not on record: {reason}.",
        "A table that already has the columns of the examples can be scored all the same: --prepared.",
    )
