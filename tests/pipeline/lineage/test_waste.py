"""What was spent on what never served: by step, with failed attempts, checks, and what came from the cache."""

import json
from pathlib import Path
from typing import Any

import pytest
from store_factory import World, sqlite_store, write

from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.waste import Spent, Waste, waste


@pytest.fixture
def world() -> World:
    return World()


def add_run(world: World, run: str, blessed: int, examples: int | None = None, **place: Any) -> int:
    """A run: prepare (or its outputs of an earlier run), check, train, evaluate; returns the examples."""
    made = world.artifact("Examples", bytes=100) if examples is None else examples
    model, verdict = world.artifact("Model", bytes=10), world.artifact("ModelBlessing", blessed=blessed, bytes=0)
    state = "COMPLETE" if examples is None else "CACHED"
    took = {"properties": {"seconds": 8.0}, "run": run, **place}
    world.execute("prepare", {}, {"examples": [made]}, **{**took, "state": state})
    world.execute("check", {"examples": [made]}, {"anomalies": [world.artifact("ExampleAnomalies", bytes=1)]}, **took)
    world.execute("train", {"examples": [made]}, {"model": [model]}, **took)
    world.execute("evaluate", {"model": [model]}, {"blessing": [verdict]}, **took)
    return made


def ask(world: World, folder: Path, **how: Any) -> Waste:
    store = sqlite_store(folder / "store.sqlite")
    write(world, store)
    return waste(Archive(store), **how)


def wasted(found: Waste) -> dict[str, tuple[int, float, int]]:
    return {step.step: (step.wasted.executions, step.wasted.seconds, step.wasted.bytes) for step in found.steps}


def test_a_run_that_was_blessed_wasted_nothing(world: World, tmp_path: Path) -> None:
    add_run(world, "run-1", blessed=1)
    found = ask(world, tmp_path)
    assert found.wasted == Spent()
    assert found.spent == Spent(executions=4, seconds=32.0, bytes=111)
    assert found.judged


def test_a_run_that_was_not_wasted_all_but_what_a_later_one_used(world: World, tmp_path: Path) -> None:
    examples = add_run(world, "run-1", blessed=0)
    add_run(world, "run-2", blessed=1, examples=examples)
    found = ask(world, tmp_path)
    # The examples were of use in the second run, which took them from the cache; the rest of the first run was not.
    assert wasted(found) == {
        "check": (1, 8.0, 1),
        "train": (1, 8.0, 10),
        "evaluate": (1, 8.0, 0),
        "prepare": (0, 0.0, 0),
    }
    assert {step.step: step.spent.executions for step in found.steps}["prepare"] == 1


def test_a_check_counts_with_a_run_that_reuses_it(world: World, tmp_path: Path) -> None:
    add_run(world, "run-1", blessed=0)
    anomalies = next(number for number, thing in enumerate(world.artifacts) if thing.type == "ExampleAnomalies")
    world.execute("check", {}, {"anomalies": [anomalies]}, run="run-2", state="CACHED")
    world.execute("push", {}, {"pushed": [world.artifact("PushedModel", pushed=1, bytes=0)]}, run="run-2")
    assert wasted(ask(world, tmp_path))["check"] == (0, 0.0, 0)


def test_failed_attempts_count_even_of_a_blessed_run(world: World, tmp_path: Path) -> None:
    world.execute("train", run="run-1", state="FAILED", properties={"seconds": 3.0})
    world.execute("check", run="run-1", state="CANCELED", properties={"seconds": 2.0})
    add_run(world, "run-1", blessed=1)
    found = wasted(ask(world, tmp_path))
    assert (found["train"], found["check"]) == ((1, 3.0, 0), (1, 2.0, 0))


def test_a_model_held_back_was_not_pushed(world: World, tmp_path: Path) -> None:
    model = world.artifact("Model", bytes=1)
    world.execute("train", {}, {"model": [model]}, properties={"seconds": 1.0})
    held = world.artifact("PushedModel", pushed=0, bytes=1)
    world.execute("push", {"model": [model]}, {"pushed": [held]}, properties={"seconds": 1.0})
    found = ask(world, tmp_path)
    assert (found.wasted.seconds, found.judged) == (2.0, False)


def test_the_worst_step_comes_first(world: World, tmp_path: Path) -> None:
    for step, seconds in (("a", 1.0), ("b", 3.0), ("c", 2.0)):
        world.execute(step, properties={"seconds": seconds})
    assert [step.step for step in ask(world, tmp_path).steps] == ["b", "c", "a"]


def test_what_is_under_way_counts_neither_way(world: World, tmp_path: Path) -> None:
    world.execute("train", state="RUNNING")
    world.execute("train", properties={"seconds": 1.0})
    found = ask(world, tmp_path)
    assert (found.unfinished, found.spent.executions) == (1, 1)


def test_bytes_that_were_not_recorded_are_measured_or_said_to_be_unknown(world: World, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model").write_bytes(b"12345")
    outputs = [world.artifact("Model", str(tmp_path / "m")), world.artifact("Model", str(tmp_path / "gone"))]
    world.execute("train", {}, {"model": outputs}, properties={"seconds": 1.0})
    assert ask(world, tmp_path).spent == Spent(executions=1, seconds=1.0, bytes=5, unmeasured=1)


def test_one_pipeline_alone(world: World, tmp_path: Path) -> None:
    add_run(world, "run-1", blessed=0, pipeline="flights")
    add_run(world, "run-2", blessed=1, pipeline="taxi")
    store = sqlite_store(tmp_path / "store.sqlite")
    write(world, store)
    archive = Archive(store)
    assert {step.pipeline for step in waste(archive).steps} == {"flights", "taxi"}
    assert waste(archive, "flights").wasted.executions == 4
    assert waste(archive, "taxi").wasted.executions == 0
    with pytest.raises(LineageError, match=r"no pipeline 'flight'.*'flights'"):
        waste(archive, "flight")


def test_the_last_days_alone(world: World, tmp_path: Path) -> None:
    add_run(world, "run-1", blessed=0)
    store = sqlite_store(tmp_path / "store.sqlite")
    written = write(world, store)
    archive = Archive(store)
    began = archive.executions(written.executions)[0].created / 1000
    assert waste(archive, days=1, now=began + 3_600).spent.executions == 4
    found = waste(archive, days=1, now=began + 2 * 86_400)
    assert (found.steps, found.spent) == ((), Spent())


def test_for_programs(world: World, tmp_path: Path) -> None:
    add_run(world, "run-1", blessed=0)
    told = json.loads(json.dumps(ask(world, tmp_path).to_dict()))
    assert set(told) == {"days", "steps", "unfinished", "judged", "spent", "wasted"}
    assert told["wasted"] == {"executions": 4, "seconds": 32.0, "bytes": 111, "unmeasured": 0}
    assert told["steps"][0]["pipeline"] == "flights"
