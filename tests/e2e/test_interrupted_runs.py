"""A run that is cut off, at any moment and in any way: nothing stays half-written, and the same command finishes it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from sales_project import Braid, Project, assert_nothing_half_written, latest, ledgers, states

from pipeline import runs

RUN = ("run", "sales.yaml", "--workspace", "ws")
SECONDS = 120
PATIENCE = 0.002


def start(project: Project) -> subprocess.Popen[str]:
    """`braid run` as a shell would start it: in a process group of its own."""
    command = [sys.executable, "-c", "from pipeline.cli.main import main; main()", *RUN]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def begun(project: Project, step: str) -> Callable[[], bool]:
    """Whether a step of the run, or of a later one than were there before, has made its folders."""
    root = project.workspace / "sales" / step
    before = set(root.glob("*/*"))
    return lambda: bool(set(root.glob("*/*")) - before)


def interrupt(project: Project, number: int, moment: Callable[[], bool], delay: float) -> tuple[int, str]:
    """Sends the signal to the group `delay` seconds after the moment; returns exit code and what was told."""
    process = start(project)
    until = time.monotonic() + SECONDS
    while not moment() and process.poll() is None and time.monotonic() < until:
        time.sleep(PATIENCE)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, number)
    _, told = process.communicate(timeout=SECONDS)
    return process.returncode, told


def executions(project: Project) -> list[int]:
    """The states of all executions."""
    path = project.workspace / "metadata.sqlite"
    return [e.last_known_state for e in runs.connect(str(path)).get_executions()] if path.exists() else []


def metrics(workspace: Path) -> object:
    run = latest(workspace)
    step = run.step("evaluate")
    assert step is not None
    report = json.loads((Path(step.outputs["evaluation"][0].uri) / "metrics.json").read_text())
    return report["splits"], report["decision"]


def assert_serves(project: Project) -> None:
    """`current` names a whole model."""
    current = project.workspace / "sales" / "serving" / "current"
    assert {file.name for file in current.iterdir()} == {"model.ubj", "contract.json"}
    assert json.loads((current / "contract.json").read_text())["label"] == "late"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, object]:
    """Ledgers and metrics of a run that nobody cut off."""
    from sales_project import SALES

    from pipeline.cli.main import main

    project = Project(tmp_path_factory.mktemp("undisturbed"))
    project.configure()
    project.write("sales.csv", SALES)
    main(["run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace)])
    return ledgers(latest(project.workspace)), metrics(project.workspace)


def at_once() -> bool:
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "step", "code"),
    [
        (signal.SIGINT, "", 130),
        (signal.SIGINT, "sales", 130),
        (signal.SIGINT, "select", 130),
        (signal.SIGTERM, "orders", 143),
    ],
    ids=["Ctrl-C while loading", "Ctrl-C in a source", "Ctrl-C in a step of learning", "SIGTERM in a prepare step"],
)
def test_stopped_tidily_and_finished_by_the_same_command(
    number: int, step: str, code: int, project: Project, braid: Braid, undisturbed: tuple[object, object]
) -> None:
    moment = begun(project, step) if step else at_once
    ended, told = interrupt(project, number, moment, 0.02 if step else 1.5)
    assert ended == code
    assert told.strip() == "Stopped. Finished steps are kept: the same command goes on from there."
    assert pb.Execution.RUNNING not in executions(project)
    assert_nothing_half_written(project.workspace)
    assert braid(*RUN).code == 0
    assert_nothing_half_written(project.workspace)
    assert (ledgers(latest(project.workspace)), metrics(project.workspace)) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("step", ["sales", "orders", "statistics", "select", "train", "evaluate"])
def test_killed_and_finished_by_the_same_command(
    step: str, project: Project, braid: Braid, undisturbed: tuple[object, object]
) -> None:
    delay = random.Random(step).uniform(0, 0.1)
    ended, _ = interrupt(project, signal.SIGKILL, begun(project, step), delay)
    assert ended == -signal.SIGKILL
    assert braid(*RUN).code == 0
    assert_nothing_half_written(project.workspace)
    assert (ledgers(latest(project.workspace)), metrics(project.workspace)) == undisturbed
    assert_serves(project)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["train", "push"])
def test_a_model_serves_whenever_a_later_run_is_killed(step: str, project: Project, braid: Braid) -> None:
    assert braid(*RUN).code == 0
    assert_serves(project)
    project.configure(
        ("rounds: 10", "rounds: 20"), more="\nevaluate: {champion: null, thresholds: {auc: {min: 0.5}}}\n"
    )
    interrupt(project, signal.SIGKILL, begun(project, step), random.Random(step).uniform(0, 0.01))
    assert_serves(project)
    assert braid(*RUN).code == 0
    assert_nothing_half_written(project.workspace)
    assert_serves(project)
    assert states(latest(project.workspace))["select"] == "CACHED"


@pytest.mark.slow
def test_a_second_run_of_a_pipeline_is_refused_while_the_first_goes_on(project: Project, braid: Braid) -> None:
    first = start(project)
    moment = begun(project, "sales")
    while not moment() and first.poll() is None:
        time.sleep(PATIENCE)
    second = braid(*RUN)
    _, told = first.communicate(timeout=SECONDS)
    assert (first.returncode, told) == (0, "")
    assert second.code == 1
    assert f"Pipeline 'sales' is already running in workspace '{project.workspace}' (process {first.pid})" in second.err
    assert braid(*RUN).code == 0
    assert set(states(latest(project.workspace)).values()) == {"CACHED"}
