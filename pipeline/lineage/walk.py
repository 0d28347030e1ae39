"""The transitive closure over events: breadth first, a few questions a level, however wide or deep the graph."""

from collections.abc import Collection
from dataclasses import dataclass

from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Event


@dataclass(frozen=True)
class Closure:
    """What can be reached from where a walk started.

    Attributes:
      start: the artifacts that the walk began at; they are among `artifacts`.
      events: the steps of the walk: every edge along which something was reached, or reached again.
    """

    start: frozenset[int]
    artifacts: frozenset[int]
    executions: frozenset[int]
    events: tuple[Event, ...]


def upstream(archive: Archive, start: Collection[int], executions: Collection[int] = ()) -> Closure:
    """Everything that made these artifacts, and everything that these executions read.

    An artifact is made by the execution that wrote it; one that took it from the cache only passed it on, and its
    inputs, though equal, may be younger. Where nothing but cached executions is on record, they stand for the maker.
    """
    artifacts, reached, events = set(start), set[int](), list[Event]()
    frontier, new = set(start), set(executions)
    while frontier or new:
        outputs = _makers(archive, archive.events_of_artifacts(frontier, is_input=False))
        new = (new | {event.execution for event in outputs}) - reached
        reached |= new
        inputs = archive.events_of_executions(new, is_input=True)
        frontier, new = {event.artifact for event in inputs} - artifacts, set()
        artifacts |= frontier
        events += [*outputs, *inputs]
    return Closure(frozenset(start), frozenset(artifacts), frozenset(reached), tuple(events))


def downstream(archive: Archive, start: Collection[int], executions: Collection[int] = ()) -> Closure:
    """Everything that these artifacts, and these executions' outputs, went into.

    A cached execution counts: what it took from the cache holds the same data as if it had been made from its inputs.
    """
    artifacts, reached, events = set(start), set[int](), list[Event]()
    frontier, new = set(start), set(executions)
    while frontier or new:
        inputs = archive.events_of_artifacts(frontier, is_input=True)
        new = (new | {event.execution for event in inputs}) - reached
        reached |= new
        outputs = archive.events_of_executions(new, is_input=False)
        frontier, new = {event.artifact for event in outputs} - artifacts, set()
        artifacts |= frontier
        events += [*inputs, *outputs]
    return Closure(frozenset(start), frozenset(artifacts), frozenset(reached), tuple(events))


def _makers(archive: Archive, outputs: list[Event]) -> list[Event]:
    by_artifact: dict[int, list[Event]] = {}
    for event in outputs:
        by_artifact.setdefault(event.artifact, []).append(event)
    shared = {e.execution for events in by_artifact.values() if len(events) > 1 for e in events}
    cached = archive.cached(shared)
    return [
        event
        for events in by_artifact.values()
        for event in ([e for e in events if e.execution not in cached] or events)
    ]
