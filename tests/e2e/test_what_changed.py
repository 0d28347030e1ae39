"""One byte of a source changes: diff, why, verify, gc and pin on real runs of a small project."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sales_project import SALES, Braid, Project

from pipeline import stores

WORKSPACE = ("--workspace", "ws")
CHANGED = SALES.replace(",north,", ",nOrth,", 1)


def ask(braid: Braid, *arguments: str, code: int = 0) -> Any:
    """The answer of a question as a program reads it."""
    outcome = braid("lineage", *arguments, *WORKSPACE, "--json")
    assert outcome.code == code, outcome.err
    return json.loads(outcome.out)


def ask_any(braid: Braid, *arguments: str) -> Any:
    """The same for a question that may be answered with exit code 1."""
    return json.loads(braid("lineage", *arguments, *WORKSPACE, "--json").out)


def run(braid: Braid) -> str:
    """Runs the project; returns the run's name."""
    outcome = braid()
    assert outcome.code == 0, outcome.err
    name: str = json.loads(braid("show", *WORKSPACE, "--json").out)["name"]
    return name


def states(braid: Braid, name: str) -> dict[str, str]:
    steps = json.loads(braid("show", name, *WORKSPACE, "--json").out)["steps"]
    return {step["name"]: step["state"] for step in steps if not step["type"].endswith("Resolver")}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def two_runs(project: Project, braid: Braid) -> Iterator[tuple[str, str]]:
    """A run, and one after a byte of the source has changed."""
    first = run(braid)
    project.write("sales.csv", CHANGED)
    assert len(CHANGED) == len(SALES)
    yield first, run(braid)


@pytest.mark.slow
def test_a_changed_byte_is_the_first_cause_and_a_changed_source(project: Project, braid: Braid) -> None:
    first = run(braid)
    assert ask(braid, "verify")["sound"]
    project.write("sales.csv", CHANGED)
    source = str(project.folder / "sales.csv")
    found = ask(braid, "verify", code=1)
    assert [(one["problem"], one["place"]) for one in found["findings"]] == [("source changed", source)]

    second = run(braid)
    changes = ask(braid, "diff", first, second)["changes"]
    assert (changes[0]["kind"], changes[0]["where"]) == ("source file", f"sales: {source}")
    assert changes[0]["before"]["size"] == changes[0]["after"]["size"]
    assert changes[0]["before"]["digest"] != changes[0]["after"]["digest"]
    kinds = [change["kind"] for change in changes]
    assert "content" in kinds and "configuration" not in kinds
    assert ask(braid, "diff", second, second)["changes"] == []

    assert ask(braid, "verify")["sound"]
    assert [one["problem"] for one in ask(braid, "verify", first, code=1)["findings"]] == ["source changed"]
    assert ask(braid, "verify", second)["sound"]

    last = ask(braid, "why", f"{second}/orders")
    assert [(one["execution"]["step"], one["reasons"][0]["kind"]) for one in last] == [
        ("orders", "input"),
        ("sales", "source file"),
    ]
    assert last[1]["reasons"][0]["what"] == source


@pytest.mark.slow
def test_what_gc_removed_runs_again_and_why_says_so(project: Project, braid: Braid) -> None:
    project.configure(more="\nevaluate: {thresholds: {auc: {min: 0.999}}}\n")  # so that nothing serves
    steps = states(braid, run(braid)).keys()
    assert states(braid, run(braid)) == dict.fromkeys(steps, "CACHED")
    before = files(project.workspace / "sales")

    planned = ask(braid, "gc", "--days", "0")
    assert {one["step"] for one in planned["removals"]} == steps
    assert (planned["deleted"], planned["kept_runs"]) == ([], {})
    assert files(project.workspace / "sales") == before
    collected = ask(braid, "gc", "--days", "0", "--delete")
    assert collected["deleted"] == [one["path"] for one in planned["removals"]]
    assert files(project.workspace / "sales").keys() == {str(project.workspace / "sales" / "lock")}
    assert ask(braid, "gc", "--days", "0")["removals"] == []
    found = ask(braid, "verify")
    assert (found["sound"], found["removed"]) == (True, len(planned["removals"]))

    again = run(braid)
    assert states(braid, again) == dict.fromkeys(steps, "COMPLETE")
    (why,) = ask(braid, "why", f"{again}/sales")
    assert [(reason["kind"], reason["decides"]) for reason in why["reasons"]] == [("outputs gone", True)]
    assert "removed by gc" in why["reasons"][0]["note"]


