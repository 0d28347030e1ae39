"""`why`: why a step ran again, or came from the cache: which part of what it depends on differs."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from beam_jobs.errors import DataError
from beam_jobs.folder_digest import folder_size
from pipeline.cache_key import differences
from pipeline.lineage import execution_parts, naming, tables
from pipeline.lineage.archive import NODE, PIPELINE_SUFFIX, Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.execution_parts import Reason
from pipeline.lineage.records import Artifact, Execution

_ENDED, _FAILED = ("COMPLETE", "CACHED"), ("FAILED", "CANCELED")
_MOST_COMPARED = 50


@dataclass(frozen=True)
class Reasons:
    """Why an execution came to be as it is.

    Attributes:
      earlier: what it is held against: for one from the cache, the execution whose outputs it reused; else, of the last
        ones of the same step that ended well, the one whose cache key is most like its own; None where there is none.
      reasons: those that decide first; for one from the cache, what differs although it was reused.
    """

    execution: Execution
    earlier: Execution | None
    reasons: tuple[Reason, ...]
    is_last: bool = True
    """Whether no later one than `earlier` ended well."""

    @property
    def reused(self) -> bool:
        """Whether its outputs came from the cache."""
        return self.execution.is_cached

    @property
    def deciding(self) -> tuple[Reason, ...]:
        """Those that made it run."""
        return tuple(reason for reason in self.reasons if reason.decides)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "execution": _identity(self.execution),
            "state": self.execution.state,
            "reused": self.reused,
            "earlier": _identity(self.earlier) if self.earlier else None,
            "is_last": self.is_last,
            "reasons": [dataclasses.asdict(reason) for reason in self.reasons],
        }


def why(archive: Archive, name: str) -> list[Reasons]:
    """The reasons of a step of a run, of every step of a run, or of what made an artifact.

    Raises:
      LineageError: nothing is called so, or no execution is behind it.
    """
    subject = naming.find(archive, name)
    executions = list(subject.executions)
    if not executions:
        makers = [tables.maker(archive, artifact) for artifact in subject.artifacts]
        executions = list({maker.id: maker for maker in makers if maker}.values())
    if not executions:
        raise LineageError(f"No execution made '{name}': it was brought in from outside.", "Ask for RUN/step.")
    return [reasons(archive, execution) for execution in sorted(executions, key=lambda execution: execution.id)]


def reasons(archive: Archive, execution: Execution) -> Reasons:
    """What differs between an execution and the one it is to be held against."""
    if execution.is_resolver:
        told = "It looks up artifacts of earlier runs, which it does in every run."
        return Reasons(execution, None, (Reason("looks up", note=told),))
    if execution.is_cached:
        return _of_reused(archive, execution)
    others = same_step(archive, execution)
    ended = [one for one in others if one.state in _ENDED]
    earlier = _most_like(archive, ended, execution)
    forced, failed = tuple(_forced(execution)), _failed(others, ended)
    if earlier is None:
        told = "No earlier execution of this step ended well." if others else "The step had never run before."
        return Reasons(execution, None, (Reason("first", note=told), *forced, *failed))
    parts, is_last = execution_parts.differing(archive, earlier, execution), earlier is ended[-1]
    if forced:
        return Reasons(execution, earlier, (*forced, *_undecided(parts)), is_last)
    deciding = [*_edited(earlier), *(reason for reason in parts if reason.decides)]
    deciding = [*(deciding or _outputs_gone(archive, earlier, execution)), *failed]
    if not deciding:
        told = "Parameters and inputs are the same, and the outputs are there: nothing on record differs."
        deciding = [Reason("unknown", note=told)]
    others_apart = (reason for reason in parts if not reason.decides)
    return Reasons(execution, earlier, (*deciding, *others_apart), is_last)


def _most_like(archive: Archive, ended: list[Execution], execution: Execution) -> Execution | None:
    """The one that differs in the fewest parts, the last of several; without keys on record, the last."""
    last = ended[-1] if ended else None
    key = execution_parts.key_of(archive, execution)
    if last is None or key is None or execution_parts.key_of(archive, last) is None:
        return last
    by_key: dict[str, Execution] = {}
    for one in reversed(ended):
        by_key.setdefault(str(one.properties.get("cache_key", "")), one)
    distances: dict[int, Execution] = {}
    for one in list(by_key.values())[:_MOST_COMPARED]:
        other = execution_parts.key_of(archive, one)
        if other is not None:
            parts = {(found.part, found.part != "code" and found.name) for found in differences(other, key)}
            distances.setdefault(len(parts), one)
    return distances[min(distances)]


def _forced(execution: Execution) -> Iterator[Reason]:
    option = execution.properties.get("forced")
    if option:
        yield Reason("forced", str(option), note="it was to run, whatever the cache holds")


def _edited(earlier: Execution) -> Iterator[Reason]:
    names = earlier.properties.get("code_edited")
    if names:
        yield Reason("edited", str(names), note="edited while the earlier execution ran, whose outputs nobody reuses")


def _of_reused(archive: Archive, execution: Execution) -> Reasons:
    earlier = _reused(archive, execution)
    parts = execution_parts.differing(archive, earlier, execution) if earlier else []
    return Reasons(execution, earlier, _undecided(parts))


def _undecided(parts: Iterable[Reason]) -> tuple[Reason, ...]:
    """What differs, and made no difference."""
    return tuple(dataclasses.replace(reason, decides=False) for reason in parts)


def chain(archive: Archive, execution: Execution) -> list[Reasons]:
    """The reasons of an execution, then of those upstream of it that made its new inputs, back to the first causes."""
    found: dict[int, Reasons] = {}
    waiting = [execution]
    while waiting:
        one = waiting.pop(0)
        if one.id in found:
            continue
        told = found[one.id] = reasons(archive, one)
        since = told.earlier.id if told.earlier else one.id
        new = [input_.artifact for reason in told.deciding if reason.kind == "input" for input_ in reason.after]
        makers = (tables.maker(archive, artifact) for artifact in archive.artifacts(new))
        waiting += [maker for maker in makers if maker is not None and maker.id > since]
    return list(found.values())


def same_step(archive: Archive, execution: Execution) -> list[Execution]:
    """The earlier executions of the same step of the same pipeline, oldest first."""
    names = (f"{execution.pipeline}{suffix}.{execution.step}" for suffix in (PIPELINE_SUFFIX, ""))
    contexts = [context for name in names if (context := archive.store.get_context_by_type_and_name(NODE, name))]
    executions = {one.id: one for context in contexts for one in archive.executions_of(context)}
    return [one for id_, one in sorted(executions.items()) if id_ < execution.id and one.pipeline == execution.pipeline]


def _reused(archive: Archive, execution: Execution) -> Execution | None:
    """The execution that this one was taken from or, where that is not recorded, the one that wrote its outputs."""
    recorded = execution.properties.get("cache_of")
    if isinstance(recorded, int) and (found := archive.executions([recorded])):
        return found[0]
    for artifacts in tables.outputs_of(archive, execution).values():
        for artifact in artifacts:
            maker = tables.maker(archive, artifact)
            if maker is not None and maker.id != execution.id:
                return maker
    return None


def _failed(others: list[Execution], ended: list[Execution]) -> tuple[Reason, ...]:
    """Attempts after the last good one: they left nothing to reuse."""
    since = ended[-1].id if ended else 0
    return tuple(
        Reason("failed before", f"{one.run}/{one.step}", after=one.state, note=_error(one))
        for one in others
        if one.state in _FAILED and one.id > since
    )


def _error(execution: Execution) -> str:
    return str(execution.properties.get("error", "")).strip().partition("\n")[0]


def _outputs_gone(archive: Archive, earlier: Execution, execution: Execution) -> Iterator[Reason]:
    """Outputs of the earlier execution that could not be reused any more when this one began."""
    told = execution.properties.get("cache_unusable")
    if told:
        yield Reason("outputs gone", f"{earlier.run}/{earlier.step}", note=str(told))
        return
    for key, artifacts in tables.outputs_of(archive, earlier).items():
        for artifact in artifacts:
            what, removed = f"{earlier.run}/{earlier.step}.{key}", artifact.proto.last_update_time_since_epoch
            if artifact.state != "LIVE" and removed <= execution.created:
                yield Reason("outputs gone", what, "LIVE", artifact.state, note=f"'{artifact.uri}' was removed by gc")
            elif artifact.state == "LIVE" and (lost := _lost(artifact)):
                yield Reason("outputs gone", what, "there", lost, note=f"'{artifact.uri}' is {lost} now")


def _lost(artifact: Artifact) -> str:
    """What became of an artifact's files, as far as their sizes tell; '' when they are as they were."""
    try:
        found = folder_size(artifact.uri)
    except DataError:
        return "gone"
    recorded = [artifact.properties.get(name) for name in ("files_count", "bytes")]
    return "not what it was" if None not in recorded and list(found) != recorded else ""


def _identity(execution: Execution) -> dict[str, Any]:
    return {"id": execution.id, "run": execution.run, "step": execution.step, "pipeline": execution.pipeline}
