"""Cancels the job that a run waits for, and marks the run."""

from pipeline import unfinished
from pipeline.errors import RunError
from pipeline.remote import left_jobs
from pipeline.remote.jobs import Jobs
from pipeline.remote.recorded_job import RecordedJob
from pipeline.workspace import Workspace


def cancel(workspace: Workspace, pipeline: str, job: RecordedJob) -> str:
    """Cancels the job and waits until the service has stopped it; returns what became of it, in words.

    A process that waits for the job hears of it from the service, and marks the run itself.

    Raises:
      RunError: the job is done, or does not stop.
    """
    found = left_jobs.now(job)
    if found is not None and found.state == "DONE":
        raise RunError(
            f"The {job.title} is done: there is nothing to cancel.",
            f"Take up what it made:  braid attach {job.run}",
        )
    if found is not None and not found.has_ended:
        found = Jobs(job.project, job.region, job.endpoint).cancel_and_wait(found.id)
    if found is not None and not found.has_ended:
        raise RunError(
            f"The {job.title} was told to stop, and is {found.state.lower()} still.",
            f"Give the command again a little later; {job.link or 'the console'} shows what it waits for.",
        )
    state = found.state.lower() if found else "gone: the service knows nothing of it"
    try:
        with workspace.exclusive(pipeline):
            unfinished.retire(workspace, pipeline, given_up=job.execution)
    except RunError:
        return f"The {job.title} is {state}; the process that waits for it marks run {job.run}."
    return f"The {job.title} is {state}. The steps before it are kept: the same command begins again after them."
