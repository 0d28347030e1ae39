"""`braid run --target dataflow` against the service on loopback: the same results, records, and what becomes of a job that is left."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cloud.loopback_cloud import Cloud
from cloud.misbehaviour import FailsHalfWay, WorkerKilled, WorkersComeLate
from pyarrow import parquet
from sales_project import SALES, Project, digests, latest, ledgers, states

from pipeline import runs, stores
from pipeline.cli.main import main
from pipeline.workspace import Workspace

pytestmark = pytest.mark.long
JOBS = ("sales", "orders", "statistics", "evaluate")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """The same run from a local file, on the in-process runner."""
    made = Project(tmp_path_factory.mktemp("here"))
    made.write("sales.csv", SALES)
    made.configure()
    return run(made)


@pytest.fixture
def project(tmp_path: Path, cloud: Cloud) -> Project:
    """The sales, in the bucket, and a configuration that reads them there."""
    made = Project(tmp_path / "project")
    path = cloud.bucket.put("in/sales.csv", SALES)
    made.configure(("path: sales.csv", f"path: '{path}'"))
    return made


def target(cloud: Cloud) -> list[str]:
    own = {"project": "test", "bucket": cloud.bucket.name, "endpoint": cloud.service.address, "max_workers": "2"}
    return ["--target", "dataflow", *(word for key, value in own.items() for word in ("--set", f"{key}={value}"))]


def run(project: Project, *more: str) -> runs.Run:
    main(["run", str(project.folder / "sales.yaml"), *more, "--workspace", str(project.workspace)])
    return latest(project.workspace)


def names(paths: Sequence[str]) -> set[str]:
    return {os.path.basename(path) for path in paths}


def own(counters: dict[str, int]) -> dict[str, int]:
    """Braid's own; those of TFX's libraries tell of how they batch."""
    return {name: value for name, value in counters.items() if not name.startswith("tfx.")}


def braid(*words: str) -> int:
    """The exit code."""
    try:
        main(list(words))
    except SystemExit as end:
        return int(str(end.code or 0))
    return 0


def test_a_run_there_is_the_run_here(here: runs.Run, project: Project, cloud: Cloud) -> None:
    there = run(project, *target(cloud))
    assert digests(there) == digests(here)
    assert ledgers(there) == ledgers(here)
    assert len(cloud.service.jobs) == len(JOBS)
    for step in there.steps:
        twin = here.step(step.name)
        assert twin is not None
        if step.name in JOBS:
            job = next(job for job in cloud.service.jobs.values() if job.id == step.properties["job_id"])
            assert job.state == "JOB_STATE_DONE"
            assert step.properties["job_name"] == job.name
            assert (step.properties["target"], step.properties["runner"]) == ("dataflow", "DataflowRunner")
            assert step.properties["job_link"].endswith(f"/us-central1/{job.id}?project=test")
            assert step.properties["worker_hours"] > 0
            assert step.properties["worker_wheel"] in job.staged
            labels = {"pipeline": "sales", "run": there.name, "step": step.name}
            assert labels.items() <= job.request["labels"].items()
            assert own(step.properties["counters"]) == own(twin.properties["counters"])
            for files in ("io_sources", "io_sinks"):
                assert names(twin.properties[files]) <= names(step.properties[files])
        for outputs in step.outputs.values() if not step.is_resolver else ():
            assert [output.uri.startswith(cloud.bucket.url) for output in outputs] == [True] * len(outputs)


def test_a_second_run_submits_nothing(project: Project, cloud: Cloud) -> None:
    run(project, *target(cloud))
    jobs = list(cloud.service.jobs)
    again = run(project, *target(cloud))
    assert set(states(again).values()) == {"CACHED"}
    assert list(cloud.service.jobs) == jobs


def test_what_has_run_here_goes_on_there_and_comes_back(project: Project, cloud: Cloud) -> None:
    """Workers cannot read what lies here: tables are made once more there, and the champion is taken along."""
    first = run(project)
    there = run(project, "--set", "train.rounds=12", *target(cloud))
    assert states(there)["orders"] == "COMPLETE"
    assert "where workers cannot read it" in there.step("orders").properties["cache_unusable"]  # type: ignore[union-attr]
    assert digests(there)["orders.examples"] == digests(first)["orders.examples"]
    assert any("/.staged/" in name for name in cloud.bucket.names)
    assert len(cloud.service.jobs) == len(JOBS)
    back = run(project)
    assert states(back)["orders"] == "CACHED"


def test_a_model_scores_there_as_it_scores_here(project: Project, cloud: Cloud) -> None:
    run(project)
    table, workspace = f"{cloud.bucket.url}/in/sales.csv", ["--workspace", str(project.workspace)]
    assert braid("score", "latest", table, "--to", str(project.folder / "here"), *workspace) == 0
    assert braid("score", "latest", table, "--to", str(project.folder / "there"), *workspace, *target(cloud)) == 0
    here, there = (parquet.read_table(project.folder / name) for name in ("here", "there"))
    assert there.equals(here) and there.num_rows == 2_000
    assert len(cloud.service.jobs) >= 2


def test_a_detached_job_is_attached_to(project: Project, cloud: Cloud) -> None:
    late = WorkersComeLate()
    cloud.service.misbehave(late)
    words = ["run", str(project.folder / "sales.yaml"), *target(cloud), "--workspace", str(project.workspace)]
    assert braid(*words, "--detach") == 0
    left = latest(project.workspace)
    assert states(left) == {"sales": "RUNNING"}
    late.come.set()
    cloud.service.misbehave()
    assert braid("attach", "--workspace", str(project.workspace)) == 0
    after = latest(project.workspace)
    assert after.name == left.name and set(states(after).values()) == {"COMPLETE"}
    assert len(cloud.service.jobs) == len(JOBS)


def test_a_job_that_is_left_is_cancelled(project: Project, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.service.misbehave(WorkersComeLate())
    words = ["run", str(project.folder / "sales.yaml"), *target(cloud), "--workspace", str(project.workspace)]
    assert braid(*words, "--detach") == 0
    assert "braid attach" in capsys.readouterr().err
    assert braid("cancel", "--workspace", str(project.workspace)) == 0
    assert cloud.service.job.state == "JOB_STATE_CANCELLED"
    assert states(latest(project.workspace)) == {"sales": "CANCELED"}
    assert braid("cancel", "--workspace", str(project.workspace)) == 1
    assert "waits for no job" in capsys.readouterr().err
    cloud.service.misbehave()
    assert braid(*words) == 0
    assert set(states(latest(project.workspace)).values()) == {"COMPLETE"}


def test_a_job_that_is_left_is_not_run_over(project: Project, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    """Another query, another place: while the job is under way nothing touches its outputs."""
    late = WorkersComeLate()
    cloud.service.misbehave(late)
    words = ["run", str(project.folder / "sales.yaml"), *target(cloud), "--workspace", str(project.workspace)]
    assert braid(*words, "--detach") == 0
    assert braid("run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace)) == 1
    told = capsys.readouterr().err
    assert "is to run elsewhere now" in told and "braid cancel" in told
    late.come.set()
    assert cloud.service.job.wait() == "JOB_STATE_DONE"
    assert braid("run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace)) == 0


def test_a_worker_that_fails_is_told_as_if_it_had_failed_here(
    project: Project, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    config = project.folder / "sales.yaml"
    config.write_text(
        config.read_text().replace("late = 1 AS late", "CAST(replace(kind, 'b', 'x') AS INT) = 1 AS late")
    )
    words = [str(config), *target(cloud), "--workspace", str(project.workspace)]
    assert braid("run", *words) == 1
    told = capsys.readouterr().err
    assert "Step 'orders' failed on row" in told and "apache_beam" not in told
    assert "console.cloud.google.com" in told
    failed = latest(project.workspace)
    assert states(failed) == {"sales": "COMPLETE", "orders": "FAILED"}
    assert failed.step("orders").properties["job_state"] == "FAILED"  # type: ignore[union-attr]
    capsule = project.folder / "capsule"
    debug = ["debug", "latest/orders", "--workspace", str(project.workspace), "--to", str(capsule), "--run"]
    braid(*debug)
    told = "".join(capsys.readouterr())
    assert (capsule / "replay.py").exists()
    assert "Could not convert string" in told


def test_a_worker_that_is_lost_changes_nothing(here: runs.Run, project: Project, cloud: Cloud) -> None:
    cloud.service.misbehave(WorkerKilled())
    there = run(project, *target(cloud))
    assert digests(there) == digests(here)
    struck = [job for job in cloud.service.jobs.values() if list(job.folder.glob("chosen"))]
    assert struck and all(job.state == "JOB_STATE_DONE" for job in struck)


def test_a_job_that_failed_is_done_again(project: Project, cloud: Cloud) -> None:
    cloud.service.misbehave(FailsHalfWay(bundles=1))
    words = ["run", str(project.folder / "sales.yaml"), *target(cloud), "--workspace", str(project.workspace)]
    assert braid(*words) == 1
    cloud.service.misbehave()
    assert braid(*words, "--resume", "latest") == 0
    assert set(states(latest(project.workspace)).values()) == {"COMPLETE"}


class Orchestrator:
    """`braid run` in a process of its own, which may be killed."""

    def __init__(self, project: Project, words: Sequence[str]) -> None:
        self._log = project.folder / "orchestrator.log"
        program = [sys.executable, Path(__file__).with_name("orchestrator.py"), "run", project.folder / "sales.yaml"]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [*map(str, program), *words, "--workspace", str(project.workspace)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def told(self) -> str:
        """What it, and those before it, have printed."""
        return self._log.read_text()

    def stop(self, how: int) -> int:
        os.kill(self.process.pid, how)
        return self.process.wait(60)

    def wait(self, seconds: float = 300) -> int:
        return self.process.wait(seconds)


def until(true: Callable[[], Any], seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def recorded_id(project: Project) -> str:
    """The id of the job that the run waits for, '' before it is recorded."""
    path = project.workspace / "metadata.sqlite"
    if not path.exists():
        return ""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        try:
            found = store.execute("SELECT string_value FROM ExecutionProperty WHERE name = 'job_id'").fetchall()
        except sqlite3.OperationalError:  # it is being made
            return ""
    return next((name for (name,) in found if name), "")


@pytest.mark.parametrize("moment", ["submitted", "running", "done"])
def test_kill_9_then_the_same_command_is_one_job_and_one_result(
    here: runs.Run, project: Project, cloud: Cloud, moment: str
) -> None:
    late = WorkersComeLate()
    cloud.service.misbehave(late)
    first = Orchestrator(project, target(cloud))
    until(lambda: cloud.service.jobs if moment == "submitted" else recorded_id(project))
    first.stop(signal.SIGKILL)
    if moment == "done":
        late.come.set()
        assert cloud.service.job.wait() == "JOB_STATE_DONE"
    second = Orchestrator(project, target(cloud))
    late.come.set()
    cloud.service.misbehave()
    assert second.wait() == 0, second.told
    after = latest(project.workspace)
    assert digests(after) == digests(here)
    assert len(cloud.service.jobs) == len(JOBS)
    assert [one.name for one in runs.list_runs(stores.open_store(Workspace(str(project.workspace)).store))] == [
        after.name
    ]


def test_a_stopped_process_leaves_the_job_and_says_how_to_go_on(project: Project, cloud: Cloud) -> None:
    late = WorkersComeLate()
    cloud.service.misbehave(late)
    first = Orchestrator(project, target(cloud))
    until(lambda: recorded_id(project))
    assert first.stop(signal.SIGTERM) == 143
    told = first.told
    assert "Left running" in told and "braid attach" in told
    assert cloud.service.job.state == "JOB_STATE_RUNNING"
    late.come.set()
    second = Orchestrator(project, target(cloud))
    assert second.wait() == 0, second.told
    assert len(cloud.service.jobs) == len(JOBS)
