"""The ledger: the row counts of one job, which must add up."""

import dataclasses
from dataclasses import dataclass

from beam_jobs.errors import LedgerError


@dataclass(frozen=True)
class Ledger:
    """Rows of one job.

    read = rejected + filtered + merged + kept, and written = kept + multiplied.

    Attributes:
      read: rows that stood in the input.
      rejected: rows that could not be read.
      filtered: rows that the query left out.
      merged: rows that an aggregate folded into another row (or left out before folding).
      kept: rows of the input that are in the output at least once.
      multiplied: further copies of kept rows, made by a join.
      written: rows in the output files, counted from the files.
    """

    read: int = 0
    rejected: int = 0
    filtered: int = 0
    merged: int = 0
    kept: int = 0
    multiplied: int = 0
    written: int = 0

    def __add__(self, other: "Ledger") -> "Ledger":
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Ledger(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def check(self, job: str) -> "Ledger":
        """Returns itself when the counts add up.

        Raises:
          LedgerError: they do not.
        """
        accounted = self.rejected + self.filtered + self.merged + self.kept
        if self.read != accounted:
            raise LedgerError(
                f"The ledger of '{job}' does not add up: {self.read:,} rows read, {accounted:,} accounted for ({self})."
            )
        if self.written != self.kept + self.multiplied:
            raise LedgerError(
                f"The ledger of '{job}' does not add up: {self.written:,} rows written, {self.kept + self.multiplied:,} expected ({self})."
            )
        return self

    def to_dict(self) -> dict[str, int]:
        """The counts by name, for JSON and MLMD."""
        return dataclasses.asdict(self)
