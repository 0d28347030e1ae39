"""The run, the step and the pipeline that an execution belongs to.

Braid's launcher records them on the execution. Other pipelines' are told by TFX's contexts alone; MLMD finds the contexts
of one execution by scanning all that it knows of contexts, and the executions of a context with all their records, a
hundred at a time. So a few executions are looked up one by one, and for many all runs and steps are read once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.property_values import text_of

RUN, NODE, PIPELINE = "pipeline_run", "node", "pipeline"
PIPELINE_SUFFIX = "-pipeline"
_MOST_LOOKED_UP = 1_500  # from there on, reading all takes less time, whatever the size of the store


@dataclass(frozen=True)
class Place:
    """What is known of where an execution belongs; '' is unknown, the step then its type."""

    run: str
    step: str
    pipeline: str


class Belonging:
    """Finds out where executions belong; remembers what it had to read for that."""

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self._store = store
        self._looked_up = 0
        self._all: dict[int, dict[str, str]] | None = None

    def places(self, executions: Sequence[Any]) -> list[Place]:
        """The places of these executions, in their order."""
        recorded = [_recorded(execution) for execution in executions]
        self._looked_up += recorded.count(None)
        if self._all is None and self._looked_up > _MOST_LOOKED_UP:
            self._all = self._read_all()
        return [place or self._found(execution) for place, execution in zip(recorded, executions, strict=True)]

    def _found(self, execution: Any) -> Place:
        known = self._names(execution.id) if self._all is None else self._all.get(execution.id, {})
        pipeline = known.get(PIPELINE, "")
        step = known.get(NODE, execution.type).removeprefix(f"{pipeline}.")  # TFX's nodes are named <pipeline>.<node>
        return Place(known.get(RUN, ""), step, pipeline.removesuffix(PIPELINE_SUFFIX))

    def _names(self, execution: int) -> dict[str, str]:
        """The names of one execution's contexts, by type."""
        try:
            return {context.type: context.name for context in self._store.get_contexts_by_execution(execution)}
        except mlmd.errors.NotFoundError:  # MLMD's way to say that it has none
            return {}

    def _read_all(self) -> dict[int, dict[str, str]]:
        found: dict[int, dict[str, str]] = {}
        for kind in (RUN, NODE):
            for context in self._store.get_contexts_by_type(kind):
                members = [execution.id for execution in self._store.get_executions_by_context(context.id)]
                names = {kind: context.name}
                if kind == NODE and members:  # a pipeline's own context has too many members to be read
                    names[PIPELINE] = self._names(members[0]).get(PIPELINE, "")
                for id_ in members:
                    found.setdefault(id_, {}).update(names)
        return found


def _recorded(execution: pb.Execution) -> Place | None:
    """Where Braid's launcher says that the execution belongs; nothing where it does not, as a stranger's parameter `run`."""
    properties = execution.custom_properties
    told = {key: text_of(properties[key]) or "" if key in properties else "" for key in ("run", "step", "pipeline")}
    return Place(**told) if told["run"] and told["step"] else None
