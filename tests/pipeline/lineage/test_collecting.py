"""gc deletes what it planned, in an order that is safe whenever it is cut off; pinning touches nothing else."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from store_factory import World, sqlite_store, write

from pipeline import collecting, stores
from pipeline.errors import RunError
from pipeline.lineage.archive import RUN
from pipeline.lineage.errors import LineageError
from pipeline.lineage.keeping import DAY_SECONDS, Policy
from pipeline.lineage.retention import Removal
from pipeline.workspace import Workspace

STATES = pb.Artifact.State


class Place:
    """A workspace in which `run-1` and `run-2` each wrote a model, and nothing serves."""

    def __init__(self, folder: Path) -> None:
        self.workspace, self.root = Workspace(str(folder / "ws")), folder / "ws" / "flights"
        world = World()
        self.folders = [self.folder(number) for number in (1, 2)]
        for run, path in zip(("run-1", "run-2"), self.folders, strict=True):
            world.execute("train", {}, {"out": [world.artifact("Model", str(path))]}, run=run)
        write(world, sqlite_store(folder / "ws" / "metadata.sqlite"))

    def folder(self, number: int) -> Path:
        path = self.root / "train" / "out" / str(number)
        path.mkdir(parents=True)
        (path / "model").write_text("abc")
        (path / "contract").write_text("d")
        return path

    @property
    def states(self) -> list[str]:
        artifacts = stores.open_store(self.workspace.store).get_artifacts()
        return [STATES.Name(one.state) for one in sorted(artifacts, key=lambda one: one.id)]

    @property
    def there(self) -> list[bool]:
        return [path.exists() for path in self.folders]

    def collect(self, **how: Any) -> collecting.Collected:
        policy = Policy(days=0, failed_days=0, now=time.time() + DAY_SECONDS)
        return collecting.collect(self.workspace, policy, **how)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_nothing_needs_is_deleted_and_marked(place: Place) -> None:
    collecting.pin(place.workspace, "run-2")
    found = place.collect()
    assert (place.there, place.states) == ([False, True], ["DELETED", "LIVE"])
    assert [(removal.artifacts, removal.bytes) for removal in found.deleted] == [((1,), 4)]
    assert found.failed == ()
    assert place.collect().plan.removals == ()


def test_all_is_marked_before_anything_is_deleted(place: Place) -> None:
    seen: list[tuple[list[str], list[bool]]] = []

    def look(_: Removal) -> None:
        seen.append((place.states, place.there))

    place.collect(advance=look)
    assert seen == [
        (["MARKED_FOR_DELETION", "MARKED_FOR_DELETION"], [True, True]),
        (["DELETED", "MARKED_FOR_DELETION"], [False, True]),
    ]


def cut_off(place: Place, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gc that ends before, or in the middle of, the deletion of a folder."""
    calls, remove = [], shutil.rmtree

    def stop(path: str) -> None:
        calls.append(path)
        if moment == "before the first" or len(calls) == 2:
            if moment == "within a folder":
                Path(path, "model").unlink()
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(collecting.shutil, "rmtree", stop)
        place.collect()


def test_what_was_marked_and_is_pinned_since_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(place, "before the first", monkeypatch)
    collecting.pin(place.workspace, "run-1")
    assert [removal.run for removal in place.collect().deleted] == ["run-2"]
    assert (place.there, place.states) == ([True, False], ["MARKED_FOR_DELETION", "DELETED"])


@pytest.mark.parametrize("moment", ["between two folders", "within a folder", "before the first"])
def test_a_gc_that_is_cut_off_is_finished_by_the_next(
    place: Place, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(place, moment, monkeypatch)
    assert "LIVE" not in place.states
    assert True in place.there
    assert {removal.cause for removal in place.collect().deleted} == {"unfinished"}
    assert (place.there, place.states) == ([False, False], ["DELETED", "DELETED"])


def test_what_cannot_be_deleted_is_told_and_stays_marked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", f"{path}/model")

    with monkeypatch.context() as patch:
        patch.setattr(collecting.shutil, "rmtree", refuse)
        found = place.collect()
    assert [reason for _, reason in found.failed] == [f"'{path}/model': Permission denied" for path in place.folders]
    assert place.states == ["MARKED_FOR_DELETION"] * 2
    assert len(place.collect().deleted) == 2


def test_no_run_may_be_going_on(place: Place) -> None:
    with place.workspace.exclusive("flights"), pytest.raises(RunError, match="already running"):
        place.collect()
    assert (place.there, place.states) == ([True, True], ["LIVE", "LIVE"])


def test_the_store_of_another_workspace_is_not_taken_for_ones_own(place: Place, tmp_path: Path) -> None:
    """The folders of a workspace bear the numbers of its own store; another store knows none of them."""
    sqlite_store(tmp_path / "other.sqlite")
    write(World(), sqlite_store(tmp_path / "other.sqlite"))
    other = Workspace(place.workspace.folder, str(tmp_path / "other.sqlite"))
    assert collecting.collect(other, Policy(0, 0, time.time() + DAY_SECONDS)).deleted == ()
    assert place.there == [True, True]


def test_a_file_that_is_an_artifact_is_deleted_too(tmp_path: Path) -> None:
    place = Place(tmp_path)
    world = World()
    path = place.root / "train" / "schema" / "3"
    path.parent.mkdir()
    path.write_text("x")
    world.execute("train", {}, {"schema": [world.artifact("Schema", str(path))]}, run="run-3")
    write(world, stores.open_store(place.workspace.store, read_only=False))
    place.collect()
    assert not path.exists()


def properties(place: Place, run: str) -> dict[str, Any]:
    context = stores.open_store(place.workspace.store).get_context_by_type_and_name(RUN, run)
    return {key: value.string_value or value.int_value for key, value in context.custom_properties.items()}


def test_pinning_adds_one_property_and_takes_it_away_again(place: Place) -> None:
    store = stores.open_store(place.workspace.store, read_only=False)
    context = store.get_context_by_type_and_name(RUN, "run-1")
    context.custom_properties["config"].string_value = "{}"
    store.put_contexts([context])
    assert collecting.pin(place.workspace, "run-1") == "run-1"
    assert properties(place, "run-1") == {"config": "{}", "pinned": 1}
    collecting.pin(place.workspace, "run-1")
    collecting.pin(place.workspace, "run-1", pinned=False)
    collecting.pin(place.workspace, "run-1", pinned=False)
    assert properties(place, "run-1") == {"config": "{}"}
    assert properties(place, "run-2") == {}


def test_the_newest_run_can_be_pinned_and_an_unknown_one_cannot(place: Place) -> None:
    assert collecting.pin(place.workspace, "latest") in ("run-1", "run-2")
    with pytest.raises(LineageError, match="no run 'run-7'"):
        collecting.pin(place.workspace, "run-7")
