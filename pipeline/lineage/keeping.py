"""What has to stay: what serves, pinned and recent runs, and everything upstream of them."""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.lineage import records, serving, walk
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.source_files import recorded_files
from pipeline.lineage.tables import SOURCE_TABLE

Keep = Literal["serving", "pinned", "recent", "under way"]
PINNED = "pinned"
DAY_SECONDS = 86_400
_UNDER_WAY = ("RUNNING", "NEW")


@dataclass(frozen=True)
class Policy:
    """What is kept although it does not serve.

    Attributes:
      days: runs that did something within so many days are kept whole.
      failed_days: for so many days what failed attempts left behind is kept, and folders that nothing names.
      now: seconds since 1970.
    """

    days: float = 30.0
    failed_days: float = 7.0
    now: float = field(default_factory=time.time)

    def since(self, days: float) -> float:
        """The moment so many days ago, in milliseconds since 1970."""
        return (self.now - days * DAY_SECONDS) * 1000


@dataclass(frozen=True)
class Kept:
    """What has to stay.

    Attributes:
      runs: why each run that is kept whole is so.
      artifacts: ids of those that serve, of what a kept run's steps read or wrote, and of all upstream of them.
    """

    runs: Mapping[str, Keep]
    artifacts: frozenset[int]


def kept(archive: Archive, policy: Policy) -> Kept:
    """Finds what has to stay; see `Kept`."""
    executions = archive.executions([proto.id for proto in archive.store.get_executions()])
    served = _served(archive)
    runs = _runs(archive, executions, served, policy)
    whole = [one for one in executions if one.run in runs or _is_recent(one, policy)]
    read_or_written = {event.artifact for event in archive.events_of_executions([one.id for one in whole])}
    looked_up = {event.artifact for one in whole if one.is_resolver for event in archive.lookups(one.id)}
    return Kept(runs, walk.upstream(archive, served | read_or_written | looked_up).artifacts)


def is_pinned(archive: Archive, run: str) -> bool:
    """Whether a run was pinned."""
    return _pinned(archive.run(run)) if run else False


def pinned(archive: Archive) -> list[str]:
    """The names of the pinned runs, newest first."""
    return [context.name for context in reversed(archive.runs()) if _pinned(context)]


def _pinned(context: object) -> bool:
    properties = getattr(context, "custom_properties", {})
    return bool(records.plain(properties).get(PINNED))


def _runs(
    archive: Archive, executions: Collection[Execution], served: Collection[int], policy: Policy
) -> dict[str, Keep]:
    found: dict[str, Keep] = {}
    for one in executions:
        if one.run and _is_recent(one, policy):
            found[one.run] = "under way" if one.state in _UNDER_WAY else found.get(one.run, "recent")
    for context in archive.runs():
        if _pinned(context):
            found[context.name] = "pinned"
        elif context.create_time_since_epoch >= policy.since(policy.days):
            found.setdefault(context.name, "recent")
    makers = _makers(archive, served)
    return found | {one.run: "serving" for one in makers if one.run and not one.is_cached}


def _is_recent(execution: Execution, policy: Policy) -> bool:
    changed = max(execution.created, int(execution.proto.last_update_time_since_epoch))
    return execution.state in _UNDER_WAY or changed >= policy.since(policy.days)


def _makers(archive: Archive, artifacts: Collection[int]) -> list[Execution]:
    events = archive.events_of_artifacts(artifacts) if artifacts else []
    return archive.executions({event.execution for event in events if not event.is_input})


def _served(archive: Archive) -> set[int]:
    """Models that serve; of a folder that cannot be asked, being gone or not mounted, the one pushed there last."""
    now = set(serving.serving(archive))
    by_folder: dict[str, list[Artifact]] = {}
    for version, pushed in serving.pushed_versions(archive).items():
        by_folder.setdefault(os.path.dirname(version), []).extend(pushed)
    silent = [pushed for pushed in by_folder.values() if now.isdisjoint(one.id for one in pushed)]
    last = {max(one.id for one in pushed) for pushed in silent}
    return now | last | (serving.model_pushed(archive, last).keys() if last else set())


def places_of(archive: Archive, artifacts: Collection[Artifact]) -> Iterator[str]:
    """Where these artifacts lie, the files that their tables are read from in place, and the folders of served models."""
    for artifact in artifacts:
        yield artifact.uri
        yield from files_read(artifact)
    yield from (os.path.dirname(version) for version in serving.pushed_versions(archive))


def files_read(artifact: Artifact) -> list[str]:
    """The source files that a table was read from; none for what is no source's table."""
    return [str(file["path"]) for file in recorded_files(artifact)] if artifact.type == SOURCE_TABLE else []
