"""A metadata store, read in bulk and never written.

MLMD answers a question about a thousand ids about as fast as one about one id; so records are fetched in bulk.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.lineage.belonging import NODE, PIPELINE, PIPELINE_SUFFIX, RUN, Belonging
from pipeline.lineage.records import Artifact, Event, Execution, by_key, events

__all__ = ["NODE", "PIPELINE", "PIPELINE_SUFFIX", "RUN", "Archive"]
_MOST_IDS = 10_000  # of one question: SQLite takes up to 32,766 values in a statement
_MOST_RECORDS = 500  # of one question: many more take SQLite longer


class Archive:
    """What a store holds; each record is fetched once."""

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self.store = store
        self._artifacts: dict[int, Artifact] = {}
        self._executions: dict[int, Execution] = {}
        self._protos: dict[int, Any] = {}
        self._belonging = Belonging(store)

    def artifacts(self, ids: Collection[int]) -> list[Artifact]:
        """The artifacts of these ids, by id; those that the store does not hold are left out."""
        for some in _portions(set(ids) - self._artifacts.keys(), _MOST_RECORDS):
            self._artifacts.update((proto.id, Artifact(proto)) for proto in self.store.get_artifacts_by_id(some))
        return [self._artifacts[id_] for id_ in sorted(set(ids)) if id_ in self._artifacts]

    def executions(self, ids: Collection[int]) -> list[Execution]:
        """The executions of these ids, by id; those that the store does not hold are left out."""
        self._fetch(set(ids) - self._executions.keys())
        new = [self._protos.pop(id_) for id_ in sorted(set(ids) & self._protos.keys())]
        for proto, place in zip(new, self._belonging.places(new), strict=True):
            self._executions[proto.id] = Execution(proto, place.run, place.step, place.pipeline)
        return [self._executions[id_] for id_ in sorted(set(ids)) if id_ in self._executions]

    def cached(self, ids: Collection[int]) -> set[int]:
        """Those of the executions that made nothing themselves: their outputs are an earlier execution's."""
        self._fetch(set(ids) - self._executions.keys())
        records = (self._executions[id_].proto if id_ in self._executions else self._protos.get(id_) for id_ in ids)
        return {record.id for record in records if record and record.last_known_state == pb.Execution.CACHED}

    def events_of_artifacts(self, ids: Collection[int], is_input: bool | None = None) -> list[Event]:
        """Which executions read, or wrote, these artifacts; both unless told."""
        protos = (proto for some in _portions(ids) for proto in self.store.get_events_by_artifact_ids(some))
        return events(protos, is_input)

    def events_of_executions(self, ids: Collection[int], is_input: bool | None = None) -> list[Event]:
        """What these executions read, or wrote; both unless told."""
        protos = (proto for some in _portions(ids) for proto in self.store.get_events_by_execution_ids(some))
        return events(protos, is_input)

    def lookups(self, resolver: int) -> list[Event]:
        """What a resolver found among the artifacts of earlier runs, as if it had written it; others found nothing."""
        found = self.store.get_events_by_execution_ids([resolver])
        return [event for proto in found if proto.type == pb.Event.INTERNAL_OUTPUT for event in by_key(proto, False)]

    def artifacts_at(self, uri: str) -> list[Artifact]:
        """The artifacts with exactly this URI."""
        return self._known(self.store.get_artifacts_by_uri(uri)) if _may_be_asked(uri) else []

    def artifacts_named(self, name: str) -> list[Artifact]:
        """The artifacts of that name; each type may have one."""
        if not _may_be_asked(name):
            return []
        found = (
            self.store.get_artifact_by_type_and_name(kind.name, name, kind.version or None)
            for kind in self.store.get_artifact_types()
        )
        return sorted(self._known(proto for proto in found if proto), key=lambda artifact: artifact.id)

    def artifacts_of_type(self, name: str) -> list[Artifact]:
        """Every artifact of a type, by id; none where the store has no such type."""
        versions = [kind.version or None for kind in self.store.get_artifact_types() if kind.name == name]
        found = [proto for version in versions for proto in self.store.get_artifacts_by_type(name, version)]
        return sorted(self._known(found), key=lambda artifact: artifact.id)

    def newest_artifacts(self, most: int) -> list[Artifact]:
        """The artifacts recorded last, newest first."""
        newest_first = mlmd.ListOptions(limit=most, order_by=mlmd.OrderByField.ID, is_asc=False)
        return self._known(self.store.get_artifacts(newest_first))

    def artifact_types(self) -> list[str]:
        """The names of the store's artifact types."""
        return [found.name for found in self.store.get_artifact_types()]

    def runs(self) -> list[Any]:
        """The contexts of every run, oldest first."""
        contexts = self.store.get_contexts_by_type(RUN)
        return sorted(contexts, key=lambda context: (context.create_time_since_epoch, context.id))

    def run(self, name: str) -> Any:
        """The context of one run, or nothing."""
        if not _may_be_asked(name):
            return next((context for context in self.runs() if context.name == name), None)
        return self.store.get_context_by_type_and_name(RUN, name)

    def executions_of(self, context: Any) -> list[Execution]:
        """The executions of a context, such as a run, by id."""
        protos = self.store.get_executions_by_context(context.id)
        self._protos.update((proto.id, proto) for proto in protos if proto.id not in self._executions)
        return self.executions([proto.id for proto in protos])

    def _known(self, protos: Iterable[Any]) -> list[Artifact]:
        return [self._artifacts.setdefault(proto.id, Artifact(proto)) for proto in protos]

    def _fetch(self, executions: set[int]) -> None:
        for some in _portions(executions - self._protos.keys(), _MOST_RECORDS):
            self._protos.update((proto.id, proto) for proto in self.store.get_executions_by_id(some))


def _may_be_asked(text: str) -> bool:
    """Whether the text may go into a query: MLMD's client for PostgreSQL lets a backslash break out of its quotes."""
    return "\\" not in text


def _portions(ids: Collection[int], most: int = 0) -> Iterator[list[int]]:
    every, size = sorted(set(ids)), most or _MOST_IDS
    for start in range(0, len(every), size):
        yield every[start : start + size]
