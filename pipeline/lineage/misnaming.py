"""How a name that means nothing, or too much, is told: with the nearest that would mean something."""

import difflib
from collections.abc import Sequence

from beam_jobs.errors import listed, nearest
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.records import Artifact

LATEST = "latest"
FORMS = "an artifact's id, RUN, RUN/step or RUN/step.output (`latest` is the newest run), a URI or path, a name"
_COMPARED = 300  # of the newest artifacts: a name mistyped is mostly one seen lately


def checked(name: str) -> None:
    """Sees to it that something is named.

    Raises:
      LineageError: the name is empty, or holds what no store can hold.
    """
    if not name.strip():
        raise LineageError("The name is empty.", f"Name {FORMS}.")
    if "\0" in name or not _is_text(name):
        raise LineageError(f"{name!a} is no name: it holds bytes that are not text.", f"Name {FORMS}.")


def ambiguous(name: str, found: Sequence[Artifact]) -> LineageError:
    """Several artifacts bear the name."""
    told = (f"{artifact.id} ({artifact.type} at {artifact.uri})" for artifact in found)
    return LineageError(
        f"'{name}' may mean several artifacts: {listed(told, 6)}.", "Ask by the id of the one you mean."
    )


def no_artifact(archive: Archive, name: str) -> LineageError:
    """No artifact has this id, and nothing else is called so."""
    newest = archive.newest_artifacts(1)
    last = f" The last is {newest[0].id} ({newest[0].type})." if newest else " It holds none at all."
    return LineageError(
        f"There is no artifact {name} in this store.{last}",
        "`braid show RUN --json` lists the ids of a run's artifacts.",
    )


def unknown_run(archive: Archive, name: str) -> LineageError:
    """There is no such run."""
    names = [context.name for context in archive.runs()]
    if not names:
        return LineageError(f"There is no run '{name}': the store holds no run at all.", "Is it the store you mean?")
    return LineageError(
        f"There is no run '{name}'.{nearest(name, [LATEST, *names])}",
        f"Runs, newest first: {listed(reversed(names), 5)}.",
    )


def nothing_called(archive: Archive, name: str) -> LineageError:
    """Nothing is called so: neither a run, a step, an artifact nor a place."""
    runs = [context.name for context in archive.runs()]
    run, _, step = name.rstrip("/").rpartition("/")
    if run and not name.startswith("/"):
        close = [LATEST, *runs[-_COMPARED:]]
        meant = difflib.get_close_matches(name, [*close, *(f"{one}/{step}" for one in close)], 1)
        if meant:
            return unknown_run(archive, name if meant[0] in close else run)
    newest = archive.newest_artifacts(_COMPARED)
    if not runs and not newest:
        return LineageError(f"Nothing is called '{name}': the store is empty.", "Is it the store you mean?")
    known = [*runs, *_steps(archive), *(text for artifact in newest for text in (artifact.name, artifact.uri) if text)]
    return LineageError(
        f"Nothing in this store is called '{name}'.{nearest(name, known)}",
        f"Name {FORMS}. Runs, newest first: {listed(reversed(runs), 3) or 'none'}.",
    )


def _steps(archive: Archive) -> list[str]:
    """What the newest run's steps are called, for who names the step alone."""
    runs = archive.runs()
    steps = sorted({execution.step for execution in archive.executions_of(runs[-1])}) if runs else []
    return [LATEST, *(f"{LATEST}/{step}" for step in steps)] if runs else []


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
