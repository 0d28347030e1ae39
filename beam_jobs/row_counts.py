"""How often each row of a stretch of the stream appears in a query's output: what the ledger is made of."""

import numpy as np
import numpy.typing as npt

from beam_jobs.errors import LedgerError
from beam_jobs.ledger import Ledger


class RowCounts:
    """Counts the output rows of each input row, by the `_at` that the query carried.

    Args:
      first: the `_at` of the first row of the stretch.
      rows: rows in it.
    """

    def __init__(self, first: int, rows: int) -> None:
        self.first = first
        self.written = 0
        self._counts = np.zeros(rows, np.int32)

    def add(self, at: npt.NDArray[np.int64]) -> None:
        """Counts one batch of output rows.

        Raises:
          LedgerError: an `_at` is no row of the stretch, so the query made up a row.
        """
        if not len(at):
            return
        # Output mostly follows the input's order: counting within the span that the batch covers stays cheap.
        low, high = int(at.min()), int(at.max())
        if low < self.first or high - self.first >= len(self._counts):
            raise LedgerError(f"The query gave a row at {low if low < self.first else high}, which it never read.")
        start = low - self.first
        self._counts[start : start + high - low + 1] += np.bincount(at - low).astype(np.int32)
        self.written += len(at)

    @property
    def kept(self) -> int:
        """Input rows that appear at least once."""
        return int(np.count_nonzero(self._counts))

    @property
    def multiplied(self) -> int:
        """Output rows beyond the first of their input row."""
        return self.written - self.kept

    def most_multiplied(self, most: int = 3) -> list[tuple[int, int]]:
        """The rows that appear most often, as (`_at`, times), those that appear more than once."""
        places = np.argsort(-self._counts, kind="stable")[:most]
        return [(self.first + int(place), int(self._counts[place])) for place in places if self._counts[place] > 1]

    def ledger(self) -> Ledger:
        """The counts as a ledger: rows that do not appear were filtered."""
        read, kept = len(self._counts), self.kept
        return Ledger(read=read, filtered=read - kept, kept=kept, multiplied=self.multiplied, written=self.written)


def aggregate_ledger(read: int, written: int) -> Ledger:
    """The ledger of a query whose rows stand for groups of input rows: `read` rows became `written`."""
    kept = min(read, written)
    return Ledger(read=read, merged=read - kept, kept=kept, multiplied=written - kept, written=written)
