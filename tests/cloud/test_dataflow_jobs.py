"""Braid's own jobs, submitted by Beam's real Dataflow client and executed by workers that have nothing but the wheel."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.ingest import ingest, plan
from beam_jobs.prepare import Prepare
from beam_jobs.publish import discard_attempts
from beam_jobs.sources import SourceConfig
from beam_jobs.table import Table
from cloud.loopback_cloud import Cloud
from cloud.misbehaviour import WorkerKilled, ZombieWorker
from cloud.small_jobs import (
    DELAYS,
    FAILING,
    FLIGHTS,
    JOIN,
    LOCAL,
    SPLIT,
    digest,
    downloaded,
    prepare_job,
    uploaded,
    write_tables,
)

pytestmark = pytest.mark.long
KINDS = {"fused": {"sql": JOIN, "split": SPLIT}, "partitioned": {"sql": DELAYS, "partition_by": ["tail"]}}


def run_here(job: Prepare) -> None:
    with beam.Pipeline(options=PipelineOptions(list(LOCAL))) as pipeline:
        _ = pipeline | job


def submit(cloud: Cloud, job: beam.PTransform) -> Any:
    """Submits and waits, without the client's long naps; returns the client's result."""
    pipeline = beam.Pipeline(options=cloud.options())
    _ = pipeline | job
    result = pipeline.run()
    cloud.service.job.wait()
    return result


def expected(tmp_path: Path, **how: Any) -> Path:
    """The step's output as the local runner writes it from local files."""
    run_here(prepare_job(write_tables(tmp_path / "sources"), str(tmp_path / "here"), **how))
    return tmp_path / "here"


@pytest.mark.parametrize("kind", KINDS)
def test_a_prepare_job_gives_what_it_gives_here(cloud: Cloud, tmp_path: Path, kind: str) -> None:
    here = expected(tmp_path, **KINDS[kind])
    tables = uploaded(cloud.bucket, write_tables(tmp_path / "sources"))
    result = submit(cloud, prepare_job(tables, f"{cloud.bucket.url}/out", **KINDS[kind]))
    job = cloud.service.job
    assert result.state == "DONE", job.messages
    assert digest(downloaded(cloud.bucket, "out", tmp_path / "there")) == digest(here)
    there = Table.load(f"{cloud.bucket.url}/out")
    assert there.ledger == Table.load(str(here)).ledger
    assert len(job.workers) == 2 and job.lost == []
    assert _counters(result) == {
        "read": 4_000,
        "written": there.ledger.written,
        "rejected": 0,
        "chunks": len({part.chunk for part in there.parts}),
    }
    assert Path(cloud.package.wheel).name in job.staged


def _counters(result: Any) -> dict[str, int]:
    """As the client adds them up, of all Beam steps."""
    found: dict[str, int] = {}
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == "step":
            found[counter.key.metric.name] = found.get(counter.key.metric.name, 0) + counter.committed
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_worker_changes_nothing(cloud: Cloud, tmp_path: Path, kind: str) -> None:
    here = expected(tmp_path, **KINDS[kind])
    tables = uploaded(cloud.bucket, write_tables(tmp_path / "sources"))
    cloud.service.misbehave(WorkerKilled())
    result = submit(cloud, prepare_job(tables, f"{cloud.bucket.url}/out", **KINDS[kind]))
    job = cloud.service.job
    assert (result.state, len(job.lost), len(job.workers)) == ("DONE", 1, 3), job.messages
    assert digest(downloaded(cloud.bucket, "out", tmp_path / "there")) == digest(here)


def test_a_zombie_leaves_the_table_as_it_is(cloud: Cloud, tmp_path: Path) -> None:
    here = expected(tmp_path, **KINDS["fused"])
    tables = uploaded(cloud.bucket, write_tables(tmp_path / "sources"))
    cloud.service.misbehave(ZombieWorker())
    result = submit(cloud, prepare_job(tables, f"{cloud.bucket.url}/out", **KINDS["fused"]))
    job = cloud.service.job
    assert result.state == "DONE", job.messages
    assert [zombie["finished"] for zombie in job.zombies] == [True]
    written = [name for name in cloud.bucket.names if name.startswith("out/_pending/")]
    assert written, "the zombie wrote nothing once the job was done"
    discard_attempts(f"{cloud.bucket.url}/out")
    assert digest(downloaded(cloud.bucket, "out", tmp_path / "there")) == digest(here)


def test_a_row_that_fails_is_told_and_kept(cloud: Cloud, tmp_path: Path) -> None:
    tables = uploaded(cloud.bucket, write_tables(tmp_path / "sources"))
    result = submit(cloud, prepare_job(tables, f"{cloud.bucket.url}/out", sql=FAILING))
    job = cloud.service.job
    assert result.state == "FAILED"
    told = [one["messageText"] for one in job.messages if one["messageImportance"] == "JOB_MESSAGE_ERROR"]
    assert len(told) == 5 and "work item has failed 4 times" in told[-1]
    assert all(
        "Step 'step' failed on row 1,211 of" in one and "Could not convert string 'x'" in one for one in told[:4]
    )
    names = [name for name in cloud.bucket.names if name.startswith("out/")]
    assert "out/table.json" not in names
    assert [name for name in names if name.startswith("out/_failed/") and name.endswith(".json")]


def test_an_ingest_job_reads_its_text_from_the_bucket(cloud: Cloud, tmp_path: Path) -> None:
    lines = [",".join(map(str, row.values())) for row in FLIGHTS.slice(0, 3_000).to_pylist()]
    lines[1_234] = "a,line,with,too,many,values"
    path = cloud.bucket.put("in/flights.csv", "\n".join(["day,flight,tail,delay", *lines, ""]))
    config = SourceConfig("flights", path)
    chunks = plan(config, chunk_bytes=20_000)
    out = f"{cloud.bucket.url}/out"
    with beam.Pipeline(options=PipelineOptions(list(LOCAL))) as pipeline:
        ingest(pipeline, config, chunks, str(tmp_path / "here/table"), str(tmp_path / "here/rejects"))
    pipeline = beam.Pipeline(options=cloud.options())
    ingest(pipeline, config, chunks, f"{out}/table", f"{out}/rejects")
    pipeline.run()
    assert cloud.service.job.wait() == "JOB_STATE_DONE", cloud.service.job.messages
    assert digest(downloaded(cloud.bucket, "out", tmp_path / "there")) == digest(tmp_path / "here")
    assert Table.load(f"{out}/table").ledger == Table.load(str(tmp_path / "here/table")).ledger
