"""What may be deleted: never what anything kept was made from, never what is not the workspace's own."""

import dataclasses
import json
import os
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_metadata.proto import metadata_store_pb2 as pb
from store_factory import NOWHERE, Attempt, World, Written, random_world, sqlite_store, write
from test_walk import READ, WROTE, Truth

from pipeline.lineage.archive import RUN, Archive
from pipeline.lineage.keeping import DAY_SECONDS, PINNED, Policy
from pipeline.lineage.retention import Plan, plan

ROOT = "/nowhere/ws/p"
UNDER_WAY = ("RUNNING", "NEW")


def pin(store: Any, run: str) -> None:
    context = store.get_context_by_type_and_name(RUN, run)
    context.custom_properties[PINNED].int_value = 1
    store.put_contexts([context])


def later(days: float = 1.0, **policy: float) -> Policy:
    """A policy that keeps nothing for its age, so many days from now."""
    return Policy(**{"days": 0.0, "failed_days": 0.0, **policy}, now=time.time() + days * DAY_SECONDS)


def placed(world: World, draw: random.Random) -> None:
    """Puts the artifacts where a pipeline's outputs lie, some of them at one place or in one another, some elsewhere."""
    for number, thing in enumerate(world.artifacts):
        place = f"{ROOT}/step/key/{draw.randrange(number, number + 3) if draw.random() < 0.3 else number}"
        place += draw.choice(("", "", "", "/", "/0", "/0/1"))
        uri = draw.choice((place, place, place, place, f"file://{place}", f"/elsewhere/{number}"))
        pushed = {"pushed": 1, "pushed_destination": f"/nowhere/serving/{draw.randrange(3)}/{number}"}
        served = thing.type == "PushedModel" and draw.random() < 0.5
        world.artifacts[number] = dataclasses.replace(thing, uri=uri, properties=pushed if served else {})


def must_stay(world: World, pinned: Iterable[str]) -> set[int]:
    """By the world's links alone: what served last, what kept runs read or wrote or looked up, and all upstream."""
    served = _served(world)
    writers = {li.execution for li in world.links if li.artifact in served and li.kind in WROTE}
    runs = {one.run for n, one in _told(world) if one.state in UNDER_WAY or (n in writers and one.state != "CACHED")}
    kept = {n for n, one in _told(world) if one.run in runs | set(pinned)}
    kept |= {n for n, one in enumerate(world.executions) if one.state in UNDER_WAY}
    kinds = (*READ, *WROTE, "INTERNAL_OUTPUT")
    start = {link.artifact for link in world.links if link.execution in kept and link.kind in kinds}
    return Truth(world).up(start | served)[0]


def _told(world: World) -> list[tuple[int, Attempt]]:
    """The executions whose run the store tells."""
    return [(number, one) for number, one in enumerate(world.executions) if one.told != NOWHERE]


def _served(world: World) -> set[int]:
    """No serving folder is there, so of each what was pushed last serves, and the model that it was."""
    last: dict[str, int] = {}
    for number, thing in enumerate(world.artifacts):
        if thing.properties.get("pushed"):
            last[os.path.dirname(thing.properties["pushed_destination"])] = number
    pushers = {li.execution for li in world.links if li.artifact in last.values() and li.kind in WROTE}
    models = {li.artifact for li in world.links if li.execution in pushers and li.kind in READ and "model" in li.keys}
    return set(last.values()) | models


def path_of(world: World, number: int) -> str:
    return world.artifacts[number].uri.removeprefix("file://").rstrip("/")


def touch(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.randoms(use_true_random=False), size=st.integers(1, 30))
def test_nothing_upstream_of_what_is_kept_is_ever_planned_and_all_else_is(
    tmp_path_factory: pytest.TempPathFactory, draw: random.Random, size: int
) -> None:
    world = random_world(draw, size)
    placed(world, draw)
    store = sqlite_store(tmp_path_factory.mktemp("retention") / "store.sqlite")
    written = write(world, store)
    runs = sorted({one.run for one in world.executions if one.told != NOWHERE})
    pinned = draw.sample(runs, draw.randrange(len(runs) + 1))
    for run in pinned:
        pin(store, run)
    found = plan(Archive(store), {ROOT: "p"}, later())
    stays = must_stay(world, pinned)
    _nothing_needed_is_planned(world, written, found, stays)
    _all_else_is_planned(world, written, found, stays)


