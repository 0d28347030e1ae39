"""Jobs submitted and waited for as a run does it, at a service that misbehaves: one job, one result, and words that help."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from kept_journal import KeptJournal

from beam_jobs import io_lineage, progress
from beam_jobs.errors import DataError
from beam_jobs.progress import Progress
from beam_jobs.publish import discard_attempts
from cloud.loopback_cloud import Cloud
from cloud.misbehaviour import (
    ConnectionCut,
    FailsHalfWay,
    JobQuotaRefused,
    Misbehaviour,
    Overloaded,
    PermissionRefused,
    SlowMetrics,
    WorkerKilled,
    WorkerQuotaRefused,
    WorkersComeLate,
    ZombieWorker,
)
from cloud.service_account import EMAIL
from cloud.small_jobs import FAILING, JOIN, LOCAL, SPLIT, digest, downloaded, prepare_job, uploaded, write_tables
from pipeline.interruption import Interrupted, interruptible
from pipeline.remote import calling, jobs, waiting
from pipeline.remote.errors import RemoteJobError
from pipeline.remote.jobs import Jobs
from pipeline.remote.journal import writing
from pipeline.remote.leaving import LeftRunning
from pipeline.remote.waiting import RemoteResult

pytestmark = pytest.mark.long
RUNNER = "--runner=pipeline.remote.dataflow_runner.DataflowRunner"
KINDS = ("jobs", "job", "messages", "metrics")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(jobs, "_CANCEL_PAUSE", 0.05)


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Iterator[list[Progress]]:
    """What whoever watches is told, of the job in the cloud alone."""
    if "here" in request.fixturenames:
        request.getfixturevalue("here")
    heard: list[Progress] = []
    with progress.listening(heard.append):
        yield heard


@pytest.fixture
def late(cloud: Cloud) -> WorkersComeLate:
    """Jobs are running, and wait for workers."""
    late = WorkersComeLate()
    cloud.service.misbehave(late)
    return late


@pytest.fixture
def here(tmp_path: Path) -> str:
    """The digest of the step's output as the local runner writes it from local files."""
    with beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(list(LOCAL))) as pipeline:
        _ = pipeline | prepare_job(
            write_tables(tmp_path / "here/sources"), str(tmp_path / "here/out"), JOIN, split=SPLIT
        )
    return digest(tmp_path / "here/out")


class Step:
    """One step of a run in the cloud, run as often as somebody tries."""

    def __init__(self, cloud: Cloud, folder: Path, sql: str = JOIN) -> None:
        self.cloud, self.folder, self.sql = cloud, folder, sql
        self.tables = uploaded(cloud.bucket, write_tables(folder / "sources"))
        self.out = f"{cloud.bucket.url}/out"

    def submit(self, journal: KeptJournal | None = None, *options: str) -> RemoteResult:
        """Submits the step's job, or takes it up."""
        pipeline = beam.Pipeline(options=self.cloud.options(RUNNER, *options))
        _ = pipeline | prepare_job(self.tables, self.out, self.sql, split=SPLIT if self.sql == JOIN else None)
        if journal is None:
            return pipeline.run()
        with writing(journal):
            return pipeline.run()

    def run(self, journal: KeptJournal | None = None, *options: str) -> RemoteResult:
        """Waits as well."""
        result = self.submit(journal, *options)
        result.wait_until_finish()
        return result

    @property
    def digest(self) -> str:
        """Of the output."""
        return digest(downloaded(self.cloud.bucket, "out", self.folder / "there"))

    @property
    def is_published(self) -> bool:
        """Whether there is a table."""
        return "out/table.json" in self.cloud.bucket.names


@pytest.fixture
def step(cloud: Cloud, tmp_path: Path) -> Step:
    return Step(cloud, tmp_path)


def rows(told: list[Progress]) -> tuple[int, int, int]:
    """Rows read and written, and chunks, as whoever watches has added them up."""
    return sum(one.read for one in told), sum(one.written for one in told), sum(one.chunks for one in told)


def statuses(cloud: Cloud, what: str, method: str = "GET") -> list[int]:
    """Of the calls of one kind; 0 for one that was cut."""
    return [status for request, status in cloud.service.calls if (request.what, request.method) == (what, method)]


def counters(result: RemoteResult) -> dict[str, int]:
    """Of the step's job."""
    return {one.key.metric.name: one.result for one in result.metrics().query()["counters"]}


ALL = (4_000, 3_692, 10)
COUNTED = {"read": 4_000, "written": 3_692, "rejected": 0, "chunks": 10}