@pytest.mark.slow
def test_gc_keeps_what_serves_and_all_that_it_was_made_from(braid: Braid, two_runs: tuple[str, str]) -> None:
    found = ask(braid, "gc", "--days", "0", "--delete")
    (serving,) = found["kept_runs"]
    assert found["kept_runs"] == {serving: "serving"}
    assert found["deleted"]
    assert {one["run"] for one in found["removals"]} == {*two_runs} - {serving}
    for name in ("train", "orders", "sales", "push"):
        assert [one["problem"] for one in ask_any(braid, "verify", f"{serving}/{name}")["findings"]] in (
            [],
            ["source changed"],
        )
    assert ask(braid, "diff", *two_runs)["changes"][0]["kind"] == "source file"


@pytest.mark.slow
def test_a_pinned_run_stays_until_it_is_let_go(project: Project, braid: Braid, two_runs: tuple[str, str]) -> None:
    assert braid("lineage", "pin", two_runs[0], *WORKSPACE).out == f"Run {two_runs[0]} is pinned.\n"
    assert braid("lineage", "pin", *WORKSPACE).out == f"{two_runs[0]}\n"
    assert braid("lineage", "pin", two_runs[1], *WORKSPACE).code == 0
    before = files(project.workspace / "sales")
    found = ask(braid, "gc", "--days", "0", "--delete")
    assert (found["deleted"], set(found["kept_runs"])) == ([], set(two_runs))
    assert files(project.workspace / "sales") == before
    for name in two_runs:
        assert braid("lineage", "pin", name, "--off", *WORKSPACE).out == f"Run {name} is not pinned any more.\n"
    assert braid("lineage", "pin", *WORKSPACE).out == "No run is pinned.\n"
    assert ask(braid, "gc", "--days", "0")["removals"]


@pytest.mark.slow
def test_answers_for_people(project: Project, braid: Braid, two_runs: tuple[str, str]) -> None:
    first, second = two_runs

    def said(*arguments: str, code: int = 0) -> str:
        outcome = braid("lineage", *arguments, *WORKSPACE)
        assert outcome.code == code, outcome.err
        return outcome.out

    source = str(project.folder / "sales.csv")
    assert f"First cause: source file sales: {source}" in said("diff", first, second)
    assert "No difference." in said("diff", second, second)
    assert f"source file {source}: digest " in said("why", f"{second}/train")
    assert f"{first}/sales ran.\n  The step had never run before." in said("why", f"{first}/sales")
    assert "in all" in said("waste")
    assert "Nothing is wrong." in said("verify")
    assert "source changed" in said("verify", first, code=1)
    assert "There is nothing to delete." in said("gc")
    assert "Nothing was deleted; `--delete` frees" in said("gc", "--days", "0", "--list")
    assert "Deleted " in said("gc", "--days", "0", "--delete")


@pytest.mark.slow
def test_wrong_names_are_answered_with_the_nearest(project: Project, braid: Braid) -> None:
    name = run(braid)
    for arguments in (
        ("diff", name, f"{name}x"),
        ("why", f"{name}/trian"),
        ("verify", f"{name}x"),
        ("pin", f"{name}x"),
    ):
        outcome = braid("lineage", *arguments, *WORKSPACE)
        assert outcome.code == 1
        assert "Did you mean" in outcome.err
    outcome = braid("lineage", "waste", "sale", *WORKSPACE)
    assert (outcome.code, "Did you mean 'sales'?" in outcome.err) == (1, True)
    for question in (("waste",), ("verify",), ("gc",), ("gc", "--delete"), ("pin", "latest"), ("diff", "a", "b")):
        outcome = braid("lineage", *question, "--workspace", "nowhere")
        assert outcome.code == 1
        assert "nowhere" in outcome.err
    assert not (project.folder / "nowhere").exists()
    assert stores.open_store(str(project.workspace / "metadata.sqlite")).get_contexts_by_type("pipeline_run")