def _nothing_needed_is_planned(world: World, written: Written, found: Plan, stays: set[int]) -> None:
    planned = {id_ for removal in found.removals for id_ in removal.artifacts}
    assert planned.isdisjoint(written.artifacts[number] for number in stays)
    for removal in found.removals:
        assert removal.path.startswith(f"{ROOT}/")
        assert not [number for number in stays if touch(path_of(world, number), removal.path)]


def _all_else_is_planned(world: World, written: Written, found: Plan, stays: set[int]) -> None:
    being_written = {
        link.artifact
        for link in world.links
        if link.kind in (*WROTE, "PENDING_OUTPUT") and world.executions[link.execution].state in UNDER_WAY
    }
    staying = stays | being_written
    free = {
        number
        for number in range(len(world.artifacts))
        if number not in staying and not any(touch(path_of(world, n), path_of(world, number)) for n in staying)
    }
    ours = {number for number in free if path_of(world, number).startswith(f"{ROOT}/")}
    assert {id_ for removal in found.removals for id_ in removal.artifacts} == {written.artifacts[n] for n in ours}
    assert {id_ for refusal in found.refusals for id_ in refusal.artifacts} == {
        written.artifacts[n] for n in free - ours
    }


@pytest.fixture
def world() -> World:
    return World()


