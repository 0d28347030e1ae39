"""What Beam's own client makes of each misbehaviour: what a layer above it has to expect."""

import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.utils import retry
from google.api_core import exceptions

from beam_jobs.errors import DataError
from cloud.loopback_cloud import Cloud
from cloud.misbehaviour import (
    ConnectionCut,
    FailsHalfWay,
    JobQuotaRefused,
    Overloaded,
    SlowMetrics,
    WorkerQuotaRefused,
    WorkersComeLate,
)

pytestmark = pytest.mark.long
ALIVE = ("PENDING", "RUNNING")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited between its attempts; it does not."""
    taken: list[float] = []
    monkeypatch.setattr(retry.Clock, "sleep", lambda _, seconds: taken.append(seconds))
    return taken


@pytest.fixture
def late() -> WorkersComeLate:
    """Jobs that are running, and wait for workers."""
    return WorkersComeLate()


def submit(cloud: Cloud, *options: str) -> Any:
    pipeline = beam.Pipeline(options=cloud.options(*options))
    _ = pipeline | beam.Create([1, 2, 3], reshuffle=False) | beam.Map(lambda number: number + 1)
    return pipeline.run()


def calls(cloud: Cloud, what: str, method: str = "GET") -> list[int]:
    """The statuses of calls; 0 for one that was cut."""
    return [status for request, status in cloud.service.calls if (request.what, request.method) == (what, method)]


def test_credentials_are_asked_for_and_shown(cloud: Cloud, late: WorkersComeLate) -> None:
    cloud.service.misbehave(late)
    submit(cloud)
    assert cloud.service.account.tokens
    cloud.service.account.tokens.clear()
    assert not cloud.service.account.knows("Bearer ya29.of-somebody-else")
    assert not cloud.service.account.knows("")


def test_without_a_known_token_the_job_is_refused(
    cloud: Cloud, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.service.account, "knows", lambda _: False)
    with pytest.raises(exceptions.Unauthorized):
        submit(cloud)
    # Google's library has asked for a new token twice; Beam's client adds nothing to it.
    assert (calls(cloud, "jobs", "POST"), naps, cloud.service.jobs) == ([401, 401, 401], [], {})


def test_a_refused_quota_of_jobs_is_told_at_once_and_not_tried_again(cloud: Cloud, naps: list[float]) -> None:
    cloud.service.misbehave(JobQuotaRefused())
    with pytest.raises(exceptions.TooManyRequests, match="Concurrent Dataflow jobs"):
        submit(cloud)
    assert (calls(cloud, "jobs", "POST"), naps, cloud.service.jobs) == ([429], [], {})


def test_a_refused_quota_of_workers_fails_the_job_with_the_reason(cloud: Cloud) -> None:
    cloud.service.misbehave(WorkerQuotaRefused())
    result = submit(cloud)
    cloud.service.job.wait()
    with pytest.raises(DataflowRuntimeException, match=r"State: FAILED") as told:
        result.wait_until_finish()
    # The client has asked for no message if the job had ended before it began to wait.
    assert "QUOTA_EXCEEDED" in str(told.value) or "None" in str(told.value)


@pytest.mark.parametrize("what", ["job", "messages"])
def test_an_unavailable_service_is_asked_again_with_growing_naps(
    cloud: Cloud, late: WorkersComeLate, naps: list[float], what: str
) -> None:
    cloud.service.misbehave(late)
    result = submit(cloud)
    cloud.service.misbehave(Overloaded(503, 3, what))
    if what == "job":
        assert result.state in ALIVE
    else:
        result._runner.dataflow_client.list_messages(result.job_id())
    assert calls(cloud, what) == [503, 503, 503, 200]
    assert len(naps) == 3 and naps == sorted(naps)


@pytest.mark.parametrize(("what", "asks"), [("job", "state"), ("metrics", "metrics")])
def test_too_many_requests_are_an_error_that_the_client_hands_on(
    cloud: Cloud, late: WorkersComeLate, naps: list[float], what: str, asks: str
) -> None:
    cloud.service.misbehave(late)
    result = submit(cloud)
    cloud.service.misbehave(Overloaded(429, 1, what))
    with pytest.raises(exceptions.TooManyRequests):
        _ = result.state if asks == "state" else result.metrics().query()
    assert naps == []


def test_an_unavailable_service_at_submission_makes_no_second_job(
    cloud: Cloud, late: WorkersComeLate, naps: list[float]
) -> None:
    cloud.service.misbehave(late, Overloaded(503, 2, "jobs"))
    result = submit(cloud)
    assert calls(cloud, "jobs", "POST") == [503, 503, 200]
    assert list(cloud.service.jobs) == [result.job_id()]


def test_a_lost_answer_to_a_submission_makes_no_second_job(
    cloud: Cloud, late: WorkersComeLate, naps: list[float]
) -> None:
    """The job is taken, the answer is lost: the client submits once more, under the same name and request id."""
    cloud.service.misbehave(late, ConnectionCut(1, "jobs", done=True))
    result = submit(cloud)
    assert calls(cloud, "jobs", "POST") == [0, 200]
    assert list(cloud.service.jobs) == [result.job_id()]


def test_a_second_job_of_an_active_name_is_refused(cloud: Cloud, late: WorkersComeLate, naps: list[float]) -> None:
    cloud.service.misbehave(late)
    first = submit(cloud)
    with pytest.raises(Exception, match="There is already active job named braid-test") as told:
        submit(cloud)
    assert first.job_id() in str(told.value)
    assert len(cloud.service.jobs) == 1


def test_a_connection_that_breaks_while_asked_is_tried_again(
    cloud: Cloud, late: WorkersComeLate, naps: list[float]
) -> None:
    cloud.service.misbehave(late)
    result = submit(cloud)
    cloud.service.misbehave(ConnectionCut(2, "job"))
    assert result.state in ALIVE
    assert calls(cloud, "job").count(0) == 2


def test_slow_metrics_are_stale_and_are_kept(cloud: Cloud) -> None:
    """Of a job that has ended the client asks once and keeps the answer, be it an early one."""
    cloud.service.misbehave(SlowMetrics(0.2, stale=1))
    result = submit(cloud)
    cloud.service.job.wait()
    assert result.state == "DONE"
    started = time.monotonic()
    assert result.metrics().query()["counters"] == []
    assert time.monotonic() - started >= 0.2
    assert len(calls(cloud, "metrics")) == 1


def test_a_job_is_cancelled(cloud: Cloud, late: WorkersComeLate) -> None:
    cloud.service.misbehave(late)
    result = submit(cloud)
    _until(lambda: result.state == "RUNNING")
    result.cancel()
    late.come.set()
    assert cloud.service.job.wait() == "JOB_STATE_CANCELLED"
    assert result.state == "CANCELLED"
    assert cloud.service.job.workers == []


def _until(true: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_waiting_tells_messages_and_ends_with_the_job(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "apache_beam.runners.dataflow"):
        assert submit(cloud).wait_until_finish() == "DONE"
    assert "braid-test was created." in caplog.text


def test_a_job_is_found_by_its_id_without_the_pipeline(cloud: Cloud, late: WorkersComeLate) -> None:
    """What another process needs to go on waiting: options and the id; nothing of the pipeline."""
    from apache_beam.runners.dataflow.internal import apiclient

    cloud.service.misbehave(late)
    name = submit(cloud).job_id()
    client = apiclient.DataflowApplicationClient(cloud.options())
    assert client.get_job(name).current_state.name in ("JOB_STATE_RUNNING", "JOB_STATE_PENDING")
    late.come.set()
    cloud.service.job.wait()
    assert client.get_job(name).current_state.name == "JOB_STATE_DONE"
    assert client.get_job_metrics(name).metrics


def test_a_job_that_fails_half_way_is_told_by_the_workers_traceback(cloud: Cloud) -> None:
    cloud.service.misbehave(FailsHalfWay(bundles=1))
    with pytest.raises(DataflowRuntimeException) as told:
        submit(cloud).wait_until_finish()
    # Of several errors the client hands on one with a traceback, rather than the summary that comes last.
    assert "no such thing. [while running 'Fused/Run-ptransform-42']" in str(told.value)
    assert cloud.service.job.bundles == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_refused_question_ends_the_clients_waiting_but_not_the_job(cloud: Cloud, late: WorkersComeLate) -> None:
    """The thread that polls dies of it; who waits is told of a job without an end. The job goes on."""
    cloud.service.misbehave(late)
    result = submit(cloud)
    cloud.service.misbehave(Overloaded(429, 1, "job"))
    with pytest.raises(AssertionError, match="did not reach to a terminal state"):
        result.wait_until_finish()
    assert cloud.service.job.state.removeprefix("JOB_STATE_") in ALIVE


def test_a_job_without_its_wheel_fails_on_every_worker(cloud: Cloud) -> None:
    options = [one for one in cloud.arguments("braid-test") if not one.startswith("--extra_package")]
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    _ = pipeline | beam.Create([DataError("No.")], reshuffle=False) | beam.Map(str)
    assert pipeline.run() and cloud.service.job.wait() == "JOB_STATE_FAILED"
    told = [one["messageText"] for one in cloud.service.job.messages if one["messageImportance"] == "JOB_MESSAGE_ERROR"]
    assert len(told) == 5 and all("ModuleNotFoundError: No module named 'beam_jobs'" in one for one in told[:4])


def test_workers_are_made_of_the_pins_that_the_job_stages(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "pins.txt").write_text(cloud.package.requirements)
    cloud.service.workers = dataclasses.replace(cloud.service.workers, python=Path("/nonexistent"))
    pins = ("--requirements_file", str(tmp_path / "pins.txt"), "--requirements_cache=skip")
    result = submit(cloud, *pins)
    assert cloud.service.job.wait() == "JOB_STATE_DONE", cloud.service.job.messages
    assert result.state == "DONE"
    assert cloud.service.job.staged["requirements.txt"].decode() == cloud.package.requirements


def test_staged_files_and_the_request_hold_no_credentials(cloud: Cloud, late: WorkersComeLate) -> None:
    cloud.service.misbehave(late)
    submit(cloud)
    _until(lambda: cloud.service.job.state == "JOB_STATE_RUNNING")
    job = cloud.service.job
    secrets = [*cloud.service.account.tokens, cloud.service.account.private_key.splitlines()[1]]
    everything = [json.dumps(job.request).encode(), (job.folder / "pipeline.pb").read_bytes(), *job.staged.values()]
    assert len(everything) > 3 and all(secrets)
    assert not [secret for secret in secrets for content in everything if secret.encode() in content]
