"""Jobs that an earlier process left at a service: taken up where they do what is asked now, else given up once they ended."""

from pipeline import runs
from pipeline.errors import RunError
from pipeline.remote.errors import JobNotFoundError
from pipeline.remote.jobs import Jobs, JobState
from pipeline.remote.recorded_job import RecordedJob
from pipeline.step_launcher import StepLauncher
from pipeline.targets.target import Dataflow


def cannot_wait(
    job: RecordedJob, waiting: runs.Step | None, launcher: StepLauncher | None, service: Dataflow | None
) -> str:
    """Why this process cannot wait for the job; '' when it can.

    Args:
      job: what was left.
      waiting: the step of the run that waits for it.
      launcher: that of the step as it is now.
      service: where jobs are to go now.
    """
    if waiting is None or launcher is None:
        return f"the pipeline has no step '{job.step}' any more"
    if service is None:
        return f"step '{job.step}' is to run elsewhere now"
    if (service.project, service.region) != (job.project, job.region):
        return f"jobs are to run in {service.project}, {service.region} now, not in {job.project}, {job.region}"
    reason = launcher.changed_since(waiting)
    return f"step '{job.step}' {reason}" if reason else ""


def now(job: RecordedJob) -> JobState | None:
    """The job as the service has it; None where it knows nothing of it, or no longer.

    Raises:
      NotReachableError: the service does not answer.
    """
    jobs = Jobs(job.project, job.region, job.endpoint)
    try:
        return jobs.state(job.id) if job.id else jobs.find(job.name)
    except JobNotFoundError:
        return None


def give_up(job: RecordedJob, why: str) -> None:
    """Makes sure that nobody works for the step any more.

    Raises:
      RunError: the job is still being done: its outputs must not be taken from under it.
    """
    found = now(job)
    if found is not None and not found.has_ended:
        raise RunError(
            f"Run '{job.run}' waits for {job.title}, which is {found.state.lower()} ({job.link or job.name}), and this "
            f"command cannot take it up: {why}.",
            f"Go on with it as it was:  braid attach {job.run}\nStop it:  braid cancel {job.run}",
        )
