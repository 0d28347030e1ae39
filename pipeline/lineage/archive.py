"""A metadata store, read in bulk and never written.

MLMD answers a question about a thousand ids about as fast as one about one id, but finds an execution's contexts by
scanning them all; so records are fetched in bulk, and an execution's run and step are taken from its own properties,
where Braid's launcher puts them. For other pipelines they are learned context by context, each asked once.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.lineage.records import Artifact, Event, Execution, event

RUN, NODE, PIPELINE = "pipeline_run", "node", "pipeline"
PIPELINE_SUFFIX = "-pipeline"
_MOST_IDS = 10_000  # of one question: SQLite takes up to 32,766 values in a statement


class Archive:
    """What a store holds; each record is fetched once."""

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self.store = store
        self._artifacts: dict[int, Artifact] = {}
        self._executions: dict[int, Execution] = {}
        self._places: dict[int, dict[str, str]] = {}
        self._asked: set[int] = set()

    def artifacts(self, ids: Collection[int]) -> list[Artifact]:
        """The artifacts of these ids, by id; those that the store does not hold are left out."""
        for some in _portions(set(ids) - self._artifacts.keys()):
            self._artifacts.update((proto.id, Artifact(proto)) for proto in self.store.get_artifacts_by_id(some))
        return [self._artifacts[id_] for id_ in sorted(set(ids)) if id_ in self._artifacts]

    def executions(self, ids: Collection[int]) -> list[Execution]:
        """The executions of these ids, by id; those that the store does not hold are left out."""
        for some in _portions(set(ids) - self._executions.keys()):
            self._keep(self.store.get_executions_by_id(some))
        return [self._executions[id_] for id_ in sorted(set(ids)) if id_ in self._executions]

    def events_of_artifacts(self, ids: Collection[int]) -> list[Event]:
        """What went into, and came out of, executions with these artifacts."""
        protos = (proto for some in _portions(ids) for proto in self.store.get_events_by_artifact_ids(some))
        return [found for found in map(event, protos) if found]

    def events_of_executions(self, ids: Collection[int]) -> list[Event]:
        """What went into, and came out of, these executions."""
        protos = (proto for some in _portions(ids) for proto in self.store.get_events_by_execution_ids(some))
        return [found for found in map(event, protos) if found]

    def artifacts_at(self, uri: str) -> list[Artifact]:
        """The artifacts with exactly this URI."""
        return self._known(self.store.get_artifacts_by_uri(uri))

    def named(self, kind: str, name: str) -> Artifact | None:
        """The artifact of that type and name."""
        found = self.store.get_artifact_by_type_and_name(kind, name)
        return self._known([found])[0] if found else None

    def artifacts_of_type(self, name: str) -> list[Artifact]:
        """Every artifact of a type, by id; none where the store has no such type."""
        try:
            self.store.get_artifact_type(name)
        except mlmd.errors.NotFoundError:
            return []
        return sorted(self._known(self.store.get_artifacts_by_type(name)), key=lambda artifact: artifact.id)

    def artifact_types(self) -> list[str]:
        """The names of the store's artifact types."""
        return [found.name for found in self.store.get_artifact_types()]

    def runs(self) -> list[Any]:
        """The contexts of every run, oldest first."""
        contexts = self.store.get_contexts_by_type(RUN)
        return sorted(contexts, key=lambda context: (context.create_time_since_epoch, context.id))

    def run(self, name: str) -> Any:
        """The context of one run, or nothing."""
        return self.store.get_context_by_type_and_name(RUN, name)

    def executions_of(self, context: Any) -> list[Execution]:
        """The executions of a context, such as a run, by id."""
        protos = self.store.get_executions_by_context(context.id)
        self._keep([proto for proto in protos if proto.id not in self._executions])
        return self.executions([proto.id for proto in protos])

    def _known(self, protos: Iterable[Any]) -> list[Artifact]:
        return [self._artifacts.setdefault(proto.id, Artifact(proto)) for proto in protos]

    def _keep(self, protos: Iterable[Any]) -> None:
        for proto in protos:
            place = _recorded_place(proto) or self._looked_up_place(proto)
            self._executions[proto.id] = Execution(proto, **place)

    def _looked_up_place(self, execution: Any) -> dict[str, str]:
        """Run, step and pipeline from TFX's contexts; every execution of a context asked for once becomes known with it."""
        if not {"run", "step"} <= self._places.get(execution.id, {}).keys():
            for context in self.store.get_contexts_by_execution(execution.id):
                self._learn(context)
        found = self._places.get(execution.id, {})
        pipeline = found.get("pipeline", "")
        return {
            "run": found.get("run", ""),
            "step": found.get("step", execution.type).removeprefix(f"{pipeline}."),
            "pipeline": pipeline.removesuffix(PIPELINE_SUFFIX),
        }

    def _learn(self, context: Any) -> None:
        kind = {RUN: "run", NODE: "step", PIPELINE: "pipeline"}.get(context.type)
        if kind is None or context.id in self._asked:
            return
        self._asked.add(context.id)
        for execution in self.store.get_executions_by_context(context.id):
            self._places.setdefault(execution.id, {})[kind] = context.name


def _recorded_place(execution: pb.Execution) -> dict[str, str] | None:
    recorded = execution.custom_properties
    if "run" not in recorded or "step" not in recorded:
        return None
    return {key: recorded[key].string_value if key in recorded else "" for key in ("run", "step", "pipeline")}


def _portions(ids: Collection[int]) -> Iterator[list[int]]:
    every = sorted(set(ids))
    for start in range(0, len(every), _MOST_IDS):
        yield every[start : start + _MOST_IDS]
