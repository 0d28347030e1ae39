"""Flex Templates as files: the plan, the spec, the launches."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.table import Table
from pipeline import loading, planning
from pipeline.deploy import data_strand, flex_main, flex_template, image, template_environment
from pipeline.deploy.data_strand import DataStrand
from pipeline.errors import ConfigError
from pipeline.targets.target import Dataflow

CONFIG = """\
name: late_orders
sources:
  orders: {path: orders.csv}
  shops: {path: shops.jsonl}
prepare:
  per_shop: {stream: orders, sql: "SELECT shop, count(*) AS many FROM orders GROUP BY shop", partition_by: [shop]}
  big: {stream: shops, sql: "SELECT * FROM shops WHERE size > 1"}
  joined:
    stream: orders
    sql: "SELECT o.*, s.many, b.size FROM orders o JOIN per_shop s USING (shop) JOIN big b USING (shop)"
examples: {table: joined, label: late, split: {by: hash, columns: [id]}}
"""
TARGET = Dataflow(runner="dataflow", project="p", bucket="b", max_workers=5)
PATHS = {"source_orders": "gs://b/in/orders.csv", "source_shops": "gs://b/in/shops.jsonl"}


def strand(folder: Path, alone: tuple[str, ...] = ()) -> DataStrand:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orders.csv").write_text("id,shop,late\n1,north,true\n2,south,false\n")
    (folder / "shops.jsonl").write_text('{"shop": "north", "size": 2}\n{"shop": "south", "size": 1}\n')
    (folder / "late.yaml").write_text(CONFIG)
    return data_strand.of_plan(planning.plan(loading.load(str(folder / "late.yaml"))), alone)


def written(folder: Path, given: dict[str, str] = PATHS, target: Dataflow = TARGET) -> flex_template.Template:
    return flex_template.write(strand(folder, tuple(target.steps)), target, str(folder / "out"), "", given)


def body(template: flex_template.Template, number: int) -> dict[str, Any]:
    path = Path(template.folder) / list(template.bodies)[number - 1]
    found: dict[str, Any] = json.loads(path.read_text())["launchParameter"]
    return found


def test_steps_that_do_not_wait_for_each_other_share_a_launch(tmp_path: Path) -> None:
    assert strand(tmp_path).stages == (("orders", "shops"), ("per_shop", "big"), ("joined",))
    assert strand(tmp_path, ("big",)).stages == (("orders", "shops"), ("per_shop",), ("big",), ("joined",))


def test_no_path_of_this_machine_gets_into_the_template(tmp_path: Path) -> None:
    template = written(tmp_path)
    for path in Path(template.folder).rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path


def test_the_same_configuration_gives_the_same_image(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one"), written(tmp_path / "two")
    assert one.image == other.image == f"us-central1-docker.pkg.dev/p/braid/late-orders-template:{one.build.tag}"


def test_launches_differ_in_their_steps_alone(tmp_path: Path) -> None:
    template = written(tmp_path, {**PATHS, "run": "monday"})
    assert [body(template, number)["parameters"]["steps"] for number in (1, 2, 3)] == [
        "orders+shops",
        "per_shop+big",
        "joined",
    ]
    assert body(template, 1) == {
        "jobName": "late-orders-monday-1",
        "containerSpecGcsPath": "gs://b/braid/templates/late_orders.json",
        "parameters": {"steps": "orders+shops", "root": "gs://b/braid/data", "run": "monday", **PATHS},
        "environment": {},
    }


def test_a_step_with_workers_of_its_own_is_launched_alone(tmp_path: Path) -> None:
    own = {"big": {"worker_type": "n2-highmem-8", "threads": 4}}
    template = written(tmp_path, target=TARGET.model_validate({**TARGET.model_dump(), "steps": own}))
    assert body(template, 3)["parameters"]["steps"] == "big"
    assert body(template, 3)["environment"] == {
        "machineType": "n2-highmem-8",
        "maxWorkers": 5,
        "diskSizeGb": 50,
        "additionalPipelineOptions": ["number_of_worker_harness_threads=4"],
    }
    assert body(template, 2)["environment"] == {}


def test_the_targets_keys_become_the_environment() -> None:
    target = Dataflow(
        runner="dataflow",
        project="p",
        bucket="gs://b/team/",
        service_account="w@p.iam.gserviceaccount.com",
        subnetwork="regions/us-central1/subnetworks/s",
        public_ips=False,
        image="worker:1",
        workers=30,
        flexible_scheduling=True,
        labels={"Team": "Data Science"},
        options={"enable_hot_key_logging": True, "min_cpu_platform": "Intel Ice Lake"},
    )
    assert template_environment.of_target(target, "Orders") == {
        "tempLocation": "gs://b/team/braid/temp",
        "stagingLocation": "gs://b/team/braid/staging",
        "serviceAccountEmail": "w@p.iam.gserviceaccount.com",
        "subnetwork": "regions/us-central1/subnetworks/s",
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "sdkContainerImage": "worker:1",
        "additionalExperiments": ["use_runner_v2", "shuffle_mode=service"],
        "additionalUserLabels": {"team": "data-science", "pipeline": "orders"},
        "machineType": "n2-standard-4",
        "numWorkers": 30,
        "maxWorkers": 30,
        "diskSizeGb": 50,
        "flexrsGoal": "FLEXRS_COST_OPTIMIZED",
        "additionalPipelineOptions": [
            "number_of_worker_harness_threads=1",
            "enable_hot_key_logging",
            "min_cpu_platform=Intel Ice Lake",
        ],
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_orders": "gs://b/o.csv"}, "The template's parameter 'source_shops' is missing"),
        (
            {**PATHS, "source_orders": "/data/orders.csv"},
            r"'source_orders' is '/data/orders.csv', which does not match",
        ),
        ({**PATHS, "sorce_orders": "gs://b/o"}, r"no parameter 'sorce_orders'\. Did you mean 'source_orders'"),
        ({**PATHS, "run": "Of Monday"}, "'run' is 'Of Monday', which does not match"),
    ],
)
def test_launches_that_the_service_would_refuse_are_refused_here(
    given: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        flex_template.check(strand(tmp_path), TARGET, given)


def test_paths_with_commas_reach_gcloud_whole(tmp_path: Path) -> None:
    template = written(tmp_path, {**PATHS, "source_orders": "gs://b/in/{a,b}.csv"})
    assert (
        "'--parameters=^~^steps=orders+shops~root=gs://b/braid/data~run=first~source_orders=gs://b/in/{a,b}.csv"
        in (flex_template.starting(template, TARGET)[0])
    )


def launched(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """Runs the main program as the image holds it, with the wheel as all there is of Braid, on the local runner."""
    place = folder / "out" / "image"
    (wheel,) = place.glob("*.whl")
    words = [f"--root={folder / 'tables'}", "--run=one", f"--source_orders={folder / 'orders.csv'}"]
    words += [f"--source_shops={folder / 'shops.jsonl'}", "--runner=FnApiRunner"]
    environment = {"PYTHONPATH": str(wheel), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    command = [sys.executable, "main.py", *words, *more]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_a_launch_runs_its_steps_and_tells_what_is_missing(tmp_path: Path) -> None:
    written(tmp_path)
    early = launched(tmp_path, "--steps=joined")
    assert early.returncode == 1
    assert "Step 'joined' reads 'big', whose table is not there" in early.stderr
    assert "Launch steps=big first" in early.stderr and "Traceback" not in early.stderr
    unknown = launched(tmp_path, "--steps=orders+shop")
    assert "There is no step 'shop'. Did you mean 'shops'?" in unknown.stderr
    assert launched(tmp_path, "--steps=orders+shops").returncode == 0
    tables = tmp_path / "tables" / "late_orders" / "one"
    assert Table.load(str(tables / "orders" / "table")).rows == 2
    assert Table.load(str(tables / "shops" / "rejects")).rows == 0
    again = launched(tmp_path, "--steps=orders+shops")
    assert (again.returncode, "The tables of orders, shops are there already" in again.stderr) == (1, True)
    missing = launched(tmp_path, "--steps=orders", "--run=two", "--source_orders=")
    assert "Nothing says where source 'orders' is." in missing.stderr


def test_beams_options_are_left_to_beam(tmp_path: Path) -> None:
    written(tmp_path)
    plan = json.loads((tmp_path / "out" / "image" / "steps.json").read_text())
    words = ["--steps=joined", "--root=gs://b/t/", "--run=one", "--runner=DataflowRunner", "--region=r"]
    found, beams = flex_main.parse(words, plan)
    assert beams == ["--runner=DataflowRunner", "--region=r"]
    assert found.folder("joined") == "gs://b/t/late_orders/one/joined/table"


def test_workers_get_what_the_image_holds(tmp_path: Path) -> None:
    here = image.write_worker(str(tmp_path / "image"), ["ingest"], [])
    staged = flex_main.staged([], here.folder)
    assert [word.partition("=")[0] for word in staged] == [
        "--extra_package",
        "--requirements_file",
        "--requirements_cache",
    ]
    assert Path(staged[0].partition("=")[2]).is_file() and Path(staged[1].partition("=")[2]).is_file()
    assert flex_main.staged(["--sdk_container_image=worker:1"], here.folder) == staged[:1]


def test_the_main_program_needs_nothing_of_the_pipeline() -> None:
    """It is copied beside the wheel for workers, which holds `beam_jobs`."""
    text = Path(flex_main.__file__).read_text()
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in imports if "pipeline" in line.replace("pipeline_options", "") or "components" in line]
