"""A service that answers what it was told to, in order; what is asked and how the answers are read is the real thing."""

import datetime
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from google.cloud import dataflow

from pipeline.remote.jobs import Jobs

ID, NAME = "2026-11-22_00_00_00-1", "flights-run-departures-7"
START = datetime.datetime(2026, 11, 22, 10, 0, tzinfo=datetime.UTC)


def at(seconds: float) -> datetime.datetime:
    """So long after the start."""
    return START + datetime.timedelta(seconds=seconds)


def job(state: str = "RUNNING", seconds: float = 0, job_id: str = ID, name: str = NAME) -> Any:
    """A job in a state that it has been in since then."""
    told = {"id": job_id, "name": name, "current_state": f"JOB_STATE_{state}", "create_time": START}
    return dataflow.Job({**told, "current_state_time": at(seconds)})


def message(text: str, importance: str = "ERROR", seconds: float = 0, number: str = "") -> dict[str, Any]:
    """One that the service tells."""
    told = {"id": number or f"{text}{seconds}", "time": at(seconds), "message_text": text}
    return {**told, "message_importance": f"JOB_MESSAGE_{importance}"}


def news(*messages: Mapping[str, Any], workers: Mapping[float, int] | None = None) -> Any:
    """Messages, and by second how many workers there are."""
    kind = "CURRENT_NUM_WORKERS_CHANGED"
    events = [
        {"time": at(seconds), "current_num_workers": count, "event_type": kind}
        for seconds, count in (workers or {}).items()
    ]
    page = dataflow.ListJobMessagesResponse({"job_messages": list(messages), "autoscaling_events": events})
    return SimpleNamespace(pages=[page])


def counter(name: str, value: float, namespace: str = "departures", **context: str) -> dict[str, Any]:
    """One of a job's own counters."""
    return {"name": {"origin": "user", "name": name, "context": {"namespace": namespace, **context}}, "scalar": value}


def metrics(*updates: Mapping[str, Any], **rows: int) -> Any:
    """Counters of the job's rows, and other metrics."""
    return dataflow.JobMetrics({"metrics": [*updates, *(counter(name, value) for name, value in rows.items())]})


def listed(*jobs: Any, failed: Sequence[str] = ()) -> Any:
    """What a list of jobs answers."""
    locations = [{"name": name} for name in failed]
    return SimpleNamespace(pages=[dataflow.ListJobsResponse({"jobs": list(jobs), "failed_location": locations})])


class ScriptedJobs(Jobs):
    """Answers each method with its next answer, raising those that are errors; the last one stays.

    Attributes:
      asked: the methods and the fields of their requests.
      noted: what was told of waiting.
    """

    def __init__(self, patience: float = 5, **answers: Any) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.noted: list[str] = []
        super().__init__("test", "us-central1", patience=patience, tell=self.noted.append)
        self.answers = {name: list(given) if isinstance(given, list) else [given] for name, given in answers.items()}

    def _call(self, of: str, method: str, request: dict[str, Any]) -> Any:
        self.asked.append((method, request))
        given = self.answers[method]
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def account(self) -> str:
        return "somebody@test.iam.gserviceaccount.com"

    def times(self, method: str) -> int:
        """How often it was called."""
        return [name for name, _ in self.asked].count(method)
