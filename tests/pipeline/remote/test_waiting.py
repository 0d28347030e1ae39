"""Waiting for a job."""

import signal

import pytest
from answers import ID, NAME, ScriptedJobs, job, message, metrics, news
from apache_beam.metrics.metric import MetricResults, MetricsFilter
from google.api_core import exceptions
from kept_journal import KeptJournal

from beam_jobs import io_lineage, progress
from beam_jobs.errors import DataError
from components import recording
from pipeline.interruption import Interrupted
from pipeline.remote import journal as journals
from pipeline.remote import waiting
from pipeline.remote.errors import NotReachableError, RemoteJobError
from pipeline.remote.jobs import JobState
from pipeline.remote.leaving import LeftRunning
from pipeline.remote.waiting import RemoteResult

SUBMITTED = JobState(ID, NAME, "PENDING")
WHOLE = metrics(read=30, written=30, chunks=3)


def scripted(**answers: object) -> ScriptedJobs:
    """A job that is done, unless told otherwise."""
    usual = {
        "get_job": [job(), job("DONE", 3_600)],
        "list_job_messages": news(workers={0: 2}),
        "get_job_metrics": WHOLE,
    }
    return ScriptedJobs(patience=0.05, **{**usual, **answers})


def test_the_end_of_a_job_is_waited_for_and_written_down() -> None:
    kept = KeptJournal()
    result = RemoteResult(scripted(), SUBMITTED, kept)
    assert result.wait_until_finish() == result.wait_until_finish() == result.state == "DONE"
    assert kept.written == [("ended", {"job_state": "DONE", "worker_hours": 2})]


def test_a_question_that_is_refused_ends_nothing() -> None:
    """Beam's own waiting ends with it."""
    busy, away = exceptions.TooManyRequests("Too many requests."), exceptions.ServiceUnavailable("Gone.")
    jobs = scripted(
        get_job=[busy, away, ConnectionResetError(), job(), busy, job("DONE")],
        list_job_messages=[away, news(), busy, news()],
        get_job_metrics=[busy, WHOLE, away, WHOLE],
    )
    assert RemoteResult(jobs, SUBMITTED).wait_until_finish() == "DONE"


def test_a_detached_job_is_not_waited_for() -> None:
    jobs = scripted()
    with pytest.raises(LeftRunning) as left:
        RemoteResult(jobs, SUBMITTED, KeptJournal(job_id=ID, detached=True)).wait_until_finish()
    assert (left.value.job, left.value.exit_code, jobs.asked) == (ID, 0, [])
    assert "braid attach run-1" in left.value.hint


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (exceptions.ServiceUnavailable("Gone."), "has not answered"),
        (exceptions.Unauthorized("expired"), "does not take these credentials"),
        (exceptions.Forbidden("Permission 'dataflow.jobs.get' denied"), "roles/dataflow.viewer"),
    ],
    ids=["away", "expired", "forbidden"],
)
def test_a_job_whose_service_is_lost_is_left_and_not_failed(error: Exception, why: str) -> None:
    kept = KeptJournal(job_id=ID)
    with pytest.raises(LeftRunning) as left:
        RemoteResult(scripted(get_job=[job(), error]), SUBMITTED, kept).wait_until_finish()
    assert why in left.value.why and left.value.exit_code == 75
    assert kept.written == []


def test_without_a_journal_a_lost_service_is_an_error() -> None:
    with pytest.raises(NotReachableError):
        RemoteResult(scripted(get_job=exceptions.ServiceUnavailable("Gone.")), SUBMITTED).wait_until_finish()


def test_an_interruption_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise Interrupted(signal.SIGINT)

    kept = KeptJournal(job_id=ID)
    monkeypatch.setattr(waiting.time, "sleep", interrupted)
    with pytest.raises(Interrupted):
        RemoteResult(scripted(get_job=job()), SUBMITTED, kept).wait_until_finish()
    assert kept.written == []


