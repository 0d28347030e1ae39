import errno
import pickle

import pytest

from beam_jobs.errors import DataError
from pipeline.errors import StepFailedError, explain


def test_a_step_that_names_itself_is_not_named_twice() -> None:
    assert str(StepFailedError("a", "run", DataError("Step 'a': no."))) == "Step 'a' failed: no."
    assert str(StepFailedError("a", "run", DataError("Step 'a' multiplies."))) == "Step 'a' multiplies."
    assert str(StepFailedError("a", "run", DataError("No."))) == "Step 'a' failed: No."


def test_a_failed_step_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(StepFailedError("a", "run", DataError("No.", "Do."))))
    assert (str(copy), copy.hint, copy.step) == ("Step 'a' failed: No.", "Do.", "a")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/x"),
        RuntimeError("... database or disk is full query: COMMIT"),
    ],
)
def test_a_full_disk_is_recognised_whoever_tells_it(error: Exception) -> None:
    told, hint = explain(error)
    assert told.startswith("The disk is full")
    assert "--workspace" in hint


def test_what_the_system_refuses_is_told_with_the_file() -> None:
    told, _ = explain(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert told == "'/x/y': Permission denied."


def test_what_nobody_foresaw_is_one_line_and_called_a_bug() -> None:
    told, hint = explain(ValueError("first\nlast"))
    assert told == "ValueError: last"
    assert "may be a bug" in hint and "--debug" in hint
    assert explain(KeyError())[0] == "KeyError: no message"
