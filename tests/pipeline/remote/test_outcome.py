"""What the messages of a job say."""

import pytest
from answers import START

from beam_jobs.errors import DataError
from pipeline.remote import outcome
from pipeline.remote.errors import RemoteJobError
from pipeline.remote.jobs import ERROR, JobState, Message

OWN = """Traceback (most recent call last):
  File "/usr/local/lib/python3.11/site-packages/beam_jobs/fused.py", line 84, in process
    report = self._run(chunk)
beam_jobs.errors.DataError: Step 'flights' failed on row 7 of 'gs://a/b.parquet': no such thing. [while running 'Run']
What it failed on is kept in 'gs://a/_failed', chunk-000003.
Hint: Mend it.
"""
BUG = """Error processing instruction process_bundle-12. Original traceback is
Traceback (most recent call last):
  File "/usr/local/lib/python3.11/site-packages/beam_jobs/parts.py", line 12, in write
    x / y
  File "/usr/local/lib/python3.11/site-packages/pyarrow/parquet.py", line 5, in write
ZeroDivisionError: division by zero [while running 'Run-ptransform-42']
"""
SUMMARY = "(a0b1): Workflow failed. Causes: S01:Run failed., The job failed because a work item has failed 4 times."
JOB = outcome.Job("7", "https://console/7", "me@x.iam.gserviceaccount.com", "test", "n2-standard-4")


def ended(*texts: str, state: str = "FAILED") -> BaseException:
    messages = [Message(str(number), START, ERROR, text) for number, text in enumerate(texts)]
    return outcome.error_of(JobState("7", "name", state), messages, JOB)


def test_a_workers_own_error_is_what_the_job_ended_of() -> None:
    error = ended(BUG, OWN, SUMMARY)
    assert type(error) is DataError and error.hint == "Mend it."
    assert str(error) == "Step 'flights' failed on row 7 of 'gs://a/b.parquet': no such thing."
    assert error.__notes__ == ["What it failed on is kept in 'gs://a/_failed', chunk-000003."]
    assert OWN in str(error.__cause__) and "S01:Run failed" in str(error.__cause__)


def test_a_bug_is_told_by_its_last_line_and_our_last_frame() -> None:
    error = ended(BUG, BUG, SUMMARY)
    assert isinstance(error, RemoteJobError)
    assert (
        str(error)
        == "Job 7 ended as failed: ZeroDivisionError: division by zero [while running 'Run-ptransform-42'] (beam_jobs/parts.py:12 write)"
    )
    assert error.hint == "The workers' logs: https://console/7"


def test_a_quota_is_told_with_the_key() -> None:
    error = ended("QUOTA_EXCEEDED: Quota 'CPUS' exceeded. Limit: 24.0 in region us-central1.", SUMMARY)
    assert isinstance(error, RemoteJobError)
    assert "quota CPUS of 24 in region us-central1" in str(error)
    assert "--set max_workers=6" in error.hint and "https://console/7" in error.hint


def test_the_summary_is_told_where_there_is_nothing_else() -> None:
    assert "S01:Run failed" in str(ended(SUMMARY))
    assert "gives no reason" in str(ended())


def test_a_cancelled_job_says_so() -> None:
    error = ended("Cancelled by user.", state="CANCELLED")
    assert isinstance(error, RemoteJobError) and str(error) == "Job 7 was cancelled."


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (OWN, "Step 'flights' failed on row 7 of 'gs://a/b.parquet': no such thing."),
        (BUG, "ZeroDivisionError: division by zero [while running 'Run-ptransform-42'] (beam_jobs/parts.py:12 write)"),
        ("(c5b1d7a2f0e94431): The  worker\nis slow.", "The worker is slow."),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
    ],
)
def test_a_message_in_one_line(text: str, line: str) -> None:
    assert outcome.line(text) == line


def test_a_line_is_not_long() -> None:
    assert len(outcome.line("long " * 1_000)) == 400
