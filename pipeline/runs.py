"""Past runs, read from ML Metadata. Imports neither TFX nor TensorFlow, so that it answers at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_metadata as mlmd

from beam_jobs.errors import listed, nearest
from pipeline import stores
from pipeline.errors import RunError
from pipeline.lineage.archive import PIPELINE_SUFFIX, Archive
from pipeline.lineage.records import Execution, plain
from pipeline.store_address import StoreAddress

ENDED_WELL = ("COMPLETE", "CACHED")


def pipeline_id(name: str) -> str:
    """TFX's id of a pipeline. TFX wants it to differ from every step's, and a table may well bear the pipeline's name."""
    return name + PIPELINE_SUFFIX


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

    @property
    def ended_well(self) -> bool:
        """Whether its outputs are there."""
        return self.state in ENDED_WELL


@dataclass(frozen=True)
class Run:
    """One execution of a pipeline.

    Attributes:
      started: milliseconds since 1970, UTC.
      steps: the last attempt at each step, in the order in which the steps were first tried.
      attempts: earlier attempts at steps that were tried again when the run was resumed.
      pinned: whether `braid lineage gc` keeps it.
    """

    name: str
    pipeline: str
    started: int
    steps: tuple[Step, ...]
    attempts: tuple[Step, ...] = ()
    pinned: bool = False

    @property
    def state(self) -> str:
        """FAILED, CANCELED or RUNNING when a step is so, else COMPLETE."""
        states = {step.state for step in self.steps}
        return next((state for state in ("FAILED", "CANCELED", "RUNNING") if state in states), "COMPLETE")

    def step(self, name: str) -> Step | None:
        """The step of that name."""
        return next((step for step in self.steps if step.name == name), None)


def connect(store: StoreAddress | str) -> mlmd.MetadataStore:
    """Opens a store for reading; see `stores.open_store`."""
    return stores.open_store(store)


def list_runs(store: mlmd.MetadataStore) -> list[Run]:
    """Every run, newest first, with its steps but without their outputs."""
    archive = Archive(store)
    return [_run(archive, context, with_outputs=False) for context in reversed(archive.runs())]


def names(store: mlmd.MetadataStore) -> list[str]:
    """The names of all runs, newest first."""
    return [context.name for context in reversed(Archive(store).runs())]


def find_run(store: mlmd.MetadataStore, name: str) -> Run:
    """One run with its outputs; `latest` stands for the newest.

    Raises:
      RunError: there is none of that name.
    """
    archive = Archive(store)
    context = archive.run(name)
    if context is not None:
        return _run(archive, context, with_outputs=True)
    contexts = archive.runs()
    if name == "latest" and contexts:
        return _run(archive, contexts[-1], with_outputs=True)
    names = [context.name for context in contexts]
    raise RunError(
        f"There is no run '{name}'.{nearest(name, names)}",
        f"Runs: {listed(reversed(names))}." if names else "Nothing has run yet.",
    )


def _run(archive: Archive, context: Any, with_outputs: bool) -> Run:
    executions = archive.executions_of(context)
    outputs = _outputs(archive, executions) if with_outputs else {}
    last = {execution.step: execution.id for execution in executions}
    tried = list(dict.fromkeys(execution.step for execution in executions))
    steps = {execution.id: _step(execution, outputs.get(execution.id, {})) for execution in executions}
    earlier = tuple(step for id_, step in steps.items() if id_ not in last.values())
    pipeline = executions[-1].pipeline if executions else ""
    return Run(
        name=context.name,
        pipeline=pipeline,
        started=context.create_time_since_epoch,
        steps=tuple(steps[last[name]] for name in tried),
        attempts=earlier,
        pinned=bool(plain(context.custom_properties).get("pinned")),
    )


def _step(execution: Execution, outputs: dict[str, list[Output]]) -> Step:
    return Step(
        name=execution.step,
        execution=execution.id,
        state=execution.state,
        type=execution.type,
        seconds=execution.seconds,
        properties=execution.properties,
        outputs=outputs,
    )


def _outputs(archive: Archive, executions: Sequence[Execution]) -> dict[int, dict[str, list[Output]]]:
    events = [e for e in archive.events_of_executions([e.id for e in executions]) if not e.is_input]
    artifacts = {artifact.id: artifact for artifact in archive.artifacts([event.artifact for event in events])}
    found: dict[int, dict[str, list[Output]]] = {}
    for event in events:
        artifact = artifacts[event.artifact]
        output = Output(artifact.id, artifact.type, artifact.uri, artifact.properties)
        found.setdefault(event.execution, {}).setdefault(event.key, []).append(output)
    return found
