"""`up` and `down`: everything that made something, everything made from it."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from pipeline.lineage import naming, serving, walk
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact, Event, Execution

Direction = Literal["up", "down"]
T = TypeVar("T")


@dataclass(frozen=True)
class Lineage:
    """A part of the graph, whole in one direction. Its records are fetched when they are first looked at.

    Attributes:
      subject: what was asked for.
      direction: `up` towards the sources, `down` towards models and predictions.
      start: ids of the artifacts that the walk began at.
      starting: ids of executions that it began at beside them: attempts that wrote nothing.
      artifacts: by id, `start` among them.
      executions: by id.
      events: which artifact went into, or came out of, which execution.
      serving: the folder that an artifact serves from now, by the artifact's id.
    """

    subject: str
    direction: Direction
    start: tuple[int, ...]
    starting: tuple[int, ...]
    artifacts: Mapping[int, Artifact]
    executions: Mapping[int, Execution]
    events: tuple[Event, ...]
    serving: Mapping[int, str]


def up(archive: Archive, name: str) -> Lineage:
    """Everything that made what `name` stands for: artifacts and executions, back to the sources.

    Raises:
      LineageError: nothing, or several things, are called so.
    """
    subject = naming.find(archive, name)
    closure = walk.upstream(archive, _ids(subject), _fruitless(subject))
    return _lineage(archive, name, "up", closure, _fruitless(subject))


def down(archive: Archive, name: str) -> Lineage:
    """Everything made from what `name` stands for: artifacts and executions, down to models and predictions.

    Raises:
      LineageError: nothing, or several things, are called so.
    """
    subject = naming.find(archive, name)
    closure = walk.downstream(archive, _ids(subject), _fruitless(subject))
    return _lineage(archive, name, "down", closure, _fruitless(subject))


def of_artifacts(archive: Archive, subject: str, direction: Direction, start: set[int]) -> Lineage:
    """The same for artifacts that are known by id."""
    closure = walk.upstream(archive, start) if direction == "up" else walk.downstream(archive, start)
    return _lineage(archive, subject, direction, closure, [])


def _ids(subject: naming.Subject) -> set[int]:
    return {artifact.id for artifact in subject.artifacts}


def _fruitless(subject: naming.Subject) -> list[int]:
    """The attempts meant, where they wrote nothing from which to begin."""
    return [] if subject.artifacts else [execution.id for execution in subject.executions]


def _lineage(
    archive: Archive, subject: str, direction: Direction, closure: walk.Closure, starting: list[int]
) -> Lineage:
    artifacts = Fetched(lambda: {found.id: found for found in archive.artifacts(closure.artifacts)}, closure.artifacts)
    executions = Fetched(lambda: {one.id: one for one in archive.executions(closure.executions)}, closure.executions)
    return Lineage(
        subject=subject,
        direction=direction,
        start=tuple(sorted(closure.start)),
        starting=tuple(starting),
        artifacts=artifacts,
        executions=executions,
        events=closure.events,
        serving=Fetched(lambda: serving.serving_among(archive, artifacts)),
    )


class Fetched(Mapping[int, T]):
    """Records by id, fetched together once one is asked for: reading 10,000 takes longer than finding which they are."""

    def __init__(self, fetch: Callable[[], Mapping[int, T]], ids: Collection[int] | None = None) -> None:
        self._fetch, self._ids = fetch, ids

    @cached_property
    def _records(self) -> Mapping[int, T]:
        return self._fetch()

    def __getitem__(self, id_: int) -> T:
        return self._records[id_]

    def __iter__(self) -> Iterator[int]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records if self._ids is None else self._ids)

    def __contains__(self, id_: object) -> bool:
        return id_ in (self._records if self._ids is None else self._ids)

    def __repr__(self) -> str:
        return repr(dict(self))
