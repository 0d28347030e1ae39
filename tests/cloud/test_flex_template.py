"""The data strand started as a Flex Template by the API, with nothing of this process: the tables that `braid run` gives."""

import json
from pathlib import Path
from typing import Any

import google.auth
import pyarrow.parquet as pq
import pytest
from debian_packages import NotAvailableError
from google.api_core.exceptions import BadRequest
from google.auth.transport.requests import AuthorizedSession
from google.cloud import dataflow_v1beta3 as dataflow

from beam_jobs.table import Table, read_table
from cloud.container_image import build
from cloud.loopback_cloud import Cloud
from cloud.small_jobs import FLIGHTS, PLANES
from cloud.workflows import Workflow, WorkflowError
from components import recording
from pipeline import runs, stores
from pipeline.cli.main import main
from pipeline.workspace import Workspace

pytestmark = pytest.mark.long
CONFIG = """\
name: small_flights
sources:
  flights: {path: flights.csv}
  planes: {path: planes.parquet}
prepare:
  delays:
    stream: flights
    sql: SELECT tail, avg(delay) AS mean_delay, count(*) AS flown FROM flights GROUP BY tail
    partition_by: [tail]
  departures:
    stream: flights
    sql: |
      SELECT f.day, f.flight, f.tail, p.seats, d.flown, f.delay > 15 AS late
      FROM flights f LEFT JOIN planes p USING (tail) LEFT JOIN delays d USING (tail)
      WHERE f.delay IS NOT NULL
examples:
  table: departures
  label: late
  split: {by: hash, columns: [flight], shares: {train: 0.8, eval: 0.2}}
"""
STEPS = {"flights": "table", "delays": "table", "departures": "examples"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and its sources, three rows of which are none."""
    folder = tmp_path_factory.mktemp("project")
    lines = [",".join("" if value is None else str(value) for value in row.values()) for row in FLIGHTS.to_pylist()]
    for place in (7, 1_234, 3_999):
        lines[place] += ",more,than,there,are"
    (folder / "flights.csv").write_text("\n".join([",".join(FLIGHTS.schema.names), *lines, ""]))
    pq.write_table(PLANES, folder / "planes.parquet")
    (folder / "flights.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def here(sources: Path) -> runs.Run:
    """`braid run` of the data strand, on this machine."""
    workspace = sources / "ws"
    main(["run", str(sources / "flights.yaml"), "--to", "departures", "--workspace", str(workspace)])
    return runs.find_run(stores.open_store(Workspace(str(workspace)).store), "latest")


@pytest.fixture
def template(sources: Path, cloud: Cloud, tmp_path: Path) -> Path:
    """What `braid deploy template` writes, its image pushed and its spec in the bucket; the sources are there as well."""
    for name in ("flights.csv", "planes.parquet"):
        cloud.bucket.put(f"in/{name}", (sources / name).read_bytes())
    folder = tmp_path / "template"
    main(
        ["deploy", "template", *words(sources, cloud), *given(cloud), "--folder", str(folder), "--image", "launcher:1"]
    )
    try:
        cloud.service.images["launcher:1"] = build(folder / "image", tmp_path / "launcher")
    except NotAvailableError as reason:
        pytest.skip(f"NOT TESTED: the launcher's packages cannot be had here. {reason}")
    cloud.bucket.put("braid/templates/small_flights.json", (folder / "template.json").read_bytes())
    return folder


def words(sources: Path, cloud: Cloud) -> list[str]:
    own = {"project": "test", "bucket": cloud.bucket.name, "endpoint": cloud.service.address, "max_workers": "2"}
    return [
        str(sources / "flights.yaml"),
        *(word for key, value in own.items() for word in ("--set", f"{key}={value}")),
    ]


def given(cloud: Cloud) -> list[str]:
    found = {"source_flights": "in/flights.csv", "source_planes": "in/*.parquet"}
    return [word for name, path in found.items() for word in ("--parameter", f"{name}={cloud.bucket.url}/{path}")]


def workflow(template: Path) -> Workflow:
    session = AuthorizedSession(google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])[0])

    def answer(response: Any) -> Any:
        response.raise_for_status()
        return response.json()

    return Workflow(
        (template / "workflow.yaml").read_text(),
        lambda url, body: answer(session.post(url, json=body)),
        lambda url: answer(session.get(url)),
    )


def launcher(cloud: Cloud) -> dataflow.FlexTemplatesServiceClient:
    """Google's own client."""
    transport = dataflow.FlexTemplatesServiceClient.get_transport_class("rest")(
        host=cloud.service.address.removeprefix("http://"),
        url_scheme="http",
        credentials=google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])[0],
    )
    return dataflow.FlexTemplatesServiceClient(transport=transport)


def launch(cloud: Cloud, file: Path, **changed: str | None) -> str:
    """Starts one stage as a scheduler would; returns the job's id."""
    body = json.loads(file.read_text())
    parameters = body["launchParameter"]["parameters"] | {name: value for name, value in changed.items() if value}
    body["launchParameter"]["parameters"] = {k: v for k, v in parameters.items() if changed.get(k, v) is not None}
    request = {**body, "projectId": "test", "location": "us-central1"}
    found = dataflow.LaunchFlexTemplateRequest.from_json(json.dumps(request), ignore_unknown_fields=False)
    return launcher(cloud).launch_flex_template(found).job.id


