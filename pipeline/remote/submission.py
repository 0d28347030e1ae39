"""Submitting a job so that there is one and no second, whatever becomes of the answer."""

from typing import Any

from apache_beam.runners.dataflow.internal import apiclient
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import dataflow

from pipeline.remote import refusals
from pipeline.remote.calling import LOGIN, code_of, is_passing, patiently, text_of
from pipeline.remote.errors import NotReachableError, RemoteJobError
from pipeline.remote.jobs import Jobs, JobState, state_of

_ANSWER_SECONDS = 60


def submit(job: apiclient.Job, jobs: Jobs) -> JobState:
    """Stages what the job's workers need, and hands the job to the service.

    Args:
      job: as Beam has made it of a pipeline.
      jobs: where it is to go.

    Raises:
      RemoteJobError: the service or the bucket refuses: there is no job.
      NotReachableError: it does not answer: there may be one.
    """
    try:
        return state_of(_Client(job, jobs).create_job(job))
    except (OSError, GoogleAPIError, GoogleAuthError) as error:
        raise _not_staged(error, jobs) from error


def _not_staged(error: Exception, jobs: Jobs) -> RemoteJobError:
    refused = refusals.of_permission(str(error), jobs.account, jobs.project)
    hint = "See that the bucket is there, and that this account may write to it."
    if isinstance(error, GoogleAuthError):
        hint = LOGIN
    told = "What the workers need cannot be put into the bucket"
    return RemoteJobError(f"{told}: {refusals.plain(str(error))}", refused.hint if refused else hint)


class _Client(apiclient.DataflowApplicationClient):
    """Beam's client, but for one thing: after a lost answer it looks whether the job is there before it submits again."""

    def __init__(self, job: apiclient.Job, jobs: Jobs) -> None:
        super().__init__(job.options, job.root_staging_location)
        self._jobs, self._may_be_there = jobs, False

    def submit_job_description(self, job: apiclient.Job) -> Any:
        """Submits it; the answer is the service's, of this job or of the one of its name that is there."""
        doing = f"submit a job to project {self._jobs.project}"
        try:
            return patiently(lambda: self._once(job), doing, self._jobs.caller, _passes)
        except NotReachableError as error:
            if self._may_be_there:
                raise
            raise _refused(error, self._jobs) from error

    def _once(self, job: apiclient.Job) -> Any:
        if self._may_be_there and (found := self._jobs.find(job.proto.name)):
            return self._jobs_client.get_job({**self._place, "job_id": found.id}, timeout=_ANSWER_SECONDS)
        request = dataflow.CreateJobRequest(**self._place, job=job.proto)
        try:
            return self._jobs_client.create_job(request, timeout=_ANSWER_SECONDS)
        except Exception as error:
            # A plain refusal leaves no job behind; after anything else nobody knows.
            self._may_be_there = self._may_be_there or code_of(error) not in (400, 401, 403, 404, 429)
            raise

    @property
    def _place(self) -> dict[str, str]:
        return {"project_id": self._jobs.project, "location": self._jobs.region}


def _passes(error: Exception) -> bool:
    return is_passing(error) and not refusals.is_of_jobs(str(error))


def _refused(error: NotReachableError, jobs: Jobs) -> RemoteJobError:
    """What the service refused, with what to do."""
    found = refusals.of_quota(str(error))
    return (
        RemoteJobError(f"{found.told} ({text_of(error.__cause__ or error)})", found.hint)
        if found
        else RemoteJobError(str(error), error.hint)
    )
