"""What a running job tells whoever watches: rows so far, and the error that ended it.

On the in-process runner the watcher sits in the same process and hears at once. On remote workers nobody
listens; there the same counts travel as Beam counters, and whoever waits for the job tells them on.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from apache_beam.metrics import Metrics

from beam_jobs.errors import BraidError
from beam_jobs.worker_errors import HINT


@dataclass(frozen=True)
class Progress:
    """Rows that one chunk added, or, from an ML step, a word on how far it is.

    Attributes:
      note: how far it is; the next one takes its place.
      line: something that stays to be read, such as an error that was got over.
    """

    read: int = 0
    rejected: int = 0
    written: int = 0
    chunks: int = 0
    expected: int = 0
    note: str = ""
    line: str = ""


Listener = Callable[[Progress], None]
_lock = threading.Lock()
_listeners: list[Listener] = []
_failures: list[BraidError] = []


def advance(job: str, step: Progress) -> None:
    """Adds a chunk's rows to the job's Beam counters and tells the listeners."""
    for name in ("read", "rejected", "written", "chunks"):
        Metrics.counter(job, name).inc(getattr(step, name))
    told(step)


def expect(rows: int) -> None:
    """Tells the listeners how many rows the job will read, so that they can tell the time left."""
    told(Progress(expected=rows))


def note(text: str) -> None:
    """Tells the listeners how far an ML step is, for example `round 40 of 500, eval auc 0.701`."""
    told(Progress(note=text))


def told(step: Progress) -> None:
    """Tells the listeners of progress that was counted elsewhere, such as by workers of a service."""
    with _lock:
        listeners = list(_listeners)
    for listener in listeners:
        listener(step)


def failed(error: BraidError) -> BraidError:
    """Keeps the error for `original_errors`: Beam's worker threads hand on its text alone.

    From another process only the traceback comes back, and with it the hint, as a note; see `worker_errors`.
    """
    note = f"{HINT}{error.hint}"
    if error.hint and note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    with _lock:
        _failures.append(error)
    return error


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Calls `listener` with the progress of every job in this process."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)


@contextmanager
def original_errors() -> Iterator[None]:
    """Around a job's run: raises the error that a worker thread raised, not Beam's retelling of it."""
    with _lock:
        _failures.clear()
    try:
        yield
    except Exception as told:
        with _lock:
            first = _failures[0] if _failures else None
        if first is None or isinstance(told, BraidError):
            raise
        raise first from told