def test_a_job_gives_what_it_gives_here(step: Step, cloud: Cloud, told: list[Progress], here: str) -> None:
    journal = KeptJournal("flights-run-step-7")
    result = step.run(journal)
    assert (result.state, result.job_id()) == ("DONE", cloud.service.job.id)
    assert step.digest == here
    assert rows(told) == ALL and counters(result) == COUNTED
    assert io_lineage.sources(result) == io_lineage.sinks(result) == []
    assert cloud.service.job.name == "flights-run-step-7"
    assert any(one.note == "running, 2 workers" for one in told)
    assert [one.line for one in told if one.line] == []


def test_what_becomes_of_a_job_is_written_down(step: Step, cloud: Cloud) -> None:
    journal = KeptJournal("flights-run-step-7")
    step.run(journal)
    job = cloud.service.job
    link = f"https://console.cloud.google.com/dataflow/jobs/us-central1/{job.id}?project=test"
    assert journal.written[:2] == [("submitting", "flights-run-step-7"), ("submitted", (job.id, link))]
    ((_, ended),) = journal.written[2:]
    hours = ended.pop("worker_hours")
    assert 0 < hours < 2 * 60 / 3_600
    assert ended == {
        "job_state": "DONE",
        "vcpu_hours": 0.05,
        "memory_gb_hours": 0.2,
        "disk_gb_hours": 2.5,
        "bytes_processed": 500_000_000,
        "bytes_billed": 125_000_000,
    }


def test_a_refused_quota_of_jobs(step: Step, cloud: Cloud) -> None:
    cloud.service.misbehave(JobQuotaRefused())
    with pytest.raises(RemoteJobError, match="quota of concurrent Dataflow jobs is used up") as error:
        step.run(KeptJournal())
    assert "25 of 25 are running" in str(error.value)
    assert "gcloud dataflow jobs list" in error.value.hint and "--set project=" in error.value.hint
    assert (statuses(cloud, "jobs", "POST"), cloud.service.jobs) == ([429], {})


def test_a_missing_permission(step: Step, cloud: Cloud) -> None:
    cloud.service.misbehave(PermissionRefused())
    with pytest.raises(RemoteJobError, match=f"{EMAIL} may not submit a job to project test") as error:
        step.run(KeptJournal())
    grant = (
        f"gcloud projects add-iam-policy-binding test --member=serviceAccount:{EMAIL} --role=roles/dataflow.developer"
    )
    assert grant in error.value.hint
    assert (statuses(cloud, "jobs", "POST"), cloud.service.jobs) == ([403], {})


def test_a_bucket_that_is_not_there(step: Step, cloud: Cloud) -> None:
    with pytest.raises(RemoteJobError, match="cannot be put into the bucket") as error:
        step.run(KeptJournal(), "--staging_location=gs://nowhere/staging")
    assert "gs://nowhere" in str(error.value) and "gcloud storage buckets create" in error.value.hint
    assert cloud.service.jobs == {}


def test_a_refused_quota_of_workers(step: Step, cloud: Cloud) -> None:
    cloud.service.misbehave(WorkerQuotaRefused())
    journal = KeptJournal()
    with pytest.raises(RemoteJobError, match="quota CPUS of 24 in region us-central1") as error:
        step.run(journal, "--machine_type=n2-standard-4")
    for key in ("max_workers=6 ", "worker_type=", "region="):
        assert f"--set {key}" in error.value.hint
    assert f"jobs/us-central1/{cloud.service.job.id}" in error.value.hint
    assert journal.written[-1][1]["job_state"] == "FAILED"
    assert not step.is_published


def test_a_job_that_fails_half_way(step: Step, cloud: Cloud, told: list[Progress]) -> None:
    cloud.service.misbehave(FailsHalfWay(bundles=2))
    journal = KeptJournal()
    with pytest.raises(
        DataError, match=r"^Step 'flights' failed on row 7 of 'gs://a/b.parquet': no such thing\.$"
    ) as error:
        step.run(journal)
    assert "Workflow failed" in str(error.value.__cause__)
    assert journal.written[-1][1]["job_state"] == "FAILED"
    assert not step.is_published


def test_a_row_that_fails_is_told_as_it_is_tried_again_and_in_the_end(
    cloud: Cloud, tmp_path: Path, told: list[Progress]
) -> None:
    step = Step(cloud, tmp_path, FAILING)
    with pytest.raises(DataError, match="Step 'step' failed on row 1,211 of") as error:
        step.run(KeptJournal())
    assert "is kept in 'gs://" in error.value.__notes__[0]
    lines = [one.line for one in told if one.line]
    assert len(lines) <= 1  # four attempts, and between two questions the job may have ended
    assert all(line.startswith("A worker failed, the service tries again: Step 'step' failed on row") for line in lines)
    assert not step.is_published


