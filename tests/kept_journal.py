"""A journal of a remote job that is kept in this process alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.remote.leaving import LeftRunning


@dataclass
class KeptJournal:
    """Keeps what is written, in order."""

    job_name: str = "flights-run-departures-7"
    job_id: str = ""
    again: bool = False
    detached: bool = False
    written: list[tuple[str, Any]] = field(default_factory=list)

    def submitting(self) -> None:
        self.written.append(("submitting", self.job_name))

    def submitted(self, job_id: str, link: str) -> None:
        self.job_id = job_id
        self.written.append(("submitted", (job_id, link)))

    def ended(self, facts: Mapping[str, str | int | float]) -> None:
        self.written.append(("ended", dict(facts)))

    def left(self, why: str, exit_code: int) -> LeftRunning:
        return LeftRunning("run-1", "departures", self.job_id or self.job_name, "link", why, exit_code)

    @property
    def events(self) -> list[str]:
        """What was written, by kind."""
        return [kind for kind, _ in self.written]
