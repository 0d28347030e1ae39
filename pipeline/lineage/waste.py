"""`waste`: time and bytes spent on what was never blessed and never pushed."""

import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.folder_digest import folder_size
from pipeline.lineage import walk
from pipeline.lineage.archive import PIPELINE, PIPELINE_SUFFIX, Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.keeping import DAY_SECONDS
from pipeline.lineage.records import Artifact, Execution

SERVED = {"ModelBlessing": "blessed", "PushedModel": "pushed"}
"""The artifacts that say of a model that it was of use, each with the property that does."""
_SPENT, _FAILED = ("COMPLETE", "FAILED", "CANCELED"), ("FAILED", "CANCELED")


@dataclass(frozen=True)
class Spent:
    """What executions came to; one whose outputs are the cache's spends nothing.

    Attributes:
      executions: how many did work.
      unmeasured: outputs whose bytes were not recorded and are gone by now, so that they count as none.
    """

    executions: int = 0
    seconds: float = 0.0
    bytes: int = 0
    unmeasured: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.executions + other.executions,
            self.seconds + other.seconds,
            self.bytes + other.bytes,
            self.unmeasured + other.unmeasured,
        )


@dataclass(frozen=True)
class StepWaste:
    """What a step spent in all, and how much of that on what never served."""

    pipeline: str
    step: str
    spent: Spent
    wasted: Spent


@dataclass(frozen=True)
class Waste:
    """What was spent and what of it was wasted.

    Attributes:
      days: how far back it was looked; None for all of the past.
      steps: the most wasted seconds first.
      unfinished: executions under way, which count neither way.
      judged: whether the store has a blessed or pushed model at all; else everything counts as wasted.
    """

    days: float | None
    steps: tuple[StepWaste, ...]
    unfinished: int
    judged: bool

    @property
    def spent(self) -> Spent:
        """In all."""
        return sum((step.spent for step in self.steps), Spent())

    @property
    def wasted(self) -> Spent:
        """On what never served."""
        return sum((step.wasted for step in self.steps), Spent())

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "spent": asdict(self.spent), "wasted": asdict(self.wasted)}


def waste(archive: Archive, pipeline: str = "", days: float | None = None, now: float | None = None) -> Waste:
    """Adds up what executions spent, and of that what went into no blessed and no pushed model.

    What leads to no model at all, such as a check of the data, counts with the run: where that blessed or pushed a
    model, the check was of use. A failed attempt never was.

    Args:
      archive: the store.
      pipeline: of this pipeline alone.
      days: executions that began within so many days; None for all.
      now: seconds since 1970; the present unless given.

    Raises:
      LineageError: there is no such pipeline.
    """
    begun = 0.0 if days is None else ((time.time() if now is None else now) - days * DAY_SECONDS) * 1000
    executions = [one for one in _executions(archive, pipeline) if one.created >= begun and not one.is_cached]
    served = [one for kind, mark in SERVED.items() for one in archive.artifacts_of_type(kind) if _is_marked(one, mark)]
    useful = _useful(archive, executions, served) if served else set[int]()
    outputs = _outputs(archive, [one for one in executions if one.state in _SPENT])
    totals: dict[tuple[str, str], tuple[Spent, Spent]] = {}
    for one in (one for one in executions if one.state in _SPENT):
        spent, wasted = totals.get((one.pipeline, one.step), (Spent(), Spent()))
        cost = _cost(one, outputs.get(one.id, ()))
        totals[one.pipeline, one.step] = (spent + cost, wasted if one.id in useful else wasted + cost)
    steps = [StepWaste(*place, *sums) for place, sums in totals.items()]
    return Waste(
        days=days,
        steps=tuple(sorted(steps, key=lambda step: (-step.wasted.seconds, step.pipeline, step.step))),
        unfinished=sum(one.state not in _SPENT for one in executions),
        judged=bool(served),
    )


def _executions(archive: Archive, pipeline: str) -> list[Execution]:
    names = {c.name.removesuffix(PIPELINE_SUFFIX): c for c in archive.store.get_contexts_by_type(PIPELINE)}
    if not pipeline:
        found = {one.id: one for context in names.values() for one in archive.executions_of(context)}
        return list(found.values()) or archive.executions([proto.id for proto in archive.store.get_executions()])
    if pipeline not in names:
        raise LineageError(
            f"There is no pipeline '{pipeline}' in this store.{nearest(pipeline, names)}",
            f"Pipelines: {listed(sorted(names))}." if names else "It holds none.",
        )
    return archive.executions_of(names[pipeline])


def _is_marked(artifact: Artifact, mark: str) -> bool:
    return bool(artifact.properties.get(mark) == 1)


def _useful(archive: Archive, executions: Collection[Execution], served: list[Artifact]) -> set[int]:
    """The executions that went into what was blessed or pushed, and the checks of the runs that did so."""
    behind = set(walk.upstream(archive, [artifact.id for artifact in served]).executions)
    models = [artifact.id for kind in ("Model", *SERVED) for artifact in archive.artifacts_of_type(kind)]
    to_models = walk.upstream(archive, models).executions
    checks = {one.id for one in executions if one.state not in _FAILED} - to_models
    makers = [e.execution for e in archive.events_of_artifacts([a.id for a in served]) if not e.is_input]
    runs = {one.run for one in archive.executions(makers)} - {""}
    together = {one.id for run in runs if (context := archive.run(run)) for one in archive.executions_of(context)}
    shared = {event.artifact for event in archive.events_of_executions(together) if not event.is_input}
    wrote = archive.events_of_artifacts(shared)
    return behind | (checks & ({event.execution for event in wrote if not event.is_input} | together))


def _outputs(archive: Archive, executions: Collection[Execution]) -> dict[int, list[Artifact]]:
    events = [e for e in archive.events_of_executions([one.id for one in executions]) if not e.is_input]
    artifacts = {artifact.id: artifact for artifact in archive.artifacts({event.artifact for event in events})}
    found: dict[int, list[Artifact]] = {}
    for execution, artifact in dict.fromkeys((event.execution, event.artifact) for event in events):
        found.setdefault(execution, []).append(artifacts[artifact])
    return found


def _cost(execution: Execution, outputs: Iterable[Artifact]) -> Spent:
    sizes = [bytes_of(artifact) for artifact in outputs]
    known = [size for size in sizes if size is not None]
    return Spent(1, execution.seconds, sum(known), len(sizes) - len(known))


def bytes_of(artifact: Artifact) -> int | None:
    """What an artifact holds: as recorded, else as measured now; None where it is gone."""
    recorded = artifact.properties.get("bytes")
    if isinstance(recorded, int | float):
        return int(recorded)
    try:
        return folder_size(artifact.uri)[1] if artifact.uri else 0
    except DataError:
        return None