def ended(cloud: Cloud, job: str) -> str:
    return cloud.service.jobs[job].wait()


def test_all_stages_give_the_tables_of_a_run_here(template: Path, here: runs.Run, cloud: Cloud) -> None:
    assert workflow(template).run({"run": "monday"}) == "monday"
    jobs = list(cloud.service.jobs.values())
    assert [job.name for job in jobs] == [f"small-flights-monday-{number}" for number in (1, 2, 3)]
    assert {job.state for job in jobs} == {"JOB_STATE_DONE"}
    for job in jobs:
        assert "requirements.txt" in job.staged
        assert [name for name in job.staged if name.endswith(".whl")] == [
            path.name for path in (template / "image").glob("*.whl")
        ]
        assert job.options["max_num_workers"] == 2
        assert job.options["number_of_worker_harness_threads"] == 1
        assert job.request["labels"] == {"pipeline": "small_flights"}
    root = f"{cloud.bucket.url}/braid/data/small_flights/monday"
    for name, key in STEPS.items():
        step = here.step(name)
        assert step is not None
        (mine,) = step.outputs[key]
        there = Table.load(f"{root}/{name}/table")
        assert recording.content_digest(there) == mine.properties["content_digest"]
        assert recording.schema_digest(there.schema) == mine.properties["schema_digest"]
        assert json.loads(json.dumps(there.ledger.to_dict())) == Table.load(mine.uri).ledger.to_dict()
    step = here.step("flights")
    assert step is not None
    (rejects,) = step.outputs["rejects"]
    refused, expected = (read_table(Table.load(uri)) for uri in (f"{root}/flights/rejects", rejects.uri))
    assert refused.drop(["file"]) == expected.drop(["file"])
    assert Table.load(f"{root}/flights/table").ledger.rejected == 3


def test_a_workflow_stops_where_a_job_fails(template: Path, cloud: Cloud) -> None:
    cloud.bucket.put("in/flights.csv", "day,flight\n1,2,3\n4,5,6\n")
    with pytest.raises(WorkflowError, match="ended as JOB_STATE_FAILED"):
        workflow(template).run(None)
    (job,) = cloud.service.jobs.values()
    assert job.name.startswith("small-flights-run-")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"run": None}, "run: Missing required parameter"),
        ({"run": "Not A Name"}, "run: Value does not match regex"),
        ({"steps": "flights+delys"}, "steps: Value does not match regex"),
        ({"root": "/tmp/tables"}, "root: Value does not match regex"),
        ({"sorce_flights": "gs://b/x"}, "sorce_flights: Unrecognized parameter"),
    ],
)
def test_a_launch_with_a_wrong_parameter_is_refused(
    template: Path, cloud: Cloud, changed: dict[str, str | None], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        launch(cloud, template / "launches" / "1-flights.json", **changed)
    assert cloud.service.jobs == {}


def test_a_stage_before_its_time_is_told_what_comes_first(template: Path, cloud: Cloud) -> None:
    job = launch(cloud, template / "launches" / "3-departures.json")
    assert ended(cloud, job) == "JOB_STATE_FAILED"
    told = cloud.service.jobs[job].messages[-1]["messageText"]
    assert "Step 'departures' reads 'delays', whose table is not there" in told
    assert "Launch steps=delays first" in told
    assert "Traceback" not in told


def test_a_launch_that_is_repeated_writes_nothing_twice(template: Path, cloud: Cloud) -> None:
    file = template / "launches" / "1-flights.json"
    assert ended(cloud, launch(cloud, file)) == "JOB_STATE_DONE"
    before = cloud.bucket.names
    again = launch(cloud, file)
    assert ended(cloud, again) == "JOB_STATE_FAILED"
    assert "The tables of flights are there already" in cloud.service.jobs[again].messages[-1]["messageText"]
    written = [name for name in cloud.bucket.names if name.startswith("braid/data/")]
    assert written == [name for name in before if name.startswith("braid/data/")]
    assert ended(cloud, launch(cloud, file, run="tuesday")) == "JOB_STATE_DONE"


def test_a_missing_parameter_is_refused_before_anything_is_written(
    sources: Path, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["deploy", "template", *words(sources, cloud), *given(cloud)[:2], "--folder", str(tmp_path / "template")])
    told = capsys.readouterr().err
    assert "The template's parameter 'source_planes' is missing" in told
    assert "Give it: --parameter source_planes=..." in told
    assert not (tmp_path / "template").exists()


def test_the_spec_is_what_the_service_reads(template: Path) -> None:
    text = (template / "template.json").read_text()
    spec = dataflow.ContainerSpec.from_json(text, ignore_unknown_fields=False)
    assert spec.sdk_info.language == dataflow.SDKInfo.Language.PYTHON
    assert [one.name for one in spec.metadata.parameters if not one.is_optional] == [
        "steps",
        "root",
        "run",
        "source_flights",
        "source_planes",
    ]
    assert spec.default_environment.max_workers == 2