def test_metrics_that_are_slow_and_stale(step: Step, cloud: Cloud, told: list[Progress], here: str) -> None:
    cloud.service.misbehave(SlowMetrics(0.3, stale=10))
    result = step.run(KeptJournal())
    assert counters(result) == COUNTED and rows(told) == ALL
    assert step.digest == here


BROKEN = {
    "429": lambda what: Overloaded(429, 3, what),
    "503": lambda what: Overloaded(503, 3, what),
    "cut before": lambda what: ConnectionCut(2, what),
    "cut after": lambda what: ConnectionCut(2, what, done=True),
}


@pytest.mark.parametrize("how", BROKEN)
def test_calls_of_every_kind_that_break(step: Step, cloud: Cloud, told: list[Progress], here: str, how: str) -> None:
    cloud.service.misbehave(*(BROKEN[how](what) for what in KINDS))
    result = step.run(KeptJournal())
    assert list(cloud.service.jobs) == [result.job_id()]
    assert (result.state, step.digest, counters(result), rows(told)) == ("DONE", here, COUNTED, ALL)
    broken = {"429": [429] * 3, "503": [503] * 3}.get(how, [0] * 2)
    for what in KINDS[1:]:
        assert statuses(cloud, what)[: len(broken)] == broken
    of_list = [status for request, status in cloud.service.calls if request.what == "jobs"]
    assert of_list[: len(broken)] == broken


def test_a_lost_answer_of_a_job_that_has_ended_by_then(step: Step, cloud: Cloud) -> None:
    """The service would take a second job of its name."""
    cloud.service.misbehave(WorkerQuotaRefused(), ConnectionCut(1, "jobs", done=True))
    with pytest.raises(RemoteJobError, match="quota CPUS"):
        step.run(KeptJournal())
    assert len(cloud.service.jobs) == 1
    assert statuses(cloud, "jobs", "POST") == [0]


def test_a_submission_without_any_answer_leaves_what_may_be_there(
    step: Step, cloud: Cloud, late: WorkersComeLate, monkeypatch: pytest.MonkeyPatch, here: str
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.2)
    cloud.service.misbehave(late, ConnectionCut(100, "jobs", done=True))
    journal = KeptJournal()
    with pytest.raises(LeftRunning) as left:
        step.run(journal)
    assert journal.events == ["submitting"] and left.value.exit_code == 75
    cloud.service.misbehave()
    late.come.set()
    again = KeptJournal(journal.job_name, again=True)
    result = step.run(again)
    assert list(cloud.service.jobs) == [result.job_id()]
    assert again.events == ["submitted", "ended"]
    assert step.digest == here


def test_a_killed_worker(step: Step, cloud: Cloud, told: list[Progress], here: str) -> None:
    cloud.service.misbehave(WorkerKilled())
    result = step.run(KeptJournal())
    assert len(cloud.service.job.lost) == 1
    assert (step.digest, counters(result), rows(told)) == (here, COUNTED, ALL)
    assert [one.line for one in told if one.line] == ["The worker lost contact with the service."]


def test_a_zombie(step: Step, cloud: Cloud, told: list[Progress], here: str) -> None:
    cloud.service.misbehave(ZombieWorker())
    journal = KeptJournal()
    result = step.run(journal)
    assert [zombie["finished"] for zombie in cloud.service.job.zombies] == [True]
    assert (counters(result), rows(told), journal.events[-1]) == (COUNTED, ALL, "ended")
    assert [name for name in cloud.bucket.names if name.startswith("out/_pending/")]
    discard_attempts(step.out)  # what a step does once its job has ended
    assert step.digest == here


def test_a_job_that_was_left_is_taken_up(
    step: Step, cloud: Cloud, late: WorkersComeLate, told: list[Progress], here: str
) -> None:
    journal = KeptJournal(detached=True)
    with pytest.raises(LeftRunning) as left:
        step.run(journal)
    assert (left.value.job, left.value.exit_code, journal.events) == (
        cloud.service.job.id,
        0,
        ["submitting", "submitted"],
    )
    late.come.set()
    again = KeptJournal(journal.job_name, journal.job_id, again=True)
    result = step.run(again)
    assert list(cloud.service.jobs) == [result.job_id()]
    assert again.events == ["ended"]
    assert (step.digest, counters(result), rows(told)) == (here, COUNTED, ALL)


