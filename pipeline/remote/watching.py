"""A job of a service as it goes on: what is new of it goes to the listeners of this process, as if it ran here."""

import datetime
from collections.abc import Sequence

from beam_jobs import progress
from beam_jobs.progress import Progress
from pipeline.remote import outcome
from pipeline.remote.job_metrics import Metrics
from pipeline.remote.jobs import ERROR, WARNING, Jobs, JobState, Message, Scaling

ROWS = ("read", "rejected", "written", "chunks")
_OVERLAP = datetime.timedelta(seconds=30)
"""Messages may come in a little late, with the time at which they were written."""
_HOUR = 3600


class Watch:
    """What is known of one job.

    Attributes:
      messages: all of them, in the order in which they came.
      scalings: when it had how many workers, in the order of time.
      counted: rows that the listeners have been told of.
    """

    def __init__(self, jobs: Jobs, job: JobState) -> None:
        self.jobs, self.job = jobs, job
        self.messages: list[Message] = []
        self.scalings: list[Scaling] = []
        self.counted: dict[str, int] = dict.fromkeys(ROWS, 0)
        self._lines: set[str] = set()

    def look(self) -> JobState:
        """Asks once for all that is new, and tells it; the state comes first, so that an end comes with what led to it."""
        self.job = self.jobs.state(self.job.id)
        told = self.hear()
        if self.job.state != "PENDING":
            self.count(self.jobs.metrics(self.job.id))
        progress.note(self._note())
        for message in told if not self.job.has_ended else ():
            self._tell(message)
        return self.job

    def hear(self) -> Sequence[Message]:
        """Asks for messages; returns those that are new."""
        news = self.jobs.news(self.job.id, self.messages[-1].time - _OVERLAP if self.messages else None)
        known = {message.id for message in self.messages}
        new = [message for message in news.messages if message.id not in known]
        self.messages = sorted([*self.messages, *new], key=lambda message: message.time)
        self.scalings = sorted({*self.scalings, *news.scalings}, key=lambda scaling: scaling.time)
        return new

    def count(self, metrics: Metrics) -> None:
        """Tells how many rows have been added; an answer that is behind an earlier one adds none."""
        now = {name: metrics.total(name) for name in ROWS}
        new = {name: max(0, now[name] - self.counted[name]) for name in ROWS}
        self.counted = {name: self.counted[name] + new[name] for name in ROWS}
        if any(new.values()):
            progress.told(Progress(new["read"], new["rejected"], new["written"], new["chunks"]))

    @property
    def workers(self) -> int:
        """How many there are."""
        return self.scalings[-1].workers if self.scalings else 0

    @property
    def worker_hours(self) -> float:
        """Hours of all workers until now, or until the end of the job."""
        end = self.job.changed if self.job.has_ended else None
        last = end or datetime.datetime.now(datetime.UTC)
        ends = [*(one.time for one in self.scalings[1:]), last]
        spans = [
            (one.workers, (min(to, last) - one.time).total_seconds())
            for one, to in zip(self.scalings, ends, strict=False)
        ]
        return sum(workers * max(0.0, seconds) for workers, seconds in spans) / _HOUR

    def _note(self) -> str:
        state = self.job.state.lower().replace("_", " ")
        if self.job.state != "RUNNING":
            return state
        return (
            f"{state}, {self.workers} worker{'' if self.workers == 1 else 's'}"
            if self.workers
            else f"{state}, no workers yet"
        )

    def _tell(self, message: Message) -> None:
        """Once for each text: of a bundle that fails the service tells each attempt."""
        if message.importance not in (ERROR, WARNING) or outcome.is_summary(message.text):
            return
        text = outcome.line(message.text)
        if text not in self._lines:
            self._lines.add(text)
            again = "A worker failed, the service tries again: " if message.importance == ERROR else ""
            progress.told(Progress(line=again + text))
