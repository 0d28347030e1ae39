"""The jobs of a project at Dataflow: their state, messages and metrics, and how they are cancelled.

Asks through the client that Beam submits with, so that both go to the same place with the same credentials; but once a
question, and patiently: Beam's own waiting ends with the first question that is refused.
"""

import datetime
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.remote import calling
from pipeline.remote.calling import Answer, Caller, patiently
from pipeline.remote.errors import NotReachableError
from pipeline.remote.job_metrics import Metrics

ENDED = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")
ERROR, WARNING = "ERROR", "WARNING"
_PREFIX, _IMPORTANCE = "JOB_STATE_", "JOB_MESSAGE_"
_ALL, _BASIC = "ALL", "JOB_MESSAGE_BASIC"
_ANSWER_SECONDS = 30
_CANCEL_SECONDS, _CANCEL_PAUSE = 600.0, 1.0


@dataclass(frozen=True)
class JobState:
    """A job as it is now.

    Attributes:
      state: such as `RUNNING`, `DONE`, `FAILED`, `CANCELLED`.
      created: when the service took it.
      changed: since when it is in this state.
    """

    id: str
    name: str
    state: str
    created: datetime.datetime | None = None
    changed: datetime.datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will become of it any more."""
        return self.state in ENDED


@dataclass(frozen=True)
class Message:
    """What the service tells of a job.

    Attributes:
      importance: `BASIC`, `WARNING` or `ERROR`.
    """

    id: str
    time: datetime.datetime
    importance: str
    text: str


@dataclass(frozen=True)
class Scaling:
    """From when on a job has so many workers."""

    time: datetime.datetime
    workers: int


@dataclass(frozen=True)
class News:
    """What has been told of a job since some time."""

    messages: Sequence[Message]
    scalings: Sequence[Scaling]


class Jobs:
    """The jobs of one project in one region.

    Args:
      project: its id.
      region: where the jobs run.
      endpoint: another address of the API, '' for Google's own.
      impersonated: the service account to act as, '' for one's own.
      patience: seconds for which a call is repeated that fails of what is passing.
      tell: hears, in words, when an answer has to be waited for.
    """

    def __init__(
        self,
        project: str,
        region: str,
        endpoint: str = "",
        impersonated: str = "",
        patience: float = calling.PATIENCE_SECONDS,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.project, self.region, self.endpoint, self.impersonated = project, region, endpoint, impersonated
        self.caller = Caller(project, lambda: self.account, patience, tell or calling.silent)

    def link(self, job_id: str) -> str:
        """The job's page in the console."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{job_id}?project={self.project}"

    def state(self, job_id: str) -> JobState:
        """The job as it is now.

        Raises:
          NotReachableError: the service does not answer, or knows no such job (JobNotFoundError).
        """
        job = self._asked("jobs", "get_job", f"look after job {job_id}", job_id=job_id)
        return state_of(job)

    def find(self, name: str) -> JobState | None:
        """The job of that name, in any state; None where there is none. Of several, one that runs, else the newest."""
        found = self._patiently(lambda: list(self._listed(name)), f"look for a job named {name}")
        return max(found, key=lambda job: (not job.has_ended, job.id), default=None)

    def messages(self, job_id: str, after: datetime.datetime | None = None) -> Sequence[Message]:
        """What the service has told of the job, from that time on."""
        return self.news(job_id, after).messages

    def news(self, job_id: str, after: datetime.datetime | None = None) -> News:
        """The same, and how many workers the job has had."""
        return self._patiently(lambda: self._news(job_id, after), f"read the messages of job {job_id}")

    def metrics(self, job_id: str) -> Metrics:
        """What has been counted so far."""
        answer = self._asked("metrics", "get_job_metrics", f"read the metrics of job {job_id}", job_id=job_id)
        return Metrics.of(answer.metrics)

    def cancel(self, job_id: str) -> JobState:
        """Asks the service to stop the job; one that has ended stays as it is. Returns it as it is then."""
        from google.cloud import dataflow

        wanted = dataflow.Job(requested_state=dataflow.JobState.JOB_STATE_CANCELLED)
        try:
            return state_of(self._asked("jobs", "update_job", f"cancel job {job_id}", job_id=job_id, job=wanted))
        except NotReachableError:
            now = self.state(job_id)
            if now.has_ended or now.state == "CANCELLING":
                return now
            raise

    def cancel_and_wait(self, job_id: str, seconds: float = _CANCEL_SECONDS) -> JobState:
        """Cancels the job and waits until its workers are gone, so long at most; returns it as it is then."""
        until, job = time.monotonic() + seconds, self.cancel(job_id)
        while not job.has_ended and time.monotonic() < until:
            time.sleep(_CANCEL_PAUSE)
            job = self.state(job_id)
        return job

    @property
    def account(self) -> str:
        """Whose credentials are used, in words."""
        known = self.impersonated.split(",")[-1] or str(getattr(self._credentials, "service_account_email", "") or "")
        return known if "@" in known else "Your account"

    @functools.cached_property
    def options(self) -> Any:
        """Beam's options by which its client finds the jobs."""
        from apache_beam.options.pipeline_options import PipelineOptions

        given = {"dataflow_endpoint": self.endpoint, "impersonate_service_account": self.impersonated}
        words = [f"--{name}={value}" for name, value in given.items() if value]
        return PipelineOptions([f"--project={self.project}", f"--region={self.region}", *words])

    @functools.cached_property
    def _credentials(self) -> Any:
        from apache_beam.internal.gcp.auth import get_service_credentials

        return get_service_credentials(self.options)

    @functools.cached_property
    def _client(self) -> Any:
        from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

        if self._credentials is None:
            raise NotReachableError("There are no credentials of Google Cloud here.", calling.LOGIN)
        return DataflowApplicationClient(self.options)

    def _asked(self, of: str, method: str, doing: str, **fields: Any) -> Any:
        """The answer of one method of the API; Beam's own methods would repeat the question for minutes, unheard."""
        request = {"project_id": self.project, "location": self.region, **fields}
        return self._patiently(lambda: self._call(of, method, request), doing)

    def _call(self, of: str, method: str, request: dict[str, Any]) -> Any:
        return getattr(getattr(self._client, f"_{of}_client"), method)(request, timeout=_ANSWER_SECONDS)

    def _patiently(self, call: Callable[[], Answer], doing: str) -> Answer:
        return patiently(call, doing, self.caller)

    def _listed(self, name: str) -> Iterator[JobState]:
        request = {"project_id": self.project, "location": self.region, "name": name, "filter": _ALL}
        for page in self._call("jobs", "list_jobs", request).pages:
            if page.failed_location:
                raise ConnectionError(f"region {self.region} does not list its jobs")
            yield from (state_of(job) for job in page.jobs if job.name == name)

    def _news(self, job_id: str, after: datetime.datetime | None) -> News:
        request = {"project_id": self.project, "location": self.region, "job_id": job_id, "minimum_importance": _BASIC}
        answer = self._call("messages", "list_job_messages", request | ({"start_time": after} if after else {}))
        messages, scalings = list[Message](), list[Scaling]()
        for page in answer.pages:
            messages += [_message(one) for one in page.job_messages]
            scalings += [
                Scaling(one.time, int(one.current_num_workers)) for one in page.autoscaling_events if _counts(one)
            ]
        return News(messages, scalings)


def jobs_of(
    options: Any, patience: float = calling.PATIENCE_SECONDS, tell: Callable[[str], None] | None = None
) -> Jobs:
    """The jobs of the project that a pipeline's options name."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    told = options.view_as(GoogleCloudOptions)
    endpoint = "" if told.dataflow_endpoint == GoogleCloudOptions.DATAFLOW_ENDPOINT else told.dataflow_endpoint or ""
    return Jobs(told.project, told.region, endpoint, told.impersonate_service_account or "", patience, tell)


def state_of(job: Any) -> JobState:
    """A job as the API tells it."""
    name = getattr(job.current_state, "name", str(job.current_state))
    return JobState(job.id, job.name, name.removeprefix(_PREFIX), job.create_time, job.current_state_time)


def _message(told: Any) -> Message:
    importance = getattr(told.message_importance, "name", str(told.message_importance)).removeprefix(_IMPORTANCE)
    return Message(told.id, told.time, importance, told.message_text)


def _counts(event: Any) -> bool:
    """Whether an event tells how many workers there are; one of a mere plan tells none."""
    return bool(event.current_num_workers) or getattr(event.event_type, "name", "") == "CURRENT_NUM_WORKERS_CHANGED"
