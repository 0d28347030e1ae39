"""A life after training: `braid models`, `braid rollback`, and what runs, scores and questions make of it afterwards."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from sales_project import SALES, Braid, Outcome, Project

from pipeline import runs, stores
from pipeline.lineage import ancestry
from pipeline.lineage.archive import Archive
from pipeline.workspace import Workspace

HERE = ("--workspace", "ws")
WHY = "late orders are scored too low"


@pytest.fixture
def twice(project: Project, braid: Braid) -> Project:
    """Two versions were pushed, the second of which serves and has scored a table."""
    project.configure(more="evaluate: {champion: {at_most_worse: 1}}\n")
    assert braid().code == 0
    project.configure(("rounds: 10", "rounds: 20"), more="evaluate: {champion: {at_most_worse: 1}}\n")
    assert braid().code == 0
    project.write("new.csv", "\n".join(SALES.splitlines()[:101]) + "\n")
    assert braid("score", "sales", "new.csv", "--to", "out", *HERE).code == 0
    return project


def models(braid: Braid) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(braid("models", "--json", *HERE).out)
    return found


def states(braid: Braid) -> dict[str, str]:
    return {one["version"]: one["state"] for one in models(braid)}


def current(project: Project) -> str:
    return (project.workspace / "sales/serving/current").readlink().name


def decision(outcome: Outcome) -> str:
    assert outcome.code == 0, outcome.err
    return outcome.out[outcome.out.index("Blessed") : outcome.out.index("Where things are")]


def test_the_life_of_a_model(twice: Project, braid: Braid) -> None:
    _listed(braid)
    _scored_again(twice, braid, _rolled_back(twice, braid))
    _not_pushed_again(twice, braid)
    _questions_tell_the_truth(twice, braid)
    _a_new_model_is_held_against_the_one_that_serves(twice, braid)
    _put_back(twice, braid)


def _listed(braid: Braid) -> None:
    first, second = models(braid)
    assert (first["state"], second["state"]) == ("", "serves")
    assert (second["family"], second["split"], second["blessed"]) == ("xgboost", "test", True)
    auc = second["metrics"]["auc"]
    assert 0.5 < auc["low"] < auc["value"] < auc["high"] < 1
    told = braid("models", "sales", *HERE).out
    assert "00000002  serves" in told
    assert f"{auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}]" in told
    assert second["run"] in told
    assert "Did you mean 'sales'?" in braid("models", "sale", *HERE).err


def _rolled_back(project: Project, braid: Braid) -> list[str]:
    """The command that scores again, in words."""
    assert "needs a reason" in braid("rollback", "sales", *HERE).err
    assert current(project) == "00000002"
    told = braid("rollback", "sales", "--why", WHY, "--by", "ann", *HERE)
    assert (told.code, current(project)) == (0, "00000001")
    assert "Version 00000001 of 'sales' serves" in told.out
    assert f"- {project.folder}/out (run sales-score-" in told.out
    assert "100 rows" in told.out
    (again,) = [line.strip() for line in told.out.splitlines() if line.strip().startswith("braid score")]
    words = shlex.split(again)
    assert words[2:4] in (["sales", "new.csv"], ["sales", str(project.folder / "new.csv")])
    assert {"--to", "--force", "--workspace"} <= set(words), "it can be typed anywhere"
    assert states(braid) == {"00000001": "serves", "00000002": "withdrawn"}
    assert f"00000002 was withdrawn by ann: {WHY}" in braid("models", *HERE).out
    return words


def _scored_again(project: Project, braid: Braid, words: list[str]) -> None:
    before = json.loads((project.folder / "out/_predictions.json").read_text())
    assert braid(*words[1:]).code == 0
    after = json.loads((project.folder / "out/_predictions.json").read_text())
    first, second = models(braid)
    assert (before["model"]["artifact"], after["model"]["artifact"]) == (second["model"], first["model"])


def _not_pushed_again(project: Project, braid: Braid) -> None:
    for outcome in (braid(), braid("run", "sales.yaml", "--from", "evaluate", *HERE)):
        assert f"Not pushed: This very model was withdrawn as version 00000002 by ann: {WHY}" in decision(outcome)
        assert current(project) == "00000001"


def _questions_tell_the_truth(project: Project, braid: Braid) -> None:
    archive = Archive(stores.open_store(Workspace(str(project.workspace)).store))
    first, second = models(braid)
    found = ancestry.up(archive, str(first["model"]))
    assert first["model"] in found.serving
    assert second["model"] not in ancestry.up(archive, str(second["model"])).serving
    up = braid("lineage", "up", str(project.workspace / "sales/serving/current"), *HERE)
    assert f"serving now from {project.workspace}/sales/serving/00000001" in up.out
    down = braid("lineage", "down", str(project.workspace / "sales/serving/00000002"), *HERE)
    assert (down.code, "Rollback" in down.out) == (0, True)
    for question in (("verify",), ("waste",), ("gc",)):
        assert braid("lineage", *question, *HERE).code == 0
    (name, *_) = [run.name for run in runs.list_runs(archive.store)]
    assert name.startswith("sales-"), "a rollback is no run"


def _a_new_model_is_held_against_the_one_that_serves(project: Project, braid: Braid) -> None:
    project.configure(("rounds: 10", "rounds: 15"), more="evaluate: {champion: {at_most_worse: 1}}\n")
    told = decision(braid())
    first, *_ = models(braid)
    assert f"the champion's on the same rows {first['metrics']['auc']['value']:.4f}" in told
    assert (current(project), states(braid)["00000002"]) == ("00000003", "withdrawn")


def _put_back(project: Project, braid: Braid) -> None:
    told = json.loads(braid("rollback", "sales", "--to", "2", "--why", "it was right", "--json", *HERE).out)
    assert (told["withdrawn"], told["serves"], told["predictions"]) == ("00000003", "00000002", [])
    project.configure(("rounds: 10", "rounds: 20"), more="evaluate: {champion: {at_most_worse: 1}}\n")
    assert "Serving:" in decision(braid()), "what is put back may be pushed"
    assert current(project) == "00000002"
    assert states(braid) == {"00000001": "", "00000002": "serves", "00000003": "withdrawn"}


def test_a_model_whose_folder_was_altered_is_used_for_nothing(twice: Project, braid: Braid) -> None:
    served = Path(twice.workspace, "sales/serving/00000002/model.ubj")
    served.write_bytes(served.read_bytes()[:-1] + b"x")
    refused = braid("score", "sales", "new.csv", "--to", "other", *HERE)
    assert (refused.code, "'model.ubj' was altered" in refused.err) == (1, True)
    assert not (twice.folder / "other").exists()
    assert braid("rollback", "sales", "--why", "altered", *HERE).code == 0
    assert braid("score", "sales", "new.csv", "--to", "other", *HERE).code == 0


def test_nothing_was_pushed_yet(project: Project, braid: Braid) -> None:
    assert "has not been" in (told := braid("models", *HERE)).err or told.code == 1
    project.configure(more="evaluate: {thresholds: {auc: {min: 0.999}}}\n")
    assert braid().code == 0
    assert braid("models", *HERE).out.strip() == "No model was pushed yet."
    refused = braid("rollback", "sales", "--why", "x", *HERE)
    assert "has not pushed a model yet" in refused.err
