"""Waiting for a job of a service: patiently, for as long as the job takes; who cannot wait any more leaves it running."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.metrics.execution import MetricKey, MetricResult
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from apache_beam.metrics.metricbase import MetricName
from apache_beam.runners.runner import PipelineResult

from pipeline.remote import outcome
from pipeline.remote.errors import NotReachableError
from pipeline.remote.job_metrics import Metrics
from pipeline.remote.jobs import ERROR, Jobs, JobState
from pipeline.remote.journal import Journal
from pipeline.remote.leaving import DETACHED, UNREACHABLE
from pipeline.remote.watching import ROWS, Watch

PATIENCE_SECONDS = 600.0
"""How long a service that does not answer is waited for before its job is left."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
REASON_SECONDS = 50.0
"""How long the service may take to say why a job has failed; Beam's client allows it as much."""
METRICS_SECONDS = 30.0
"""How long counters may take to be complete once the job is done."""


class RemoteResult(PipelineResult):
    """A pipeline that runs as a job of a service.

    Args:
      jobs: the service's.
      job: as it was when it was submitted or found.
      journal: where it is written down what becomes of it.
      machine: the type of the workers' machines, for messages.
    """

    def __init__(self, jobs: Jobs, job: JobState, journal: Journal | None = None, machine: str = "") -> None:
        super().__init__(job.state)
        self._jobs, self._journal, self._machine = jobs, journal, machine
        self._watch = Watch(jobs, job)
        self._final: Metrics | None = None

    def job_id(self) -> str:
        """The service's id of the job; a method, as it is one of Beam's own result."""
        return self._watch.job.id

    @property
    def state(self) -> str:
        """As it is now."""
        if not self._watch.job.has_ended:
            self._watch.job = self._jobs.state(self.job_id())
        return self._watch.job.state

    def wait_until_finish(self, duration: int | None = None) -> str:
        """Waits for the end of the job, and tells the listeners of `progress` how it goes.

        Args:
          duration: milliseconds after which to return the state that the job has then; None to wait for its end.

        Returns:
          The state, `DONE` for a job that has ended.

        Raises:
          BraidError: the job failed: what a worker raised, else (RemoteJobError) what the service says.
          LeftRunning: the job is to be left, or the service cannot be reached; it goes on.
          NotReachableError: the same, where no journal is kept.
        """
        if self._journal is not None and self._journal.detached:
            raise self._journal.left(DETACHED, 0)
        with left_if_unreachable(self._journal):
            job = self._waited(duration)
            if not job.has_ended:
                return job.state
            if self._final is None:
                self._end()
        if job.state != "DONE":
            where = (self._jobs.link(job.id), self._jobs.account, self._jobs.project, self._machine)
            raise outcome.error_of(job, self._watch.messages, outcome.Job(job.id, *where))
        return job.state

    def cancel(self) -> str:
        """Cancels the job and waits until its workers are gone; returns the state."""
        self._watch.job = self._jobs.cancel_and_wait(self.job_id())
        return self._watch.job.state

    def metrics(self) -> "RemoteCounters":
        """The job's counters: complete once it has been waited for, until then as they are now."""
        return RemoteCounters(self._final or self._jobs.metrics(self.job_id()))

    def _waited(self, duration: int | None) -> JobState:
        until = time.monotonic() + duration / 1000 if duration else float("inf")
        pause, job = FIRST_PAUSE, self._watch.look()
        while not job.has_ended and time.monotonic() < until:
            time.sleep(pause)
            pause = min(1.2 * pause, LONGEST_PAUSE)
            job = self._watch.look()
        return job

    def _end(self) -> None:
        """Waits for what the service tells only after the end, and writes it down."""
        job = self._watch.job
        if job.state == "FAILED":
            self._hear_why()
        self._final = self._settled() if job.state == "DONE" else self._left_over()
        self._watch.count(self._final)
        facts = {"job_state": job.state, "worker_hours": round(self._watch.worker_hours, 4), **self._final.facts}
        if self._journal is not None:
            self._journal.ended(facts)

    def _hear_why(self) -> None:
        """Until an error is told and nothing new comes after it."""
        until = time.monotonic() + REASON_SECONDS
        while time.monotonic() < until:
            new = self._watch.hear()
            if not new and any(message.importance == ERROR for message in self._watch.messages):
                return
            time.sleep(FIRST_PAUSE)

    def _left_over(self) -> Metrics:
        """What a job has counted that did not come through; why it did not is worth more than that."""
        try:
            return self._jobs.metrics(self.job_id())
        except NotReachableError as error:
            logging.warning("What job %s has used is not on record: %s", self.job_id(), error)
            return Metrics()

    def _settled(self) -> Metrics:
        """The counters once two answers are the same, chunks are counted, and no row is missing that was told before."""
        until, last = time.monotonic() + METRICS_SECONDS, Metrics()
        while True:
            found = self._jobs.metrics(self.job_id())
            is_whole = found.total("chunks") > 0 and all(
                found.total(name) >= self._watch.counted[name] for name in ROWS
            )
            if (is_whole and found.counters == last.counters) or time.monotonic() > until:
                return found
            last = found
            time.sleep(FIRST_PAUSE)


@contextmanager
def left_if_unreachable(journal: Journal | None) -> Iterator[None]:
    """Around questions about a job that may be running: who gets no answer leaves it, and does not take it for failed.

    Raises:
      LeftRunning: the service cannot be reached, and a journal is kept by which another process finds the job.
      NotReachableError: the same, and none is.
    """
    try:
        yield
    except NotReachableError as error:
        if journal is None:
            raise
        raise journal.left(f"{str(error).rstrip('.')} ({error.hint})", UNREACHABLE) from error


class RemoteCounters(MetricResults):
    """Counters as Beam tells them; a service hands on nothing else."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def query(self, filter: MetricsFilter | None = None) -> dict[str, list[Any]]:  # noqa: A002  Beam's name
        """Those that the filter lets through, one for each name."""
        named = [(MetricKey("", MetricName(*_split(name))), value) for name, value in self._metrics.counters.items()]
        counters = [MetricResult(key, value, value) for key, value in named if self.matches(filter, key)]
        others = (self.DISTRIBUTIONS, self.GAUGES, self.STRINGSETS, self.BOUNDED_TRIES)
        return {self.COUNTERS: counters, **{kind: [] for kind in others}}


def _split(name: str) -> tuple[str, str]:
    namespace, _, counter = name.rpartition(".")
    return namespace, counter