class Workplace:
    """A workspace with one pipeline's folder, and a store."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world, self.root = folder, world, folder / "ws" / "flights"
        self.store = sqlite_store(folder / "store.sqlite")
        self.written: Any = None

    def output(self, step: str, number: int, kind: str = "Model", **properties: Any) -> int:
        """An artifact with a file of three bytes in its folder."""
        path = self.folder_of(step, number)
        return self.world.artifact(kind, str(path), **properties)

    def folder_of(self, step: str, number: int) -> Path:
        path = self.root / step / "out" / str(number)
        path.mkdir(parents=True)
        (path / "file").write_text("abc")
        return path

    def plan(self, policy: Policy | None = None) -> Plan:
        if self.written is None:
            self.written = write(self.world, self.store)
        return plan(Archive(self.store), {str(self.root): "flights"}, policy or later())

    def set_state(self, artifact: int, state: Any) -> None:
        self.plan()
        (proto,) = self.store.get_artifacts_by_id([self.written.artifacts[artifact]])
        proto.state = state
        self.store.put_artifacts([proto])


@pytest.fixture
def place(tmp_path: Path, world: World) -> Workplace:
    return Workplace(tmp_path, world)


def planned(found: Plan) -> list[tuple[str, str, int | None]]:
    return [(removal.step, removal.cause, removal.bytes) for removal in found.removals]


def test_a_recent_run_is_kept_whole(place: Workplace) -> None:
    place.world.execute("train", {}, {"model": [place.output("train", 1)]})
    assert planned(place.plan(Policy(days=1))) == []
    assert place.plan(Policy(days=1)).kept_runs == {"run-1": "recent"}
    found = place.plan(Policy(days=1, now=time.time() + 2 * DAY_SECONDS))
    assert planned(found) == [("train", "unneeded", 3)]
    assert (found.removals[0].run, found.removals[0].pipeline, found.bytes, found.kept) == ("run-1", "flights", 3, 0)


def test_a_pinned_run_is_kept_with_what_it_took_from_the_cache(place: Workplace) -> None:
    examples, model = place.output("prepare", 1, "Examples"), place.output("train", 3)
    place.world.execute("prepare", {}, {"examples": [examples]}, run="run-1")
    place.world.execute("prepare", {}, {"examples": [examples]}, run="run-2", state="CACHED")
    place.world.execute("train", {"examples": [examples]}, {"model": [model]}, run="run-2")
    place.world.execute("train", {"examples": [examples]}, {"model": [place.output("train", 4)]}, run="run-1")
    place.plan()
    pin(place.store, "run-2")
    found = place.plan()
    assert [removal.path for removal in found.removals] == [str(place.root / "train" / "out" / "4")]
    assert found.kept_runs == {"run-2": "pinned"}


def serve(place: Workplace, run: str, version: str, **pushed: Any) -> None:
    """A run that pushes its model."""
    number = len(place.world.executions) + 1
    model = place.output("train", number)
    place.world.execute("train", {}, {"model": [model]}, run=run)
    destination = place.root / "serving" / version
    told = {"pushed": 1, "pushed_destination": str(destination), **pushed}
    place.world.execute("check", {}, {"report": [place.output("check", number, "Report")]}, run=run)
    place.world.execute(
        "push", {"model": [model]}, {"out": [place.output("push", number, "PushedModel", **told)]}, run=run
    )


def test_the_run_of_the_model_that_serves_is_kept_whole(place: Workplace) -> None:
    for run, version in (("run-1", "1"), ("run-2", "2")):
        serve(place, run, version)
        (place.root / "serving" / version).mkdir(parents=True)
    (place.root / "serving" / "current").symlink_to("1")
    found = place.plan()
    assert found.kept_runs == {"run-1": "serving"}
    assert {removal.run for removal in found.removals} == {"run-2"}
    assert len(found.removals) == 3  # its model, its check and its push; not what it pushed


def test_of_a_serving_folder_that_is_not_there_the_last_push_is_taken_to_serve(place: Workplace) -> None:
    """It may be on a disk that is not mounted now."""
    serve(place, "run-1", "1")
    serve(place, "run-2", "2")
    assert place.plan().kept_runs == {"run-2": "serving"}


def test_a_model_that_was_held_back_does_not_serve(place: Workplace) -> None:
    serve(place, "run-1", "1", pushed=0)
    assert len(place.plan().removals) == 3


def test_what_is_under_way_stays(place: Workplace) -> None:
    early = place.output("prepare", 1, "Examples")
    place.world.execute("prepare", {}, {"examples": [early]}, run="run-1")
    place.world.execute("train", {"examples": [early]}, run="run-1", state="RUNNING")
    found = place.plan()
    assert (planned(found), found.kept_runs) == ([], {"run-1": "under way"})


def test_what_lies_elsewhere_is_refused(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    outside = place.world.artifact("Schema", str(tmp_path / "mine"))
    in_bucket = place.world.artifact("Model", "gs://bucket/train/out/2")
    above = place.world.artifact("Model", str(place.root))
    climbing = place.world.artifact("Model", f"{place.root}/train/out/../../../../mine")
    place.world.execute("import", {}, {"result": [outside, in_bucket, above, climbing]})
    found = place.plan()
    assert found.removals == ()
    assert sorted(refusal.path for refusal in found.refusals) == sorted(
        ["gs://bucket/train/out/2", str(tmp_path / "mine"), str(place.root)]
    )
    assert "outside of the folders" in found.refusals[0].reason


def test_a_link_out_of_the_workspace_is_refused(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "mine" / "train" / "out").mkdir(parents=True)
    (place.root / "train" / "out").mkdir(parents=True)
    (place.root / "train" / "out" / "1").symlink_to(tmp_path / "mine")
    place.world.execute("train", {}, {"out": [place.world.artifact("Model", str(place.root / "train" / "out" / "1"))]})
    found = place.plan()
    assert (found.removals, [refusal.path for refusal in found.refusals]) == ((), [str(tmp_path / "mine")])


def test_files_that_a_kept_table_is_read_from_in_place_stay_though_another_pipeline_wrote_them(
    place: Workplace,
) -> None:
    examples = place.output("prepare", 1, "Examples")
    place.world.execute("prepare", {}, {"out": [examples]}, run="run-1")
    inside = str(place.root / "prepare" / "out" / "1" / "file")
    table = place.output("other", 2, "SourceTable", files=json.dumps([{"path": inside, "digest": "x", "size": 3}]))
    place.world.execute("other", {}, {"table": [table]}, run="run-2", pipeline="taxi")
    assert len(place.plan().removals) == 2
    pin(place.store, "run-2")
    assert place.plan().removals == ()


def test_what_a_failed_attempt_left_goes_after_its_days_unless_its_run_is_pinned(place: Workplace) -> None:
    half = place.output("train", 1)
    place.world.execute("train", {}, {"out": [half]}, state="FAILED", events=("INPUT", "PENDING_OUTPUT"))
    place.folder_of("train.log", 1)
    traceback = place.root / "train" / ".system" / "executor_execution" / "1"
    traceback.mkdir(parents=True)
    place.set_state(half, pb.Artifact.ABANDONED)
    week = {"days": 0.0, "failed_days": 7.0}
    assert planned(place.plan(Policy(**week, now=time.time() + 6 * DAY_SECONDS))) == []
    found = place.plan(Policy(**week, now=time.time() + 8 * DAY_SECONDS))
    assert planned(found) == [("train", "failed", 3), ("train", "failed", 0)]
    assert {removal.run for removal in found.removals} == {"run-1"}
    pin(place.store, "run-1")
    assert planned(place.plan(Policy(**week, now=time.time() + 8 * DAY_SECONDS))) == []


def test_half_written_outputs_of_an_attempt_that_ended_well_stay(place: Workplace) -> None:
    half = place.output("train", 1)
    place.world.execute("train", {}, {"out": [half]}, events=("INPUT", "PENDING_OUTPUT"))
    place.set_state(half, pb.Artifact.PENDING)
    assert planned(place.plan()) == []


def test_orphans_go_when_they_are_old_and_no_source_lies_in_them(place: Workplace) -> None:
    place.world.execute("train", {}, {"out": [place.output("train", 1)]})
    orphan, read = place.folder_of("train", 98), place.folder_of("train", 99)
    files = json.dumps([{"path": str(read / "file"), "digest": "x", "size": 3}])
    place.world.execute("s", {}, {"table": [place.output("s", 2, "SourceTable", files=files)]}, run="run-9")
    week = {"days": 100.0, "failed_days": 7.0}
    assert planned(place.plan(Policy(**week))) == []
    found = place.plan(Policy(**week, now=time.time() + 8 * DAY_SECONDS))
    assert [(removal.path, removal.cause, removal.artifacts) for removal in found.removals] == [
        (str(orphan), "orphaned", ())
    ]


def test_what_an_interrupted_gc_marked_is_finished_whatever_its_age(place: Workplace) -> None:
    marked, deleted = place.output("train", 1), place.output("train", 2)
    place.world.execute("train", {}, {"out": [marked, deleted]})
    place.set_state(marked, pb.Artifact.MARKED_FOR_DELETION)
    place.set_state(deleted, pb.Artifact.DELETED)
    found = place.plan()
    assert [(removal.cause, removal.artifacts) for removal in found.removals] == [
        ("unfinished", (1,)),
        ("unfinished", ()),
    ]


def test_what_is_gone_from_disk_is_still_to_be_marked(place: Workplace) -> None:
    place.world.execute("train", {}, {"out": [place.world.artifact("Model", str(place.root / "train/out/1"), bytes=5)]})
    assert [(removal.artifacts, removal.bytes) for removal in place.plan().removals] == [((1,), None)]


def test_artifacts_at_one_place_go_together_or_not_at_all(place: Workplace) -> None:
    first = place.output("train", 1)
    second = place.world.artifact("Model", f"{place.world.artifacts[first].uri}/")
    place.world.execute("train", {}, {"out": [first]}, run="run-1")
    place.world.execute("train", {}, {"out": [second]}, run="run-2")
    assert [removal.artifacts for removal in place.plan().removals] == [(1, 2)]
    pin(place.store, "run-2")
    found = place.plan()
    assert (found.removals, found.kept) == ((), 2)


def test_for_programs(place: Workplace) -> None:
    place.world.execute("train", {}, {"out": [place.output("train", 1)]})
    told = json.loads(json.dumps(place.plan().to_dict()))
    assert set(told) == {"removals", "refusals", "kept_runs", "kept", "bytes"}
    assert told["removals"][0]["cause"] == "unneeded"
