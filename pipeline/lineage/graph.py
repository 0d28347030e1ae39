"""A lineage as a graph to draw: who made and who read what, how far each step is from where the walk began."""

import dataclasses
from collections.abc import Iterable

from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.records import Event


class Graph:
    """The adjacency of a lineage, without resolvers that lead nowhere.

    Attributes:
      lineage: what is drawn.
      hidden_resolvers: how many executions were left out because they only looked artifacts up, in vain or for nothing
        that is part of the lineage.
      makers: for an artifact, the events of the executions that wrote it.
      readers: for an artifact, those of the executions that read it.
      inputs: for an execution, what it read, by key.
      outputs: for an execution, what it wrote, by key.
    """

    def __init__(self, lineage: Lineage) -> None:
        idle = _idle_resolvers(lineage)
        self.lineage = _without(lineage, idle)
        self.hidden_resolvers = len(idle)
        self.makers: dict[int, list[Event]] = {}
        self.readers: dict[int, list[Event]] = {}
        self.inputs: dict[int, list[Event]] = {}
        self.outputs: dict[int, list[Event]] = {}
        for event in sorted(self.lineage.events, key=lambda e: (e.key, e.artifact, e.execution)):
            of_artifact, of_execution = (self.readers, self.inputs) if event.is_input else (self.makers, self.outputs)
            of_artifact.setdefault(event.artifact, []).append(event)
            of_execution.setdefault(event.execution, []).append(event)
        for events in (*self.makers.values(), *self.readers.values()):
            events.sort(key=lambda event: event.execution)

    def maker(self, artifact: int) -> int | None:
        """The execution that wrote an artifact, the first where several are on record."""
        events = self.makers.get(artifact)
        return events[0].execution if events else None

    def levels(self) -> dict[int, int]:
        """How many steps each execution is from the start; those next to it are at 1."""
        upwards = self.lineage.direction == "up"
        reached, onwards = (self.makers, self.inputs) if upwards else (self.readers, self.outputs)
        levels = dict.fromkeys(self.lineage.starting, 1)
        frontier, artifacts, level = list(levels), set(self.lineage.start), 1
        waiting: Iterable[int] = self.lineage.start
        while True:
            new = {event.execution for artifact in waiting for event in reached.get(artifact, ())} - levels.keys()
            levels |= dict.fromkeys(sorted(new), level)
            frontier = [*frontier, *new]
            if not frontier:
                return levels
            waiting = {event.artifact for execution in frontier for event in onwards.get(execution, ())} - artifacts
            artifacts |= waiting
            frontier, level = [], level + 1


def within(lineage: Lineage, depth: int) -> tuple[Lineage, int]:
    """The part of a lineage that is at most so many steps from its start (all of it for 0), and how many steps are not."""
    if not depth:
        return lineage, 0
    levels = Graph(lineage).levels()
    near = {execution for execution, level in levels.items() if level <= depth}
    events = tuple(event for event in lineage.events if event.execution in near)
    artifacts = {*lineage.start, *(event.artifact for event in events)}
    part = dataclasses.replace(
        lineage,
        artifacts={id_: artifact for id_, artifact in lineage.artifacts.items() if id_ in artifacts},
        executions={id_: execution for id_, execution in lineage.executions.items() if id_ in near},
        events=events,
        serving={id_: place for id_, place in lineage.serving.items() if id_ in artifacts},
    )
    return part, len(levels) - len(near)


def _idle_resolvers(lineage: Lineage) -> set[int]:
    writing = {event.execution for event in lineage.events if not event.is_input} | set(lineage.starting)
    return {id_ for id_, execution in lineage.executions.items() if execution.is_resolver and id_ not in writing}


def _without(lineage: Lineage, executions: set[int]) -> Lineage:
    if not executions:
        return lineage
    return dataclasses.replace(
        lineage,
        executions={id_: execution for id_, execution in lineage.executions.items() if id_ not in executions},
        events=tuple(event for event in lineage.events if event.execution not in executions),
    )
