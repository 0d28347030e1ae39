"""Braid's own jobs through Beam's job API: a service and two workers, each a process with nothing but the wheel."""

import threading
import time
from collections.abc import Iterator
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
    until = time.monotonic() + 20
    while service.workers and time.monotonic() < until:
        time.sleep(0.1)
    assert service.workers == set()
