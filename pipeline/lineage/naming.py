"""What a person calls an artifact: an id, `RUN/step`, a URI or path, a name."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from beam_jobs.errors import listed, nearest
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.serving import PUSHED_MODEL, model_pushed, pushed_to

LATEST = "latest"
FORMS = "an artifact's id, RUN, RUN/step or RUN/step.output (`latest` is the newest run), a URI or path, a name"


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
    if name.removeprefix("artifact:").isdecimal():
        return _by_id(archive, name)
    for search in (_by_uri, _by_step, _by_path, _by_name):
        found = search(archive, name)
        if found:
            return found
    raise _unknown(archive, name)


def find_run(archive: Archive, name: str) -> tuple[str, list[Execution]]:
    """The full name and the executions of a run.

    Raises:
      LineageError: there is no such run.
    """
    contexts = archive.runs() if name == LATEST else [archive.run(name)]
    if not contexts or contexts[-1] is None:
        raise _unknown_run(archive, name)
    return contexts[-1].name, archive.executions_of(contexts[-1])


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
    raise _ambiguous(subject.name, found)


def _by_id(archive: Archive, name: str) -> Subject:
    id_ = int(name.removeprefix("artifact:"))
    found = archive.artifacts([id_]) if id_ < 2**63 else []
    if not found:
        raise LineageError(
            f"There is no artifact {id_} in this store.", "`braid show RUN --json` lists the ids of a run's artifacts."
        )
    return Subject(name, tuple(found))


def _by_uri(archive: Archive, name: str) -> Subject | None:
    found = archive.artifacts_at(name)
    return Subject(name, tuple(found)) if found else None


def _by_step(archive: Archive, name: str) -> Subject | None:
    """`RUN`, `RUN/step` or `RUN/step.output`."""
    run, slash, step = name.rpartition("/")
    run, step = (run, step) if slash else (name, "")
    if run != LATEST and archive.run(run) is None:
        return _whole_run(archive, name) if archive.run(name) else None
    run, executions = find_run(archive, run)
    if not step:
        return _outputs(archive, name, executions)
    wanted, _, key = step.partition(".")
    attempts = [execution for execution in executions if execution.step == wanted]
    if not attempts:
        steps = sorted({execution.step for execution in executions})
        raise LineageError(
            f"Run '{run}' has no step '{wanted}'.{nearest(wanted, steps)}", f"Its steps: {listed(steps, 30)}."
        )
    ended = [execution for execution in attempts if execution.state in ("COMPLETE", "CACHED")]
    return _outputs(archive, name, (ended or attempts)[-1:], key)


def _whole_run(archive: Archive, name: str) -> Subject:
    return _outputs(archive, name, find_run(archive, name)[1])


def _outputs(archive: Archive, name: str, executions: Sequence[Execution], key: str = "") -> Subject:
    """What the executions wrote; of a run, what steps looked up in earlier runs is not its own."""
    own = [execution for execution in executions if not execution.is_resolver]
    events = [e for e in archive.events_of_executions([execution.id for execution in own]) if not e.is_input]
    keys = sorted({event.key for event in events})
    if key and key not in keys:
        raise LineageError(
            f"'{name.removesuffix(f'.{key}')}' has no output '{key}'.{nearest(key, keys)}",
            f"Its outputs: {listed(keys)}." if keys else "It wrote none.",
        )
    ids = {event.artifact for event in events if key in ("", event.key)}
    return Subject(name, tuple(archive.artifacts(ids)), tuple(own))


def _by_path(archive: Archive, name: str) -> Subject | None:
    """A path however it is written: relative, with file://, with a slash at its end, or of a file inside an artifact."""
    path = name.removeprefix("file://")
    whole = path if "://" in path else os.path.abspath(os.path.expanduser(path))
    served = pushed_to(archive, os.path.realpath(whole)) if os.path.exists(whole) else []
    if served:
        return Subject(name, tuple(served))
    for place in _and_parents(whole):
        found = [artifact for spelling in _spellings(place) for artifact in archive.artifacts_at(spelling)]
        if found:
            return Subject(name, tuple(found))
    return None


def _and_parents(path: str) -> Iterable[str]:
    """The path and the few folders above it within which an artifact keeps its files."""
    for _ in range(4):
        path = path.rstrip("/")
        if path.count("/") < 2:
            return
        yield path
        path = path.rpartition("/")[0]


def _spellings(path: str) -> tuple[str, ...]:
    return (path, f"{path}/", f"file://{path}", os.path.realpath(path)) if "://" not in path else (path, f"{path}/")


def _by_name(archive: Archive, name: str) -> Subject | None:
    found = [artifact for kind in archive.artifact_types() if (artifact := archive.named(kind, name)) is not None]
    if len(found) > 1:
        raise _ambiguous(name, found)
    return Subject(name, tuple(found)) if found else None


def _ambiguous(name: str, found: Sequence[Artifact]) -> LineageError:
    told = (f"{artifact.id} ({artifact.type} at {artifact.uri})" for artifact in found)
    return LineageError(
        f"'{name}' may mean several artifacts: {listed(told, 6)}.", "Ask by the id of the one you mean."
    )


def _unknown_run(archive: Archive, name: str) -> LineageError:
    names = [context.name for context in archive.runs()]
    if not names:
        return LineageError(f"There is no run '{name}': the store holds no run at all.", "Is it the store you mean?")
    return LineageError(
        f"There is no run '{name}'.{nearest(name, names)}", f"Runs, newest first: {listed(reversed(names), 5)}."
    )


def _unknown(archive: Archive, name: str) -> LineageError:
    run = name.rpartition("/")[0]
    if run and not os.path.exists(name) and not name.startswith(("/", "./", "../")) and "://" not in name:
        return _unknown_run(archive, run)
    runs = [context.name for context in archive.runs()]
    return LineageError(
        f"Nothing in this store is called '{name}'.{nearest(name, runs)}",
        f"Name {FORMS}. Runs, newest first: {listed(reversed(runs), 3) or 'none'}.",
    )


def find_model(archive: Archive, name: str) -> Artifact:
    """The Model that `name` means: itself, the one that was pushed there, or the one that its step or run made.

    Raises:
      LineageError: there is none, or there are several.
    """
    subject = find(archive, name)
    if any(artifact.type == "Model" for artifact in subject.artifacts):
        return one_of_type(subject, "Model")
    pushed = [artifact.id for artifact in subject.artifacts if artifact.type == PUSHED_MODEL]
    models = [archive.artifacts([id_])[0] for id_ in model_pushed(archive, pushed)]
    if models:
        return one_of_type(Subject(name, tuple(models)), "Model")
    return one_of_type(subject, "Model")
