"""What a service in the cloud may do otherwise than one hopes, each by itself and on command."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """A call of the API: `what` is what its path ends in (`jobs`, `messages`, `metrics`), or `job` for one job by id."""

    method: str
    what: str
    path: str

    @property
    def creates(self) -> bool:
        """Whether it submits a job."""
        return (self.method, self.what) == ("POST", "jobs")


@dataclass(frozen=True)
class Answer:
    """A status and JSON; the connection is cut in place of it where `cut`."""

    body: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    cut: bool = False

    @classmethod
    def error(cls, status: int, message: str) -> "Answer":
        """As Google's APIs tell errors."""
        name = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
        name |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
        return cls({"error": {"code": status, "message": message, "status": name[status]}}, status)


CUT = Answer(cut=True)


class Misbehaviour:
    """The well-behaved: nothing is otherwise."""

    def instead_of(self, request: Request) -> Answer | None:
        """An answer in place of the work that was asked for."""

    def after(self, request: Request, answer: Answer) -> Answer:
        """What is answered once the work is done."""
        return answer

    def refuses_to_start(self) -> str:
        """Why a job that was taken cannot have its workers; '' for no reason."""
        return ""

    def delays(self, cancelled: Callable[[], bool]) -> None:
        """Comes back when a running job gets its workers, or is cancelled."""

    def fails_at(self, bundles: int) -> str:
        """What a job fails of after so many bundles; '' for nothing."""
        return ""

    @property
    def in_workers(self) -> Mapping[str, str]:
        """The environment that makes a worker misbehave."""
        return {}


class JobQuotaRefused(Misbehaviour):
    """The project may not have another job."""

    def instead_of(self, request: Request) -> Answer | None:
        if not request.creates:
            return None
        return Answer.error(
            429,
            "(b2a5e5f1c7d9a001): The workflow could not be created. Causes: (b2a5e5f1c7d9a0f4): Quota exceeded for quota "
            "metric 'Concurrent Dataflow jobs' of project test: 25 of 25 are running.",
        )


class PermissionRefused(Misbehaviour):
    """The account may not submit jobs."""

    def instead_of(self, request: Request) -> Answer | None:
        if not request.creates:
            return None
        return Answer.error(
            403,
            "(c5b1d7a2f0e94431): Could not create workflow; user does not have write access to project: test Causes: "
            "(c5b1d7a2f0e94a2e): Permission 'dataflow.jobs.create' denied on project: 'test'",
        )


class WorkerQuotaRefused(Misbehaviour):
    """The job is taken, but its region gives no processors."""

    def refuses_to_start(self) -> str:
        return (
            "Startup of the worker pool in zone us-central1-a failed to bring up any of the desired 2 workers. "
            "QUOTA_EXCEEDED: Instance 'prepare-11220-harness-x1' creation failed: Quota 'CPUS' exceeded. Limit: 24.0 in region us-central1."
        )


class WorkersComeLate(Misbehaviour):
    """The job is running, but has no worker until `come` is set."""

    def __init__(self) -> None:
        self.come = threading.Event()

    def delays(self, cancelled: Callable[[], bool]) -> None:
        while not self.come.wait(0.05) and not cancelled():
            continue


TRACEBACK = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1495, in apache_beam.runners.common.DoFnRunner.process
  File "/usr/local/lib/python3.11/site-packages/beam_jobs/fused.py", line 84, in process
    report = self._run(chunk)
beam_jobs.errors.DataError: Step 'flights' failed on row 7 of 'gs://a/b.parquet': no such thing. [while running 'Fused/Run-ptransform-42']
"""


@dataclass
class FailsHalfWay(Misbehaviour):
    """Some bundles come through, then a worker raises, as often as the service tries."""

    bundles: int = 1
    traceback: str = TRACEBACK

    def fails_at(self, bundles: int) -> str:
        return self.traceback if bundles >= self.bundles else ""


class _FirstCalls(Misbehaviour):
    """Strikes the first calls, of all or of those whose path ends in `what`."""

    def __init__(self, calls: int, what: str = "") -> None:
        self._left, self._what = calls, what
        self._lock = threading.Lock()

    def strikes(self, request: Request) -> bool:
        """Whether this call is one of them."""
        with self._lock:
            if not self._left or self._what not in ("", request.what):
                return False
            self._left -= 1
            return True


class Overloaded(_FirstCalls):
    """The first calls are refused, with 429 or 503."""

    def __init__(self, status: int, calls: int, what: str = "") -> None:
        super().__init__(calls, what)
        self._status = status

    def instead_of(self, request: Request) -> Answer | None:
        if not self.strikes(request):
            return None
        told = "Too many requests." if self._status == 429 else "The service is currently unavailable."
        return Answer.error(self._status, told)


class ConnectionCut(_FirstCalls):
    """The connection breaks: before the work, or once it is `done` and only the answer is lost."""

    def __init__(self, calls: int, what: str = "", done: bool = False) -> None:
        super().__init__(calls, what)
        self._done = done

    def instead_of(self, request: Request) -> Answer | None:
        return CUT if not self._done and self.strikes(request) else None

    def after(self, request: Request, answer: Answer) -> Answer:
        return CUT if self._done and self.strikes(request) else answer


@dataclass
class SlowMetrics(Misbehaviour):
    """Metrics take their time, and the first answers are as if nothing had been counted, even of a job that is done."""

    seconds: float = 0.5
    stale: int = 2

    def after(self, request: Request, answer: Answer) -> Answer:
        if request.what != "metrics":
            return answer
        time.sleep(self.seconds)
        self.stale -= 1
        return Answer({**answer.body, "metrics": []}) if self.stale >= 0 else answer


@dataclass
class WorkerKilled(Misbehaviour):
    """One worker dies when a bundle of the step is worked but not reported; another gets the bundle."""

    step: str = "Run"
    fault = "killed"

    @property
    def in_workers(self) -> Mapping[str, str]:
        return {"WORKER_FAULT": self.fault, "WORKER_FAULT_STEP": self.step}


@dataclass
class ZombieWorker(WorkerKilled):
    """One worker hangs as it writes; another gets its bundle; when all else is done the first one goes on writing."""

    fault = "zombie"
