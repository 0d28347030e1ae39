"""Errors of the data strand, and how Braid words a mistake."""

import difflib
from collections.abc import Iterable


class BraidError(Exception):
    """A mistake that the user can mend: one paragraph of message, and a hint with the next thing to do.

    The command line prints both and no traceback; anything else that escapes is a bug in Braid.
    """

    # Beam rebuilds an exception raised in a DoFn to add the step's name, which would drop `hint`;
    # this mark, Beam's own, tells it that the exception is already complete.
    _tagged_with_step = True

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[type["BraidError"], tuple[str, str]]:
        return type(self), (str(self), self.hint)


class DataError(BraidError):
    """The data cannot be processed as asked: a file, a row, a column or a value is at fault."""


class SqlError(BraidError):
    """A prepare step's query is refused before any row is read."""


class LedgerError(BraidError):
    """Row counts of a job do not add up: rows were lost or doubled, so its output is not published."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Words ` Did you mean 'x'?` for the closest known name, or nothing when none is close."""
    by_folded = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[close[0]]}'?" if close else ""


def listed(names: Iterable[str], most: int = 12) -> str:
    """Joins names for a message, cut after `most` of them."""
    every = list(names)
    shown = ", ".join(every[:most])
    return shown if len(every) <= most else f"{shown}, ... ({len(every)} in all)"
