"""Braid's own jobs through Beam's job API: a service and two workers, each a process with nothing but the wheel."""

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

from beam_jobs import io_lineage
from beam_jobs.errors import DataError
from beam_jobs.ingest import ingest, plan
from beam_jobs.prepare import Prepare
from beam_jobs.sources import SourceConfig
from beam_jobs.table import Table
from beam_jobs.worker_errors import from_traceback
from cloud.job_service import JobService, job_service
from cloud.small_jobs import DELAYS, FAILING, FLIGHTS, JOIN, LOCAL, SPLIT, digest, prepare_job, write_tables
from pipeline.deploy.worker_package import WorkerPackage
from pipeline.interruption import Interrupted, interruptible
from pipeline.remote.errors import RemoteJobError

pytestmark = pytest.mark.long
KINDS = {"fused": {"sql": JOIN, "split": SPLIT}, "partitioned": {"sql": DELAYS, "partition_by": ["tail"]}}


@pytest.fixture(scope="module")
def service(data_workers: tuple[WorkerPackage, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobService]:
    package, python = data_workers
    with job_service(python, package.wheel, tmp_path_factory.mktemp("service")) as running:
        yield running


class Watch(threading.Thread):
    """Sees which workers there are while a job runs."""

    def __init__(self, service: JobService) -> None:
        super().__init__(daemon=True)
        self.service, self.seen, self._over = service, set[int](), threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.2):
            self.seen |= self.service.workers

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def run(job: beam.PTransform, arguments: Any) -> Any:
    pipeline = beam.Pipeline(options=PipelineOptions(list(arguments)))
    _ = pipeline | job
    result = pipeline.run()
    result.wait_until_finish()
    return result


def both(job: Any, tmp_path: Path, service: JobService) -> tuple[Path, Path, Any]:
    """The folders that the job writes here and through the service, and the service's result."""
    run(job(str(tmp_path / "here")), LOCAL)
    return tmp_path / "here", tmp_path / "there", run(job(str(tmp_path / "there")), service.arguments())


@pytest.mark.parametrize("kind", KINDS)
def test_a_prepare_job_gives_what_it_gives_here(service: JobService, tmp_path: Path, kind: str) -> None:
    tables = write_tables(tmp_path / "sources")

    def job(root: str) -> Prepare:
        return prepare_job(tables, root, **KINDS[kind])

    with Watch(service) as watch:
        here, there, result = both(job, tmp_path, service)
    assert digest(there) == digest(here)
    assert Table.load(str(there)).ledger == Table.load(str(here)).ledger
    assert len(watch.seen) == 2
    counted = {
        c.key.metric.name: c.result for c in result.metrics().query()["counters"] if c.key.metric.namespace == "step"
    }
    assert (counted["read"], counted["written"]) == (4_000, Table.load(str(there)).ledger.written)
    assert set(io_lineage.sources(result)) >= {
        table.path(part) for table in tables.values() for part in table.parts
    } - {table.path(part) for name, table in tables.items() for part in table.parts if name not in KINDS[kind]["sql"]}


def test_an_ingest_job_gives_what_it_gives_here(service: JobService, tmp_path: Path) -> None:
    lines = [",".join(map(str, row.values())) for row in FLIGHTS.slice(0, 3_000).to_pylist()]
    lines[1_234] = "a,line,with,too,many,values"
    (tmp_path / "flights.csv").write_text("\n".join(["day,flight,tail,delay", *lines, ""]))
    config = SourceConfig("flights", str(tmp_path / "flights.csv"))
    chunks = plan(config, chunk_bytes=20_000)
    assert len(chunks.chunks) > 2
    for name, arguments in (("here", LOCAL), ("there", service.arguments())):
        with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
            ingest(pipeline, config, chunks, str(tmp_path / name / "table"), str(tmp_path / name / "rejects"))
    assert digest(tmp_path / "there") == digest(tmp_path / "here")
    ledger = Table.load(str(tmp_path / "there" / "table")).ledger
    assert (ledger.read, ledger.rejected) == (3_000, 1)


def test_a_row_that_fails_is_told_with_the_workers_traceback(service: JobService, tmp_path: Path) -> None:
    tables = write_tables(tmp_path / "sources")
    with pytest.raises(RuntimeError) as told:
        run(prepare_job(tables, str(tmp_path / "out"), sql=FAILING), service.arguments())
    found = from_traceback(str(told.value))
    assert found is not None and isinstance(found.error, DataError)
    assert str(found.error).startswith("Step 'step' failed on row 1,211 of")
    assert found.error.hint.startswith("TRY_CAST(...) gives NULL")
    assert [frame for frame in found.frames if frame.startswith("beam_jobs/fused.py:")]
    assert not (tmp_path / "out" / "table.json").exists()
    assert without_workers(service)


def without_workers(service: JobService) -> bool:
    """Whether all are gone within some seconds."""
    until = time.monotonic() + 20
    while service.workers and time.monotonic() < until:
        time.sleep(0.1)
    return not service.workers


def slow_job(folder: Path, seconds: float) -> beam.PTransform:
    """Two elements that take that long, one a worker; each worker writes its process id when it begins and when it ends."""

    def work(number: int) -> int:
        import os
        import pathlib
        import time

        (pathlib.Path(folder) / f"begun-{number}").write_text(str(os.getpid()))
        time.sleep(seconds)
        (pathlib.Path(folder) / f"ended-{number}").write_text(str(os.getpid()))
        return number

    return beam.Create([0, 1], reshuffle=False) | beam.Reshuffle() | beam.Map(work)


def once_begun(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Acts as soon as both elements are worked on."""

    def wait() -> None:
        until = time.monotonic() + 120
        while len([path for path in folder.glob("begun-*") if path.read_text()]) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_worker_that_is_killed_ends_its_job_and_no_other(service: JobService, tmp_path: Path) -> None:
    killer = once_begun(tmp_path, lambda: os.kill(int((tmp_path / "begun-1").read_text()), signal.SIGKILL))
    with pytest.raises(RemoteJobError) as told:
        run(slow_job(tmp_path, 300), service.arguments())
    killer.join()
    assert "was cancelled at localhost:" in str(told.value)
    assert "because a worker process was lost" in str(told.value)
    assert without_workers(service)
    assert "has ended before its work: the job is cancelled." in service.log.read_text()
    run(slow_job(tmp_path, 0), service.arguments())
    assert len(list(tmp_path.glob("ended-*"))) == 2


def test_workers_end_with_the_job_of_a_process_that_is_interrupted(service: JobService, tmp_path: Path) -> None:
    interrupter = once_begun(tmp_path, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted), interruptible():
        run(slow_job(tmp_path, 300), service.arguments())
    interrupter.join()
    assert without_workers(service)
    assert not list(tmp_path.glob("ended-*"))