def test_why_a_job_has_failed_may_be_told_after_its_end() -> None:
    error = "Traceback (most recent call last):\nbeam_jobs.errors.DataError: No. [while running 'Run']\n"
    kept = KeptJournal()
    jobs = scripted(
        get_job=job("FAILED"),
        list_job_messages=[news(), news(), news(message("Stopping.", "BASIC", 1)), news(message(error, seconds=2))],
    )
    with pytest.raises(DataError, match=r"^No\.$"):
        RemoteResult(jobs, SUBMITTED, kept).wait_until_finish()
    assert kept.events == ["ended"]


def test_a_job_of_which_no_reason_is_told_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "REASON_SECONDS", 0.02)
    with pytest.raises(RemoteJobError, match="gives no reason"):
        RemoteResult(scripted(get_job=job("FAILED"), list_job_messages=news()), SUBMITTED).wait_until_finish()


def test_a_failed_job_is_told_though_its_metrics_are_not() -> None:
    jobs = scripted(
        get_job=job("FAILED"),
        list_job_messages=news(message("No.")),
        get_job_metrics=[metrics(), exceptions.Forbidden("no")],
    )
    kept = KeptJournal()
    with pytest.raises(RemoteJobError, match=r"No\."):
        RemoteResult(jobs, SUBMITTED, kept).wait_until_finish()
    assert kept.events == ["ended"]


def test_a_cancelled_job_ends_the_waiting() -> None:
    with pytest.raises(RemoteJobError, match="was cancelled"):
        RemoteResult(scripted(get_job=[job(), job("CANCELLED")]), SUBMITTED).wait_until_finish()


def test_counters_are_asked_for_until_they_are_whole() -> None:
    behind = [metrics(), metrics(read=10, chunks=1), metrics(), metrics(read=10, chunks=1), WHOLE]
    result = RemoteResult(scripted(get_job_metrics=[metrics(read=20, chunks=2), *behind]), SUBMITTED)
    told: list[progress.Progress] = []
    with progress.listening(told.append):
        result.wait_until_finish()
    counters = result.metrics().query()[MetricResults.COUNTERS]
    assert {one.key.metric.name: one.result for one in counters} == {"read": 30, "written": 30, "chunks": 3}
    assert sum(step.read for step in told) == 30 and sum(step.chunks for step in told) == 3


def test_counters_of_a_job_without_chunks_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "METRICS_SECONDS", 0.02)
    result = RemoteResult(scripted(get_job_metrics=metrics()), SUBMITTED)
    assert result.wait_until_finish() == "DONE"
    assert result.metrics().query()["counters"] == []


def test_a_step_records_the_job_as_any_other() -> None:
    result = RemoteResult(scripted(), SUBMITTED)
    result.wait_until_finish()
    properties: dict[str, str] = {}
    recording.record_job(properties, result)
    assert properties["job_id"] == ID
    assert properties["counters"] == '{"departures.chunks": 3, "departures.read": 30, "departures.written": 30}'
    assert io_lineage.sources(result) == io_lineage.sinks(result) == []
    assert result.metrics().query(MetricsFilter().with_name("chunks"))["counters"][0].committed == 3
    assert result.metrics().query(MetricsFilter().with_namespace("other"))["counters"] == []


def test_a_wait_may_be_short() -> None:
    assert RemoteResult(scripted(get_job=job()), SUBMITTED).wait_until_finish(duration=5) == "RUNNING"


def test_a_job_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.remote.jobs._CANCEL_PAUSE", 0.001)
    jobs = scripted(update_job=job("CANCELLING"), get_job=job("CANCELLED"))
    assert RemoteResult(jobs, SUBMITTED).cancel() == "CANCELLED"


def test_a_journal_is_kept_around_one_job() -> None:
    kept = KeptJournal()
    with journals.writing(kept):
        assert journals.current() is kept
    assert journals.current() is None


def test_a_process_that_leaves_a_job_fails_no_step() -> None:
    left = KeptJournal(job_id="7").left("the network is down", 75)
    assert not isinstance(left, Exception)
    assert str(left) == "Job 7 of step 'departures' goes on without this process: the network is down."
