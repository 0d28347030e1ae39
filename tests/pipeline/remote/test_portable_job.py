"""Jobs of Beam's own job service in this process, over gRPC: waited for, told, cancelled, lost."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_jobs import progress
from pipeline.interruption import Interrupted, interruptible
from pipeline.remote import portable_job, portable_runner
from pipeline.remote.errors import NotReachableError, RemoteJobError
from pipeline.targets.beam_options import placement
from pipeline.targets.target import Portable


class Service(local_job_service.LocalJobServicer):
    """Beam's, whose jobs do as `work` does."""

    def __init__(self, folder: Path, work: Callable[[], None]) -> None:
        class Job(local_job_service.BeamJob):
            def _invoke_runner(self) -> PipelineResult:
                self.set_state(beam_job_api_pb2.JobState.RUNNING)
                work()
                return Ended(PipelineState.DONE)

        super().__init__(str(folder), Job)
        self.endpoint = f"localhost:{self.start_grpc_server()}"


class Ended(PipelineResult):
    def wait_until_finish(self, duration: int | None = None) -> str:
        return self._state


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Callable[[], None]], Service]]:
    """Starts a service."""
    services = []

    def start(work: Callable[[], None]) -> Service:
        services.append(Service(tmp_path / "staged", work))
        return services[-1]

    yield start
    for service in services:
        service.stop(0)


def submitted(endpoint: str, *more: str) -> Any:
    target = Portable(runner="portable", endpoint=endpoint)
    pipeline = beam.Pipeline(options=PipelineOptions([*placement("portable", target).options, *more]))
    _ = pipeline | beam.Create([1])
    return pipeline.run()


def test_a_job_may_take_longer_than_an_answer(serve: Any) -> None:
    result = submitted(serve(lambda: time.sleep(3)).endpoint, "--job_server_timeout=1")
    assert result.wait_until_finish() == "DONE"
    assert result.job_id().startswith("braid-")


def test_who_waits_for_a_while_only_gets_the_state_then(serve: Any) -> None:
    over = threading.Event()
    result = submitted(serve(over.wait).endpoint)
    assert result.wait_until_finish(duration=100) == "RUNNING"
    over.set()
    assert result.wait_until_finish() == "DONE"


def test_what_a_job_gets_over_is_told_while_it_runs(serve: Any) -> None:
    def work() -> None:
        logging.getLogger("runner").warning("A task manager was lost:\n  the task is done anew.")
        logging.getLogger("runner").error('Traceback (most recent call last):\n  File "x.py", line 1\nOSError: gone')
        time.sleep(1.5)

    heard: list[progress.Progress] = []
    with progress.listening(heard.append):
        submitted(serve(work).endpoint).wait_until_finish()
    assert [told.line for told in heard if told.line] == [
        "A task manager was lost: the task is done anew.",
        "OSError: gone",
    ]
    assert "running" in {told.note for told in heard}


def test_a_job_that_fails_tells_why(serve: Any) -> None:
    def work() -> None:
        raise OSError("No space left on device")

    heard: list[progress.Progress] = []
    with progress.listening(heard.append), pytest.raises(RuntimeError, match="OSError: No space left on device"):
        submitted(serve(work).endpoint).wait_until_finish()
    assert not [told.line for told in heard if told.line]  # nothing that was got over


def test_an_interrupted_process_cancels_its_job(serve: Any) -> None:
    over = threading.Event()
    result = submitted(serve(over.wait).endpoint)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(Interrupted), interruptible():
        result.wait_until_finish()
    assert result.state == "CANCELLED"
    over.set()


def test_a_job_that_is_cancelled_elsewhere_is_an_error(serve: Any) -> None:
    over = threading.Event()
    result = submitted(serve(over.wait).endpoint)
    threading.Timer(0.5, result.cancel).start()
    with pytest.raises(RemoteJobError, match=rf"^Job {result.job_id()} was cancelled at localhost:\d+, and not from"):
        result.wait_until_finish()
    over.set()


def test_a_service_that_is_gone_is_waited_for_and_then_told(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable_job, "PATIENCE_SECONDS", 1.0)
    over = threading.Event()
    service = serve(over.wait)
    result = submitted(service.endpoint)
    threading.Timer(0.5, service.stop, (0,)).start()
    heard: list[progress.Progress] = []
    with progress.listening(heard.append), pytest.raises(NotReachableError) as told:
        result.wait_until_finish()
    assert str(told.value).startswith(f"The job service at {service.endpoint} does not tell how job braid-")
    assert f"the job service at {service.endpoint} does not answer" in {told.note for told in heard}
    over.set()


def test_a_service_that_knows_no_such_job_any_more_is_told_at_once(serve: Any) -> None:
    over = threading.Event()
    service = serve(over.wait)
    result = submitted(service.endpoint)
    threading.Timer(0.5, service._jobs.clear).start()
    with pytest.raises(NotReachableError, match=r"does not tell how job braid-.* is: .*\(unknown\)\.$") as told:
        result.wait_until_finish()
    assert told.value.hint.startswith("If the service has ended, so has the job")
    over.set()


def test_where_no_service_is_nobody_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable_runner, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(RemoteJobError, match=r"^No job service answers at localhost:1\.$"):
        submitted("localhost:1")


def test_a_service_that_refuses_a_job_says_why(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no slot is free")

    monkeypatch.setattr(Service, "create_beam_job", refuse)
    with pytest.raises(RemoteJobError, match=r"takes no job: .*no slot is free \(unknown\)\.$"):
        submitted(serve(lambda: None).endpoint)
