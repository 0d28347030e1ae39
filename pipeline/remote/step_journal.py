"""What becomes of a step's job, written on its execution as it happens, so that another process can take the job up."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline.remote.leaving import LeftRunning
from pipeline.run_facts import Facts
from pipeline.targets import dataflow_options

if TYPE_CHECKING:
    from pipeline.remote.step_launcher import RemoteStep

ENDED = ("DONE", "FAILED", "CANCELLED")


class StepJournal:
    """The journal of one execution; see `pipeline.remote.journal.Journal`."""

    def __init__(self, remote: "RemoteStep", execution: int, record: Callable[[Facts], None]) -> None:
        self._remote, self._record = remote, record
        left = remote.left
        self.job_name = left.name if left else dataflow_options.job_name(remote.run, remote.step, execution)
        self.job_id = left.id if left else ""
        self.link = left.link if left else ""
        self.again = left is not None
        self.detached = remote.detached
        self.state = ""

    @property
    def is_running(self) -> bool:
        """Whether the service has the job, and it has not ended as far as is known."""
        return bool(self.job_id) and not self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended."""
        return self.state in ENDED

    def submitting(self) -> None:
        """Records under which name, and where, the job will be."""
        service = self._remote.service
        told = {"job_project": service.project, "job_region": service.region, "job_endpoint": service.endpoint}
        self._record({"job_name": self.job_name, **{key: value for key, value in told.items() if value}})

    def submitted(self, job_id: str, link: str) -> None:
        """Records the job's id."""
        self.job_id, self.link = job_id, link
        self._record({"job_id": job_id, "job_link": link})

    def ended(self, facts: Mapping[str, str | int | float]) -> None:
        """Records what the job came to."""
        self.state = str(facts["job_state"])
        self._record(facts)

    def left(self, why: str, exit_code: int) -> LeftRunning:
        """What to raise in order to end this process and leave the job where it is."""
        remote = self._remote
        return LeftRunning(remote.run, remote.step, self.job_id or self.job_name, self.link, why, exit_code)