@pytest.mark.parametrize("state", ["DONE", "RUNNING"])
def test_a_job_whose_id_was_not_written_down_is_found_by_its_name(
    step: Step, cloud: Cloud, late: WorkersComeLate, state: str, here: str
) -> None:
    first = step.submit(KeptJournal())
    if state == "DONE":
        late.come.set()
        cloud.service.job.wait()
    again = KeptJournal(again=True)
    found = step.submit(again)
    assert found.job_id() == first.job_id() == again.job_id
    late.come.set()
    assert found.wait_until_finish() == "DONE"
    assert (len(cloud.service.jobs), statuses(cloud, "jobs", "POST")) == (1, [200])
    assert step.digest == here


def test_a_first_attempt_does_not_look_for_a_job(step: Step, cloud: Cloud) -> None:
    step.run(KeptJournal())
    assert statuses(cloud, "jobs") == []


def test_an_active_job_of_the_name_is_taken_for_this_one(step: Step, cloud: Cloud, late: WorkersComeLate) -> None:
    first = step.submit()
    assert step.submit().job_id() == first.job_id()
    assert list(cloud.service.jobs) == [first.job_id()]


def test_a_service_that_is_lost_while_waiting(
    step: Step, cloud: Cloud, late: WorkersComeLate, monkeypatch: pytest.MonkeyPatch, told: list[Progress], here: str
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.3)
    journal = KeptJournal()
    result = step.submit(journal)
    cloud.service.misbehave(Overloaded(503, 10_000))
    with pytest.raises(LeftRunning, match="has not answered") as left:
        result.wait_until_finish()
    assert left.value.exit_code == 75 and "ended" not in journal.events
    assert "Dataflow does not answer (503): asking again" in [one.note for one in told]
    cloud.service.misbehave()
    late.come.set()
    step.run(KeptJournal(journal.job_name, journal.job_id, again=True))
    assert (len(cloud.service.jobs), step.digest) == (1, here)


def test_credentials_that_expire_while_waiting(
    step: Step, cloud: Cloud, late: WorkersComeLate, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = KeptJournal()
    result = step.submit(journal)
    with monkeypatch.context() as expired:
        expired.setattr(cloud.service.account, "knows", lambda _: False)
        with pytest.raises(LeftRunning, match="does not take these credentials") as left:
            result.wait_until_finish()
    assert "gcloud auth application-default login" in left.value.why
    late.come.set()
    assert step.submit(KeptJournal(journal.job_name, journal.job_id, again=True)).wait_until_finish() == "DONE"
    assert len(cloud.service.jobs) == 1


def test_an_interruption_leaves_the_job_as_it_is(step: Step, cloud: Cloud, late: WorkersComeLate) -> None:
    journal = KeptJournal()
    result = step.submit(journal)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted), interruptible():
        timer.start()
        result.wait_until_finish()
    assert cloud.service.job.state in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")
    late.come.set()
    assert result.wait_until_finish() == "DONE"
    assert journal.events == ["submitting", "submitted", "ended"]


def test_a_job_is_cancelled_while_somebody_waits(step: Step, cloud: Cloud, late: WorkersComeLate) -> None:
    journal = KeptJournal()
    result = step.submit(journal)
    there = Jobs("test", "us-central1", cloud.service.address)
    timer = threading.Timer(0.5, there.cancel, (result.job_id(),))
    timer.start()
    with pytest.raises(RemoteJobError, match="was cancelled"):
        result.wait_until_finish()
    timer.join()
    assert journal.written[-1][1]["job_state"] == "CANCELLED"
    assert not step.is_published


@pytest.mark.parametrize(
    "how",
    [
        [Overloaded(429, 2, "job")],
        [Overloaded(503, 2, "job")],
        [ConnectionCut(1, "job")],
        [ConnectionCut(1, "job", done=True)],
    ],
    ids=["429", "503", "cut before", "cut after"],
)
def test_cancelling_at_a_service_that_misbehaves(
    step: Step, cloud: Cloud, late: WorkersComeLate, how: list[Misbehaviour]
) -> None:
    result = step.submit()
    _until(lambda: cloud.service.job.state == "JOB_STATE_RUNNING")
    cloud.service.misbehave(*how)
    assert result.cancel() == "CANCELLED"
    assert cloud.service.job.wait() == "JOB_STATE_CANCELLED"
    assert cloud.service.job.workers == []


def test_a_job_is_looked_up_from_elsewhere(step: Step, cloud: Cloud, late: WorkersComeLate) -> None:
    """What the command line knows of a job: project, region, endpoint and its name."""
    job = step.submit().job_id()
    there = Jobs("test", "us-central1", cloud.service.address)
    found = there.find("braid-test")
    assert found is not None and found.id == job and not found.has_ended
    assert there.find("braid-te") is None
    assert [one.text for one in there.messages(job)] == ["braid-test was created."]
    assert there.cancel_and_wait(job).state == "CANCELLED"
    assert there.account == EMAIL


def _until(true: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
