import traceback

import pytest

from beam_jobs import progress
from beam_jobs.errors import BraidError, DataError, LedgerError
from beam_jobs.worker_errors import from_traceback

SERVICE = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1498, in apache_beam.runners.common.DoFnRunner.process
  File "/usr/local/lib/python3.11/site-packages/beam_jobs/fused.py", line 84, in process
    report = self._run(chunk)
  File "/usr/local/lib/python3.11/site-packages/beam_jobs/fused.py", line 102, in _run
    raise refused(self.config, failure, stretch.words)
beam_jobs.errors.DataError: Step 'flights' failed on row 7 of 'gs://a/b.parquet': no such thing.
- a second line
What it failed on is kept in 'gs://a/_failed', chunk-000003.
Hint: Mend it.

During handling of the above exception, another exception occurred:

  File "/usr/local/lib/python3.11/site-packages/apache_beam/runners/worker/sdk_worker.py", line 311, in _execute
    response = task()
 [while running 'Fused/Run-ptransform-42']
"""


def raised(error: Exception) -> str:
    """The text that a worker hands on."""
    try:
        raise error
    except Exception:
        return traceback.format_exc()


def test_an_error_is_told_as_it_was_raised() -> None:
    found = from_traceback(SERVICE)
    assert found is not None
    assert type(found.error) is DataError
    assert str(found.error) == "Step 'flights' failed on row 7 of 'gs://a/b.parquet': no such thing.\n- a second line"
    assert found.error.hint == "Mend it."
    assert found.kept == "What it failed on is kept in 'gs://a/_failed', chunk-000003."
    assert found.frames == ("beam_jobs/fused.py:84 process", "beam_jobs/fused.py:102 _run")


@pytest.mark.parametrize("kind", [DataError, LedgerError, BraidError])
def test_what_python_prints_is_read_back(kind: type[BraidError]) -> None:
    error = progress.failed(kind("It is wrong:\n- here\n- there", "Look there."))
    found = from_traceback(raised(error))
    assert found is not None
    assert (type(found.error), str(found.error), found.error.hint) == (
        kind,
        "It is wrong:\n- here\n- there",
        "Look there.",
    )


def test_the_hint_is_noted_once() -> None:
    error = progress.failed(progress.failed(DataError("It is wrong.", "Look there.")))
    assert error.__notes__ == ["Hint: Look there."]


def test_the_last_of_several_errors_counts() -> None:
    try:
        try:
            raise DataError("The cause.", "First.")
        except DataError as cause:
            raise LedgerError("What came of it.") from cause
    except LedgerError:
        found = from_traceback(traceback.format_exc())
    assert found is not None and (type(found.error), str(found.error)) == (LedgerError, "What came of it.")


def test_the_name_of_the_step_that_beam_adds_is_left_out() -> None:
    found = from_traceback("beam_jobs.errors.DataError: No. [while running 'Run-ptransform-1']\n")
    assert found is not None and str(found.error) == "No."


def test_an_error_that_is_made_in_another_way_is_told_as_braids_own() -> None:
    found = from_traceback("components.unheard.OfError: No.\n")
    assert found is not None and (type(found.error), str(found.error)) == (BraidError, "No.")


def test_a_bug_or_a_lost_worker_is_no_error_of_braids() -> None:
    assert from_traceback(raised(ZeroDivisionError("beam_jobs.errors.DataError is not raised"))) is None
    assert from_traceback("The worker lost contact with the service.") is None
