"""What a person calls an artifact: an id, `RUN/step`, a URI or path, a name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beam_jobs.errors import listed, nearest
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.misnaming import LATEST, ambiguous, checked, no_artifact, nothing_called, unknown_run
from pipeline.lineage.places import artifacts_of_path
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.serving import PUSHED_MODEL, model_pushed

ID_PREFIX = "artifact:"
ENDED = ("COMPLETE", "CACHED")


@dataclass(frozen=True)
class Subject:
    """What a name stands for.

    Attributes:
      name: as it was asked for.
      artifacts: at least one, unless an execution without outputs is meant.
      executions: the attempt or attempts meant by `RUN/step` or `RUN`.
    """

    name: str
    artifacts: tuple[Artifact, ...]
    executions: tuple[Execution, ...] = ()


def find(archive: Archive, name: str) -> Subject:
    """Finds what `name` means.

    Raises:
      LineageError: nothing is called so, or several things are; the message names the nearest, or all of them.
    """
    checked(name)
    for search in (_by_id, _by_uri, _by_run, _by_path, _by_name):
        found = search(archive, name)
        if found:
            return found
    raise no_artifact(archive, name) if _is_id(name) else nothing_called(archive, name)


def find_run(archive: Archive, name: str) -> tuple[str, list[Execution]]:
    """The full name and the executions of a run.

    Raises:
      LineageError: there is no such run.
    """
    checked(name)
    contexts = archive.runs() if name == LATEST else [archive.run(name)]
    if not contexts or contexts[-1] is None:
        raise unknown_run(archive, name)
    return contexts[-1].name, archive.executions_of(contexts[-1])


def find_model(archive: Archive, name: str) -> Artifact:
    """The Model that `name` means: itself, the one that was pushed there, or the one that its step or run made.

    Raises:
      LineageError: there is none, or there are several.
    """
    subject = find(archive, name)
    if not any(artifact.type == "Model" for artifact in subject.artifacts):
        pushed = [artifact.id for artifact in subject.artifacts if artifact.type == PUSHED_MODEL]
        models = archive.artifacts(model_pushed(archive, pushed).keys())
        subject = Subject(name, tuple(models)) if models else subject
    return one_of_type(subject, "Model")


def one_of_type(subject: Subject, kind: str) -> Artifact:
    """The subject's only artifact of a type, for questions about a model.

    Raises:
      LineageError: it has none, or several.
    """
    found = [artifact for artifact in subject.artifacts if artifact.type == kind]
    if len(found) == 1:
        return found[0]
    types = sorted({artifact.type for artifact in subject.artifacts})
    if not found:
        raise LineageError(
            f"'{subject.name}' is no {kind}: it is {listed(types) or 'a step without outputs'}.",
            f"Name the step that made the {kind}, such as latest/train, or the {kind}'s id.",
        )
    raise ambiguous(subject.name, found)


def _is_id(name: str) -> bool:
    number = name.removeprefix(ID_PREFIX)
    return number.isascii() and number.isdecimal()


def _by_id(archive: Archive, name: str) -> Subject | None:
    number = name.removeprefix(ID_PREFIX)
    if not _is_id(name) or len(number) > 18:  # beyond what a store can count to
        return None
    found = archive.artifacts([int(number)])
    if found and number == name and archive.run(name) is not None:
        raise LineageError(
            f"'{name}' is both an artifact's id and a run's name.", f"Ask for {ID_PREFIX}{name}, or for {name}/step."
        )
    return Subject(name, tuple(found)) if found else None


def _by_uri(archive: Archive, name: str) -> Subject | None:
    found = archive.artifacts_at(name)
    return Subject(name, tuple(found)) if found else None


def _by_run(archive: Archive, name: str) -> Subject | None:
    """`RUN`, `RUN/step` or `RUN/step.output`; a run's name may have slashes in it, and a step's may have dots."""
    whole = name.rstrip("/")
    run, _, step = whole.rpartition("/")
    in_run = _is_run(archive, run)
    if _is_run(archive, whole):
        if in_run and _attempts(find_run(archive, run)[1], step)[0]:
            raise LineageError(
                f"'{name}' is both a run and step '{step}' of run '{run}'.", "Ask by the id of the artifact you mean."
            )
        return _whole_run(archive, name, whole)
    return _step_of_run(archive, name, run, step) if in_run else None


def _is_run(archive: Archive, name: str) -> bool:
    return name == LATEST or (name != "" and archive.run(name) is not None)


def _whole_run(archive: Archive, name: str, run: str) -> Subject:
    """What a run's steps wrote; what they looked up in earlier runs is not its own."""
    run, executions = find_run(archive, run)
    if not executions:
        raise LineageError(f"Run '{run}' has no step on record: it ended before its first.", "Name another run.")
    own = [execution for execution in executions if not execution.is_resolver] or executions
    ids = {event.artifact for event in archive.events_of_executions([one.id for one in own]) if not event.is_input}
    return Subject(name, tuple(archive.artifacts(ids)), tuple(own))


def _step_of_run(archive: Archive, name: str, run: str, step: str) -> Subject:
    run, executions = find_run(archive, run)
    attempts, key = _attempts(executions, step)
    if not attempts:
        steps = sorted({execution.step for execution in executions})
        raise LineageError(
            f"Run '{run}' has no step '{step}'.{nearest(step, steps)}",
            f"Its steps: {listed(steps, 30)}." if steps else "It has no step on record at all.",
        )
    last = ([attempt for attempt in attempts if attempt.state in ENDED] or attempts)[-1]
    outputs = [event for event in archive.events_of_executions([last.id]) if not event.is_input]
    outputs = outputs or archive.lookups(last.id)
    keys = sorted({event.key for event in outputs})
    if key and key not in keys:
        raise LineageError(
            f"Step '{last.step}' of run '{run}' has no output '{key}'.{nearest(key, keys)}",
            f"Its outputs: {listed(keys)}." if keys else f"It wrote none; its state is {last.state}.",
        )
    ids = {event.artifact for event in outputs if key in ("", event.key)}
    return Subject(name, tuple(archive.artifacts(ids)), (last,))


def _attempts(executions: Sequence[Execution], step: str) -> tuple[list[Execution], str]:
    """A step's executions, oldest first, and the output's key where one is named."""
    for wanted, key in _split(step):
        found = [execution for execution in executions if execution.step == wanted]
        if found:
            return found, key
    return [], ""


def _split(step: str) -> Iterator[tuple[str, str]]:
    yield step, ""
    parts = step.split(".")
    for end in range(len(parts) - 1, 0, -1):
        yield ".".join(parts[:end]), ".".join(parts[end:])


def _by_path(archive: Archive, name: str) -> Subject | None:
    found = artifacts_of_path(archive, name)
    return Subject(name, tuple(found)) if found else None


def _by_name(archive: Archive, name: str) -> Subject | None:
    found = archive.artifacts_named(name)
    if len(found) > 1:
        raise ambiguous(name, found)
    return Subject(name, tuple(found)) if found else None
