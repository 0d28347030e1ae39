"""Submitting a job so that there is one and no second, whatever becomes of the answer."""

from pathlib import Path
from typing import Any

from apache_beam.runners.dataflow.internal import apiclient
from google.cloud import dataflow

from pipeline.remote import refusals
from pipeline.remote.calling import code_of, is_passing, patiently, text_of
from pipeline.remote.errors import JobNotFoundError, NotReachableError, RemoteJobError
from pipeline.remote.jobs import Jobs, JobState, state_of

_ANSWER_SECONDS = 60
_PLAIN_REFUSALS = (400, 401, 403, 404, 429)
_NO_BUCKET = (
    "See that `bucket` of the target is right; `gcloud storage buckets create gs://BUCKET --location=REGION` makes one."
)


def submit(job: apiclient.Job, jobs: Jobs) -> JobState:
    """Stages what the job's workers need, and hands the job to the service.

    Args:
      job: as Beam has made it of a pipeline.
      jobs: where it is to go.

    Raises:
      RemoteJobError: the service or the bucket refuses: there is no job.
      NotReachableError: it does not answer: there may be one.
    """
    return state_of(_Client(job, jobs).create_job(job))


class _Client(apiclient.DataflowApplicationClient):
    """Beam's client, but for its retries.

    Beam asks a bucket that is not there, or not allowed, for seven minutes; and after a lost answer it submits again
    without a look at whether the job is there.
    """

    def __init__(self, job: apiclient.Job, jobs: Jobs) -> None:
        super().__init__(job.options, job.root_staging_location)
        self._jobs, self._may_be_there = jobs, False

    def stage_file_with_retry(
        self, gcs_or_local_path: str, file_name: str, stream_or_path: Any, *arguments: Any, **named: Any
    ) -> None:
        """Puts a file, or the bytes of a stream, into the bucket."""
        content = Path(stream_or_path).read_bytes() if isinstance(stream_or_path, str) else stream_or_path.read()
        doing = f"put {file_name} into {gcs_or_local_path}"
        try:
            patiently(lambda: self._stage(gcs_or_local_path, file_name, content), doing, self._jobs.caller)
        except NotReachableError as error:
            told = f"What the workers need cannot be put into the bucket. {error}"
            raise RemoteJobError(told, _NO_BUCKET if isinstance(error, JobNotFoundError) else error.hint) from error

    def _stage(self, folder: str, name: str, content: bytes) -> None:
        """Without a look at the bucket itself, which is Beam's way: that would take one permission more."""
        bucket, _, path = f"{folder.rstrip('/')}/{name}".removeprefix("gs://").partition("/")
        self._storage_client.bucket(bucket).blob(path).upload_from_string(
            content, "application/octet-stream", timeout=_ANSWER_SECONDS, retry=None
        )

    def submit_job_description(self, job: apiclient.Job) -> Any:
        """Submits it; the answer is the service's, of this job or of the one of its name that is there."""
        doing = f"submit a job to project {self._jobs.project}"
        try:
            return patiently(lambda: self._once(job), doing, self._jobs.caller, _passes)
        except NotReachableError as error:
            if self._may_be_there:
                raise
            raise _refused(error) from error

    def _once(self, job: apiclient.Job) -> Any:
        if self._may_be_there and (found := self._jobs.find(job.proto.name)):
            return self._jobs_client.get_job({**self._place, "job_id": found.id}, timeout=_ANSWER_SECONDS)
        request = dataflow.CreateJobRequest(**self._place, job=job.proto)
        try:
            return self._jobs_client.create_job(request, timeout=_ANSWER_SECONDS)
        except Exception as error:
            # A plain refusal leaves no job behind; after anything else nobody knows.
            self._may_be_there = self._may_be_there or code_of(error) not in _PLAIN_REFUSALS
            raise

    @property
    def _place(self) -> dict[str, str]:
        return {"project_id": self._jobs.project, "location": self._jobs.region}


def _passes(error: Exception) -> bool:
    return is_passing(error) and not refusals.is_of_jobs(str(error))


def _refused(error: NotReachableError) -> RemoteJobError:
    """What the service refused, with what to do."""
    found = refusals.of_quota(str(error))
    if found is None:
        return RemoteJobError(str(error), error.hint)
    return RemoteJobError(f"{found.told} ({text_of(error.__cause__ or error)})", found.hint)
