"""Where a step's remote job is written down, so that the job is known even when the process that submitted it is not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from pipeline.remote.leaving import LeftRunning


class Journal(Protocol):
    """The record of one step's job."""

    @property
    def job_name(self) -> str:
        """What the job is called: no other job ever is."""

    @property
    def job_id(self) -> str:
        """The id of the job that an earlier process has submitted; '' where it is not known."""

    @property
    def again(self) -> bool:
        """Whether an earlier process may have submitted the job already."""

    @property
    def detached(self) -> bool:
        """Whether the job is to be left as soon as it is submitted."""

    def submitting(self) -> None:
        """The job is about to be submitted: from here on there may be one."""

    def submitted(self, job_id: str, link: str) -> None:
        """The service has the job."""

    def ended(self, facts: Mapping[str, str | int | float]) -> None:
        """The job has ended, and no worker is left: `job_state`, `worker_hours` and what else the service tells."""

    def left(self, why: str, exit_code: int) -> LeftRunning:
        """What to raise in order to end this process without the job."""


_journal: ContextVar[Journal | None] = ContextVar("journal", default=None)


@contextmanager
def writing(journal: Journal) -> Iterator[None]:
    """Around what runs one job: the job is written down in this journal."""
    token = _journal.set(journal)
    try:
        yield
    finally:
        _journal.reset(token)


def current() -> Journal | None:
    """The journal of the job that is being run, if one is kept."""
    return _journal.get()
