import os
import signal
import time

import pytest

from pipeline import interruption
from pipeline.interruption import Interrupted, interruptible, uninterrupted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_raised_with_its_exit_code(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stop, interruptible():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert stop.value.exit_code == code
    assert signal.getsignal(number) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class Deaf:
    """Python drops what is raised in a destructor."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_is_raised_again_where_nobody_heard_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_ASK_AGAIN_SECONDS", 0.2)
    with pytest.raises(Interrupted) as stop, interruptible():
        Deaf()
        time.sleep(5)
    assert stop.value.exit_code == 130


def test_tidying_up_is_not_cut_short() -> None:
    done = []
    with pytest.raises(Interrupted), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        finally:
            with uninterrupted():
                os.kill(os.getpid(), signal.SIGINT)
                done.append("tidy")
    assert done == ["tidy"]


def test_an_error_of_what_is_closed_in_haste_does_not_hide_the_signal() -> None:
    with pytest.raises(Interrupted) as stop, interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            raise RuntimeError("the channel is closed already")
    assert stop.value.exit_code == 143


def test_without_a_signal_an_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="an error"), interruptible():
        raise RuntimeError("an error")
