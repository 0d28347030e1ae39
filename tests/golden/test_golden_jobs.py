"""What a job asks of Dataflow, and its graph: the real client's request, with what changes from day to day taken out."""

import json
import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from bucket import Bucket
from cloud.loopback_cloud import Cloud, loopback_cloud
from cloud.misbehaviour import WorkerQuotaRefused
from cloud.small_jobs import DELAYS, JOIN, SPLIT, prepare_job, uploaded, write_tables
from golden import Golden
from kept_journal import KeptJournal

from beam_jobs.ingest import ingest, plan
from beam_jobs.sources import SourceConfig
from pipeline.deploy import staging
from pipeline.remote import journal
from pipeline.targets import dataflow_options, loading
from pipeline.targets.target import Dataflow

CHANGING = (
    (re.compile(r"braid-[0-9a-f]{8}\b"), "BUCKET"),
    (re.compile(r"localhost:\d+"), "localhost:PORT"),
    (re.compile(r"braid_worker-([\d.]+)-0[0-9a-f]{12}-"), r"braid_worker-\1-0DIGEST-"),
    (re.compile(r"/workers/[0-9a-f]{12}/"), "/workers/DIGEST/"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"(flights-run-departures-7)\.\d+\.\d+"), r"\1.MOMENT"),
    (re.compile(r"\b\d{8}[\dT:.-]{6,}Z?\b"), "MOMENT"),
)


@pytest.fixture
def cloud(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A service that takes jobs, and gives them no workers."""
    package = staging.package_of(["prepare"], [], str(tmp_path / "workers"))
    with loopback_cloud(bucket, package, Path("/nonexistent"), tmp_path / "cloud", monkeypatch) as running:
        running.service.misbehave(WorkerQuotaRefused())
        yield running


def options(cloud: Cloud, kind: str, folder: Path) -> PipelineOptions:
    """Of the step's job, as a run gives them."""
    own = ["project=test", f"bucket={cloud.bucket.name}", f"endpoint={cloud.service.address}", "labels.team=data"]
    target = loading.load("dataflow", own)
    assert isinstance(target, Dataflow)
    words = [*dataflow_options.of(target), *dataflow_options.of_workers(target.of_step("departures"))]
    words += dataflow_options.labels(target, "flights", "flights-run", "departures")
    return PipelineOptions([*words, *staging.stage(kind, [], str(folder)).options])


@pytest.mark.parametrize("kind", ["ingest", "fused", "partitioned"])
def test_job_request(golden: Golden, cloud: Cloud, tmp_path: Path, kind: str) -> None:
    step = "ingest" if kind == "ingest" else "prepare"
    pipeline = beam.Pipeline(options=options(cloud, step, tmp_path / "workers"))
    if kind == "ingest":
        path = cloud.bucket.put("in/flights.csv", "day,flight\n2013-01-01,1\n2013-01-02,2\n")
        config = SourceConfig("flights", path)
        ingest(pipeline, config, plan(config), f"{cloud.bucket.url}/table", f"{cloud.bucket.url}/rejects")
    else:
        tables = uploaded(cloud.bucket, write_tables(tmp_path / "sources"))
        how = {"sql": JOIN, "split": SPLIT} if kind == "fused" else {"sql": DELAYS, "partition_by": ["tail"]}
        _ = pipeline | prepare_job(tables, f"{cloud.bucket.url}/out", **how)  # type: ignore[arg-type]
    with journal.writing(KeptJournal()):
        pipeline.run()
    request = cloud.service.job.request
    golden.check(f"{kind}_request.json", _plain(request), f"submitting the {kind} job")
    golden.check(f"{kind}_graph.json", _plain(_graph(_submitted(cloud, request))), f"submitting the {kind} job")


def _plain(value: Any) -> str:
    text = json.dumps(value, indent=1, sort_keys=True)
    for pattern, instead in CHANGING:
        text = pattern.sub(instead, text)
    return text + "\n"


def _submitted(cloud: Cloud, request: dict[str, Any]) -> beam_runner_api_pb2.Pipeline:
    (path,) = [name for name in cloud.bucket.names if name.endswith("/pipeline.pb")]
    assert path in json.dumps(request)
    return beam_runner_api_pb2.Pipeline.FromString(cloud.bucket.get(path))


def _graph(pipeline: beam_runner_api_pb2.Pipeline) -> dict[str, Any]:
    """The graph by its names; what is pickled is not told: it is the code's, and has its own tests."""
    parts = pipeline.components
    coders = {key: one.spec.urn for key, one in parts.coders.items()}
    collections = {key: one.unique_name for key, one in parts.pcollections.items()}
    return {
        "transforms": {
            one.unique_name: {
                "urn": one.spec.urn,
                "inputs": {tag: collections[key] for tag, key in one.inputs.items()},
                "outputs": {tag: collections[key] for tag, key in one.outputs.items()},
            }
            for one in parts.transforms.values()
            if one.unique_name
        },
        "collections": {one.unique_name: coders[one.coder_id] for one in parts.pcollections.values()},
        "environments": [
            {
                "urn": one.urn,
                "image": beam_runner_api_pb2.DockerPayload.FromString(one.payload).container_image,
                "staged": [
                    beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload).staged_name
                    for artifact in one.dependencies
                ],
            }
            for one in parts.environments.values()
        ],
        "requirements": sorted(pipeline.requirements),
    }
