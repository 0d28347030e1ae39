"""Past runs, read from ML Metadata. Imports neither TFX nor TensorFlow, so that it answers at once."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs.errors import listed, nearest
from pipeline.errors import RunError
from pipeline.property_values import text_of

RUN_CONTEXT, NODE_CONTEXT = "pipeline_run", "node"
_SUFFIX = "-pipeline"


def pipeline_id(name: str) -> str:
    """TFX's id of a pipeline. TFX wants it to differ from every step's, and a table may well bear the pipeline's name."""
    return name + _SUFFIX


@dataclass(frozen=True)
class Output:
    """An artifact that a step made or reused."""

    artifact: int
    type: str
    uri: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One node of one run.

    Attributes:
      state: COMPLETE, CACHED, FAILED, CANCELED or RUNNING.
      seconds: from the execution's first record to its last.
    """

    name: str
    execution: int
    state: str
    type: str
    seconds: float
    properties: dict[str, Any]
    outputs: dict[str, list[Output]] = field(default_factory=dict)

    @property
    def is_resolver(self) -> bool:
        """Whether it only looks up artifacts of earlier runs: it does so in every run, and does no work."""
        return self.type.endswith("Resolver")


@dataclass(frozen=True)
class Run:
    """One execution of a pipeline.

    Attributes:
      started: milliseconds since 1970, UTC.
    """

    name: str
    pipeline: str
    started: int
    steps: tuple[Step, ...]

    @property
    def state(self) -> str:
        """FAILED, CANCELED or RUNNING when a step is so, else COMPLETE."""
        states = {step.state for step in self.steps}
        return next((state for state in ("FAILED", "CANCELED", "RUNNING") if state in states), "COMPLETE")

    def step(self, name: str) -> Step | None:
        """The step of that name."""
        return next((step for step in self.steps if step.name == name), None)


def connect(store: str) -> mlmd.MetadataStore:
    """Opens the SQLite store.

    Raises:
      RunError: there is none yet, or the file is damaged.
    """
    if not os.path.exists(store):
        raise RunError(
            f"There is no metadata store '{store}': nothing has run in this workspace.",
            "Run a pipeline first, or name its workspace with --workspace DIR.",
        )
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = store
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE
    try:
        return mlmd.MetadataStore(config)
    except RuntimeError as error:
        if "not a database" not in str(error):
            raise
        raise RunError(
            f"'{store}' is no metadata store: it is not an SQLite file, or it is damaged.",
            "Restore it from a backup; or move it away, and everything runs anew.",
        ) from error


def list_runs(store: mlmd.MetadataStore) -> list[Run]:
    """Every run, newest first, with its steps but without their outputs."""
    runs = [_run(store, context, with_outputs=False) for context in _run_contexts(store)]
    return sorted(runs, key=lambda run: run.started, reverse=True)


def find_run(store: mlmd.MetadataStore, name: str) -> Run:
    """One run with its outputs; `latest` stands for the newest.

    Raises:
      RunError: there is none of that name.
    """
    contexts = _run_contexts(store)
    if name == "latest" and contexts:
        return _run(store, max(contexts, key=lambda c: (c.create_time_since_epoch, c.id)), with_outputs=True)
    found = [context for context in contexts if context.name == name]
    if not found:
        names = [context.name for context in contexts]
        raise RunError(
            f"There is no run '{name}'.{nearest(name, names)}",
            f"Runs: {listed(reversed(names))}." if names else "Nothing has run yet.",
        )
    return _run(store, found[0], with_outputs=True)


def _run_contexts(store: mlmd.MetadataStore) -> list[pb.Context]:
    contexts: list[pb.Context] = store.get_contexts_by_type(RUN_CONTEXT)
    return contexts


def _run(store: mlmd.MetadataStore, context: pb.Context, with_outputs: bool) -> Run:
    executions = sorted(store.get_executions_by_context(context.id), key=lambda e: e.id)
    outputs = _outputs(store, executions) if with_outputs else {}
    pipeline, steps = "", []
    for execution in executions:
        pipeline, node = _place(store, execution)
        steps.append(_step(node, execution, outputs.get(execution.id, {})))
    return Run(context.name, pipeline, context.create_time_since_epoch, tuple(steps))


def _place(store: mlmd.MetadataStore, execution: pb.Execution) -> tuple[str, str]:
    """The pipeline and the node that an execution belongs to, as TFX's contexts have them."""
    by_type = {context.type: context.name for context in store.get_contexts_by_execution(execution.id)}
    pipeline = by_type.get("pipeline", "")
    node = by_type.get(NODE_CONTEXT, execution.type).removeprefix(f"{pipeline}.")
    return pipeline.removesuffix(_SUFFIX), node


def _step(node: str, execution: pb.Execution, outputs: dict[str, list[Output]]) -> Step:
    properties = _values(execution.properties) | _values(execution.custom_properties)
    seconds = (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000
    return Step(
        name=node,
        execution=execution.id,
        state=pb.Execution.State.Name(execution.last_known_state),
        type=execution.type,
        seconds=float(properties.get("seconds", seconds)),
        properties=properties,
        outputs=outputs,
    )


def _outputs(store: mlmd.MetadataStore, executions: Iterable[pb.Execution]) -> dict[int, dict[str, list[Output]]]:
    events = [
        e
        for e in store.get_events_by_execution_ids([e.id for e in executions])
        if e.type in (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
    ]
    artifacts = {a.id: a for a in store.get_artifacts_by_id(sorted({e.artifact_id for e in events}))}
    found: dict[int, dict[str, list[Output]]] = {}
    for event in events:
        artifact = artifacts[event.artifact_id]
        key = next((step.key for step in event.path.steps if step.HasField("key")), "")
        properties = _values(artifact.properties) | _values(artifact.custom_properties)
        output = Output(artifact.id, artifact.type, artifact.uri, properties)
        found.setdefault(event.execution_id, {}).setdefault(key, []).append(output)
    return found


def _values(properties: Any) -> dict[str, Any]:
    return {key: _value(value) for key, value in properties.items()}


def _value(value: pb.Value) -> Any:
    kind = value.WhichOneof("value")
    if kind == "struct_value":
        from google.protobuf import json_format

        plain = json_format.MessageToDict(value.struct_value)
        return plain.get("__value__", plain)
    text = text_of(value)
    if text is None:
        return getattr(value, kind) if kind else None
    try:
        return json.loads(text) if text[:1] in ("{", "[") else text
    except json.JSONDecodeError:
        return text
