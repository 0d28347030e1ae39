"""Ctrl-C and SIGTERM: the run ends at once, tidily, and says so with the exit code that shells expect."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ASK_AGAIN_SECONDS = 2.0


class Interrupted(KeyboardInterrupt):
    """Somebody asked the process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Interrupted` in the main thread, so that what is open gets closed.

    What is closed in haste may fail, and that error would hide why: after a signal, any error leaves as `Interrupted`.
    """
    asked: signal.Signals | None = None

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if number != signal.SIGALRM or asked is None:
            asked = signal.Signals(number)
        # Python drops an exception that is raised inside a destructor or a callback from C: ask until it is heard.
        signal.setitimer(signal.ITIMER_REAL, _ASK_AGAIN_SECONDS)
        raise Interrupted(asked)

    with _handled_by(stop):
        try:
            yield
        except Exception as error:
            if asked is None:
                raise
            raise Interrupted(asked) from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Around tidying up, which a second and third Ctrl-C must not cut short."""
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def asking() -> Iterator[None]:
    """Around a question after a signal: another Ctrl-C is an answer, a KeyboardInterrupt."""
    with _handled_by(signal.default_int_handler):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it is interrupted
        return
    before = {number: signal.signal(number, handler) for number in (*_SIGNALS, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, previous in before.items():
            signal.signal(number, previous)
