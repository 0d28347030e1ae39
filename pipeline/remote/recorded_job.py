"""A job of a service, as the execution that waits for it is recorded; it outlives the process that submitted it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs.errors import listed
from pipeline import runs, stores
from pipeline.errors import NothingRecordedError, RunError
from pipeline.lineage.records import plain
from pipeline.workspace import Workspace

_GIVEN_UP = ("FAILED", "CANCELLED")
_UNFINISHED = (pb.Execution.RUNNING, pb.Execution.NEW)


@dataclass(frozen=True)
class RecordedJob:
    """What is needed to find a job again.

    Attributes:
      execution: MLMD's number of the step's execution.
      id: '' where its submission was under way when the process ended.
      state: the last one known, '' where none is.
    """

    run: str
    step: str
    execution: int
    name: str
    id: str
    project: str
    region: str
    endpoint: str
    link: str
    state: str

    @property
    def title(self) -> str:
        """How people are told of it."""
        return f"job {self.id or self.name} of step '{self.step}'"


def job_of(execution: pb.Execution) -> RecordedJob | None:
    """The job that an unfinished execution waits for, or None.

    One that failed or was cancelled is waited for no longer; one that is done may not have been taken up yet.
    """
    properties: dict[str, Any] = plain(execution.properties) | plain(execution.custom_properties)
    if execution.last_known_state not in _UNFINISHED or not properties.get("job_name"):
        return None
    told = {key: str(properties.get(key, "")) for key in ("run", "step")}
    keys = ("name", "id", "project", "region", "endpoint", "link", "state")
    told |= {key: str(properties.get(f"job_{key}", "")) for key in keys}
    return None if told["state"] in _GIVEN_UP else RecordedJob(execution=execution.id, **told)


def unfinished_jobs(workspace: Workspace, pipeline: str) -> list[RecordedJob]:
    """The jobs that runs of this pipeline, recorded in this workspace, still wait for; the newest first."""
    try:
        store = stores.open_store(workspace.store)
    except NothingRecordedError:
        return []
    context = store.get_context_by_type_and_name("pipeline", runs.pipeline_id(pipeline))
    everyones = store.get_executions_by_context(context.id) if context else []
    found = [job for one in everyones if is_of(workspace, one) and (job := job_of(one))]
    return sorted(found, key=lambda job: job.execution, reverse=True)


def is_of(workspace: Workspace, execution: pb.Execution) -> bool:
    """In a store that several workspaces share, another may run the same pipeline right now."""
    recorded = execution.custom_properties.get("workspace", pb.Value()).string_value
    return workspace.identity in ("", recorded)


def job_of_run(store: mlmd.MetadataStore, name: str) -> tuple[runs.Run, RecordedJob]:
    """The run of that name, `latest` for the newest, and the job that it waits for.

    Raises:
      RunError: there is no such run, or it waits for no job.
    """
    found = runs.find_run(store, name)
    executions = store.get_executions_by_id([step.execution for step in found.steps])
    jobs = [job for execution in executions if (job := job_of(execution))]
    if not jobs:
        others = _waiting(store, runs.names(store)[:20])
        raise RunError(
            f"Run '{found.name}' waits for no job: it is {found.state.lower()}.",
            f"Runs that wait for one: {listed(others)}." if others else "`braid runs` lists the runs.",
        )
    return found, jobs[-1]


def _waiting(store: mlmd.MetadataStore, names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        executions = store.get_executions_by_id([step.execution for step in runs.find_run(store, name).steps])
        found += [name] if any(job_of(execution) for execution in executions) else []
    return found
