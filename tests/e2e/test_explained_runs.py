"""`braid explain` of real runs: hit or miss, and which part of what the step depends on differed, from what to what."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sales_project import SALES, Braid, Project, latest

from pipeline.cli.main import main
from pipeline.code_modules import project_roots

Explain = Callable[..., list[dict[str, Any]]]
PLACE = ("--workspace", "ws")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's packages, whose code counts as that of the steps."""
    folder = tmp_path_factory.mktemp("packages")
    for name, path in project_roots().items():
        shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Project:
    """A project that has run up to the training."""
    project = Project(tmp_path_factory.mktemp("explained"))
    project.configure()
    project.write("sales.csv", SALES)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.code_closure.project_roots", lambda: copied(packages))
        main(["run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace), "--to", "train"])
    return project


@pytest.fixture
def project(ran: Project, packages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(ran.folder)
    monkeypatch.setattr("pipeline.code_closure.project_roots", lambda: copied(packages))
    ran.configure()
    ran.write("sales.csv", SALES)
    yield ran


def copied(packages: Path) -> dict[str, str]:
    return {name: str(packages / name) for name in project_roots()}


@pytest.fixture
def explain(braid: Braid, project: Project) -> Explain:
    """Runs up to the training and returns what is told of a step."""

    def command(step: str, *options: str) -> list[dict[str, Any]]:
        outcome = braid("run", "sales.yaml", *PLACE, "--to", "train", *options)
        assert outcome.code == 0, outcome.err
        told: list[dict[str, Any]] = json.loads(braid("explain", f"latest/{step}", *PLACE, "--json").out)
        return told

    return command


def deciding(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(reason["kind"], reason["what"]) for reason in told["reasons"] if reason["decides"]]


def words(braid: Braid, step: str) -> str:
    return braid("explain", f"latest/{step}", *PLACE).out


def test_the_first_time(project: Project, braid: Braid) -> None:
    first = latest(project.workspace).name
    assert "train ran.\n  The step had never run before." in braid("explain", f"{first}/train", *PLACE).out


def test_from_the_cache(explain: Explain, braid: Braid) -> None:
    (told,) = explain("train")
    assert (told["reused"], deciding(told)) == (True, [])
    assert f"came from the cache: it reuses what {told['earlier']['run']}/train wrote." in words(braid, "train")


def test_a_parameter(explain: Explain, project: Project, braid: Braid) -> None:
    project.configure(("rounds: 10", "rounds: 12"))
    (told,) = explain("train")
    assert deciding(told) == [("parameter", "config.rounds")]
    assert "parameter config.rounds: 10 -> 12" in words(braid, "train")


def test_a_query_and_what_follows_from_it(explain: Explain, project: Project, braid: Braid) -> None:
    project.configure(("FROM sales", "FROM sales WHERE id <> 7"))
    told = {one["execution"]["step"]: deciding(one) for one in explain("train")}
    assert sorted(told["train"]) == [("input", "examples"), ("input", "importances")]
    assert told["orders"] == [("parameter", "config.sql")]
    shown = words(braid, "train")
    assert "-FROM sales" in shown and "+FROM sales WHERE id <> 7" in shown


def test_a_source_file(explain: Explain, project: Project, braid: Braid) -> None:
    project.write("sales.csv", SALES + "2000,2024-10-26,5.5,north,a,0\n")
    told = {one["execution"]["step"]: deciding(one) for one in explain("orders")}
    assert told["orders"] == [("input", "sources")]
    assert told["sales"] == [("source file", str(project.folder / "sales.csv"))]


def test_code_by_the_names_of_definitions(explain: Explain, project: Project, packages: Path, braid: Braid) -> None:
    file = packages / "components/trainer/training.py"
    original = file.read_text()
    changed = original.replace(
        "ROUNDS_A_NOTE = 10", "ROUNDS_A_NOTE = _tens(1)\n\n\ndef _tens(n: int) -> int:\n    return n * 10"
    )
    assert changed != original
    file.write_text(changed)
    try:
        (told,) = explain("train")
    finally:
        file.write_text(original)
    module = "components.trainer.training"
    assert sorted(deciding(told)) == [("code", f"{module}.ROUNDS_A_NOTE"), ("code", f"{module}._tens")]
    shown = words(braid, "train")
    assert f"code edited: {module}.ROUNDS_A_NOTE\n" in shown and f"code added: {module}._tens\n" in shown


def test_the_lock(explain: Explain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.run_facts.of_code", lambda: {"code_commit": "", "code_dirty": 0, "lock_digest": "x"})
    (told,) = explain("sales")
    assert deciding(told) == [("environment", "lock")]


def test_outputs_that_are_gone(explain: Explain, project: Project, braid: Braid) -> None:
    """The reason is the loss, although the step has come out otherwise meanwhile."""
    project.configure(("rounds: 10", "rounds: 13"))
    explain("train")
    step = latest(project.workspace).step("train")
    assert step is not None
    folder = step.outputs["model"][0].uri
    project.configure(("rounds: 10", "rounds: 14"))
    explain("train")
    shutil.rmtree(folder)
    project.configure(("rounds: 10", "rounds: 13"))
    (told,) = explain("train")
    assert [kind for kind, _ in deciding(told)] == ["outputs gone"]
    assert f"could not be reused: '{folder}' is gone" in words(braid, "train")


def test_a_step_that_was_forced(explain: Explain, braid: Braid) -> None:
    (told, *_) = explain("train", "--from", "train")
    assert deciding(told) == [("forced", "--from train")]
    assert "--from train: it was to run, whatever the cache holds" in words(braid, "train")


def test_other_artifacts_with_the_same_content(explain: Explain, project: Project, braid: Braid) -> None:
    explain("sales", "--from", "sales", "--to", "sales")
    (told,) = explain("orders")
    assert (told["reused"], deciding(told)) == (True, [])
    (other,) = [reason for reason in told["reasons"] if reason["kind"] == "input"]
    assert other["note"] == "another artifact with the same content"


def test_code_that_was_edited_while_it_ran(
    explain: Explain, project: Project, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.trainer.executor import Executor

    file, original = packages / "components/trainer/training.py", Executor.Do
    content = file.read_text()

    def edit_and_do(*arguments: object) -> None:
        file.write_text(content.replace("ROUNDS_A_NOTE = 10", "ROUNDS_A_NOTE = 11"))
        original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Executor, "Do", edit_and_do)
        explain("train", "--set", "train.rounds=15")
    try:
        (told,) = explain("train", "--set", "train.rounds=15")
    finally:
        file.write_text(content)
    assert deciding(told) == [("edited", "components.trainer.training.ROUNDS_A_NOTE")]


def test_a_step_that_had_to_come_from_the_cache(project: Project, braid: Braid) -> None:
    project.configure(("FROM sales", "FROM sales WHERE id <> 8"))
    outcome = braid("run", "sales.yaml", *PLACE, "--only", "select")
    assert outcome.code == 1
    name = latest(project.workspace).name
    assert f"braid explain {name}/orders" in outcome.err
    (told,) = json.loads(braid("explain", f"{name}/orders", *PLACE, "--json").out)
    assert (told["state"], deciding(told)[0]) == ("FAILED", ("parameter", "config.sql"))


@pytest.mark.parametrize("name", ["latest/trian", "nothing/train", "latest/train/x"])
def test_what_is_not_there(name: str, project: Project, braid: Braid) -> None:
    outcome = braid("explain", name, *PLACE)
    assert outcome.code == 1
    assert outcome.err.startswith("Error: ") and "Traceback" not in outcome.err
