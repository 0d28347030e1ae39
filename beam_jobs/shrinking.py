"""Delta debugging of rows: the smallest part of a table that still fails in the same way.

The algorithm is ddmin of A. Zeller and R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
Transactions on Software Engineering 28(2), 2002, with one change: what can be left out at one fineness is left out in
one sweep, where ddmin begins anew after each find.
"""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.errors import BraidError, DataError

Places = npt.NDArray[np.int64]

# A quote ends a text only where no word goes on, so that 'it's' is one text.
_QUOTED = re.compile(r"(['\"`]).*?\1(?!\w)", re.DOTALL)
_NUMBER = re.compile(r"(?<!\w)[-+]?\d+(?:[.,_:]\d+)*(?:[eE][-+]?\d+)?")
_EXAMPLE = re.compile(r"\s(For example|Did you mean)\b.*", re.DOTALL)


def signature(error: BaseException) -> str:
    """What two failures share when they are the same failure: the error's type, and its message without values.

    An error that was worded for the user counts as the error that it was raised `from`. Of the message the first
    paragraph counts; in it text in quotes is `'…'` and a number is `#` (the digits of a name such as INT32 stay), and
    an example or a suggestion at its end is left out.
    """
    began = error
    seen = {id(error)}
    while isinstance(began, BraidError) and began.__cause__ is not None and id(began.__cause__) not in seen:
        began = began.__cause__
        seen.add(id(began))
    paragraph = str(began).strip().split("\n\n")[0]
    text = _EXAMPLE.sub("", _NUMBER.sub("#", _QUOTED.sub("'…'", paragraph)))
    return f"{type(began).__name__}: {text}"


@dataclass(frozen=True)
class Limit:
    """When to stop looking: after so many runs, or so many seconds."""

    runs: int = 1_000
    seconds: float = 120.0


@dataclass(frozen=True)
class Shrunk:
    """Rows that still fail.

    Attributes:
      table: the rows.
      places: where they stood in the table that was shrunk, ascending.
      of_rows: rows of that table.
      signature: how it fails.
      runs: how often the failing work was run.
      minimal: no row can be left out; False where a limit was reached before that was known.
    """

    table: pa.Table
    places: tuple[int, ...]
    of_rows: int
    signature: str
    runs: int
    minimal: bool


class _LimitReachedError(Exception):
    """No run is left."""


def shrink(table: pa.Table, fails: Callable[[pa.Table], str | None], limit: Limit | None = None) -> Shrunk:
    """Finds rows of a table, few as possible, that fail as the whole of it does; the same each time.

    Args:
      fails: runs the work on rows; the signature of the failure, or None where there is none.
      limit: when to be content with what is found so far.

    Raises:
      DataError: the whole table does not fail.
    """
    expected = fails(table)
    if expected is None:
        raise DataError(
            f"Nothing fails on these {table.num_rows:,} rows, so there is nothing to shrink.",
            "The code, the configuration or a joined table is not what it was when they failed.",
        )
    search = _Search(table, fails, expected, limit or Limit())
    try:
        search.reduce()
        minimal = True
    except _LimitReachedError:
        minimal = False
    places = tuple(search.best.tolist())
    return Shrunk(search.rows(search.best), places, table.num_rows, expected, search.runs, minimal)


@dataclass
class _Search:
    """The state of a search: the smallest failing rows so far, and what every run has told."""

    table: pa.Table
    fails: Callable[[pa.Table], str | None]
    expected: str
    limit: Limit
    runs: int = 1
    known: dict[bytes, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best: Places = np.arange(self.table.num_rows, dtype=np.int64)
        self.deadline = time.monotonic() + self.limit.seconds
        self.table = self.table.combine_chunks()

    def rows(self, places: Places) -> pa.Table:
        """The rows at the places; a slice where they stand side by side."""
        if len(places) and places[-1] - places[0] + 1 == len(places):
            return self.table.slice(int(places[0]), len(places))
        return self.table.take(pa.array(places))

    def still_fails(self, places: Places) -> bool:
        """Whether these rows fail in the expected way; if so they are the best so far."""
        key = hashlib.blake2b(places.tobytes(), digest_size=16).digest()
        if key not in self.known:
            if self.runs >= self.limit.runs or time.monotonic() >= self.deadline:
                raise _LimitReachedError
            self.runs += 1
            self.known[key] = self.fails(self.rows(places)) == self.expected
        if self.known[key]:
            self.best = places
        return self.known[key]

    def reduce(self) -> None:
        """Leaves in `best` rows of which none can be left out."""
        if self.still_fails(self.best[:0]):
            return
        pieces = _halves([self.best])
        while len(self.best) > 1:
            if (alone := self._one_of(pieces)) is not None:
                pieces = _halves([alone])
            elif len(kept := self._without_some_of(pieces)) < len(pieces):
                pieces = kept
            elif all(len(piece) == 1 for piece in pieces):
                return
            else:
                pieces = _halves(pieces)

    def _one_of(self, pieces: Sequence[Places]) -> Places | None:
        return next((piece for piece in pieces if self.still_fails(piece)), None)

    def _without_some_of(self, pieces: Sequence[Places]) -> list[Places]:
        """The pieces that are left when each that can be left out is."""
        kept = list(pieces)
        for piece in pieces:
            rest = [one for one in kept if one is not piece]
            if len(kept) > 2 and self.still_fails(np.concatenate(rest)):
                kept = rest
        return kept


def _halves(pieces: Sequence[Places]) -> list[Places]:
    """Every piece of more than one row cut in two."""
    return [half for piece in pieces for half in np.array_split(piece, 2) if len(half)]
