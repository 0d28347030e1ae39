"""What listeners hear of a job that runs elsewhere."""

import pytest
from answers import ID, NAME, ScriptedJobs, at, job, message, metrics, news

from beam_jobs import progress
from beam_jobs.progress import Progress
from pipeline.remote.jobs import JobState
from pipeline.remote.watching import Watch

PENDING = JobState(ID, NAME, "PENDING")


def heard(jobs: ScriptedJobs, looks: int) -> list[Progress]:
    """What is told in so many looks."""
    told: list[Progress] = []
    watch = Watch(jobs, PENDING)
    with progress.listening(told.append):
        for _ in range(looks):
            watch.look()
    return told


def test_rows_are_told_as_they_come() -> None:
    counts = [metrics(), metrics(read=10, chunks=1), metrics(read=30, written=20, rejected=2, chunks=3)]
    told = heard(ScriptedJobs(get_job=job(), list_job_messages=news(), get_job_metrics=counts), 4)
    rows = [(step.read, step.written, step.rejected, step.chunks) for step in told if step.chunks]
    assert rows == [(10, 0, 0, 1), (20, 20, 2, 2)]


def test_an_answer_that_is_behind_takes_nothing_back_and_doubles_nothing() -> None:
    counts = [metrics(read=30, chunks=3), metrics(), metrics(read=10, chunks=1), metrics(read=40, chunks=4)]
    told = heard(ScriptedJobs(get_job=job(), list_job_messages=news(), get_job_metrics=counts), 4)
    assert [step.read for step in told if step.read] == [30, 10]


def test_state_and_workers_are_told() -> None:
    jobs = ScriptedJobs(
        get_job=[job("QUEUED"), job("PENDING"), job(), job(), job(), job("CANCELLING")],
        list_job_messages=[news(), news(), news(), news(workers={1: 1}), news(workers={1: 1, 2: 7})],
        get_job_metrics=metrics(),
    )
    notes = [step.note for step in heard(jobs, 6) if step.note]
    assert notes == [
        "queued",
        "pending",
        "running, no workers yet",
        "running, 1 worker",
        "running, 7 workers",
        "cancelling",
    ]


def test_errors_are_told_once_as_they_occur() -> None:
    error = "Traceback (most recent call last):\nbeam_jobs.errors.DataError: No. [while running 'Run']\n"
    jobs = ScriptedJobs(
        get_job=job(),
        list_job_messages=[
            news(message("Created.", "BASIC", 0)),
            news(message(error, "ERROR", 1), message("Slow.", "WARNING", 2)),
            news(message(error, "ERROR", 1), message(error, "ERROR", 3), message("Workflow failed.", "ERROR", 4)),
        ],
        get_job_metrics=metrics(),
    )
    assert [step.line for step in heard(jobs, 4) if step.line] == [
        "A worker failed, the service tries again: No.",
        "Slow.",
    ]


def test_messages_that_come_late_are_not_missed_and_none_comes_twice() -> None:
    jobs = ScriptedJobs(
        list_job_messages=[
            news(message("b", seconds=100)),
            news(message("a", seconds=80), message("b", seconds=100)),
            news(message("c", seconds=101)),
        ]
    )
    watch = Watch(jobs, PENDING)
    assert [one.text for _ in range(3) for one in watch.hear()] == ["b", "a", "c"]
    assert [one.text for one in watch.messages] == ["a", "b", "c"]
    assert [request.get("start_time") for _, request in jobs.asked] == [None, at(70), at(70)]


def test_the_error_that_ends_a_job_is_no_line() -> None:
    jobs = ScriptedJobs(get_job=job("FAILED"), list_job_messages=news(message("No.")), get_job_metrics=metrics())
    assert [step.line for step in heard(jobs, 1) if step.line] == []


@pytest.mark.parametrize(
    ("workers", "hours"),
    [({}, 0), ({0: 2}, 2), ({0: 1, 1_800: 4, 2_700: 0}, 0.5 + 1), ({0: 2, 7_200: 9}, 2)],
)
def test_worker_hours_are_those_of_all_workers(workers: dict[float, int], hours: float) -> None:
    jobs = ScriptedJobs(get_job=job("DONE", 3_600), list_job_messages=news(workers=workers), get_job_metrics=metrics())
    watch = Watch(jobs, PENDING)
    watch.look()
    assert watch.worker_hours == pytest.approx(hours)
