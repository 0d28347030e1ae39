"""A step as ML Metadata has it: its component, parameters, inputs and outputs, and what became of it. Loads no TFX."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs.errors import listed, nearest
from pipeline.debugging.failing import Layers
from pipeline.errors import RunError
from pipeline.lineage import naming
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact, Execution, plain
from pipeline.property_values import text_of

_WRITTEN = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT, pb.Event.PENDING_OUTPUT)
_READ = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)


@dataclass(frozen=True)
class RecordedArtifact:
    """An artifact with its type, as it was recorded."""

    key: str
    artifact: Artifact
    type: Any

    def to_json(self) -> dict[str, Any]:
        """Both messages in protobuf's JSON."""
        return {
            "type": json_format.MessageToDict(self.type, preserving_proto_field_name=True),
            "artifact": json_format.MessageToDict(self.artifact.proto, preserving_proto_field_name=True),
        }


@dataclass(frozen=True)
class RecordedStep:
    """One attempt at a step.

    Attributes:
      properties: parameters and facts by name, texts as texts.
      inputs: in the order in which the step got them.
      outputs: what it wrote; of a failed attempt, what was kept.
    """

    execution: Execution
    properties: Mapping[str, str | int | float | bool]
    inputs: tuple[RecordedArtifact, ...]
    outputs: tuple[RecordedArtifact, ...]

    @property
    def name(self) -> str:
        """`RUN/step`."""
        return f"{self.execution.run}/{self.execution.step}"

    def fact(self, name: str) -> str:
        """A fact as text; '' where it was not recorded."""
        return str(self.properties.get(name, ""))

    @property
    def root(self) -> str:
        """The folder of the step's outputs, of all runs; '' where it has none."""
        return os.path.dirname(os.path.dirname(self.outputs[0].artifact.uri)) if self.outputs else ""


def find(archive: Archive, name: str, execution: int = 0) -> RecordedStep:
    """The last attempt at `RUN/step`, or the one of that execution.

    Raises:
      LineageError: there is no such run or step.
      RunError: `name` is no step, or the step had no such execution.
    """
    run, slash, step = name.rpartition("/")
    if not slash:
        raise RunError(f"'{name}' names no step of a run.", "Name it as RUN/step, such as latest/train.")
    run, executions = naming.find_run(archive, run)
    attempts = [found for found in executions if found.step == step]
    if not attempts:
        steps = sorted({found.step for found in executions})
        raise RunError(f"Run '{run}' has no step '{step}'.{nearest(step, steps)}", f"Its steps: {listed(steps, 40)}.")
    chosen = [found for found in attempts if found.id == (execution or attempts[-1].id)]
    if not chosen:
        known = (f"{found.id} ({found.state.lower()})" for found in attempts)
        raise RunError(f"Execution {execution} is none of '{run}/{step}'.", f"Its executions: {listed(known)}.")
    return _recorded(archive, chosen[0])


def _recorded(archive: Archive, execution: Execution) -> RecordedStep:
    proto = execution.proto
    events = archive.store.get_events_by_execution_ids([execution.id])
    kinds = {kind.id: kind for kind in archive.store.get_artifact_types()}
    properties = {name: _value(value) for name, value in (*proto.properties.items(), *proto.custom_properties.items())}
    return RecordedStep(
        execution,
        {name: value for name, value in properties.items() if value is not None},
        _artifacts(archive, [event for event in events if event.type in _READ], kinds),
        _artifacts(archive, [event for event in events if event.type in _WRITTEN], kinds),
    )


def _artifacts(archive: Archive, events: Sequence[Any], kinds: Mapping[int, Any]) -> tuple[RecordedArtifact, ...]:
    found = {artifact.id: artifact for artifact in archive.artifacts([event.artifact_id for event in events])}
    placed = [(key, index, event.artifact_id) for event in events for key, index in _places(event)]
    return tuple(RecordedArtifact(key, found[id_], kinds[found[id_].proto.type_id]) for key, _, id_ in sorted(placed))


def _places(event: Any) -> list[tuple[str, int]]:
    """The inputs or outputs that an event stands for, each with the artifact's place in it."""
    steps = list(event.path.steps)
    keys = [at for at, step in enumerate(steps) if step.HasField("key")]
    following = [steps[at + 1] if at + 1 < len(steps) else None for at in keys]
    indexes = [step.index if step is not None and step.HasField("index") else 0 for step in following]
    return [(steps[at].key, index) for at, index in zip(keys, indexes, strict=True)]


def _value(value: pb.Value) -> Any:
    """A parameter as an executor gets it: texts as texts, whatever they hold; structures as JSON text."""
    kind = value.WhichOneof("value")
    if kind == "struct_value":
        plain = json_format.MessageToDict(value.struct_value)
        return plain.get("__value__", plain)
    text = text_of(value)
    return text if text is not None else getattr(value, kind) if kind else None


def layers_of(archive: Archive, run: str) -> Layers:
    """The files and assignments that a run's configuration was made of.

    Raises:
      RunError: the run does not tell.
    """
    context = archive.run(run)
    told = plain(context.custom_properties) | plain(context.properties) if context is not None else {}
    if "config_file" not in told:
        raise RunError(f"Run '{run}' does not tell its configuration file.", "Runs of an older version do not.")
    return Layers(told["config_file"], tuple(told.get("overlays", ())), tuple(told.get("assignments", ())))
