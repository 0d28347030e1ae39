"""Which models serve now: the record of what was pushed, held against the folders as they are."""

import os
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from store_factory import World, sqlite_store, write

from pipeline.lineage import ancestry, naming
from pipeline.lineage.archive import Archive
from pipeline.lineage.serving import model_pushed, serving, serving_among


class Pushes:
    """Pipelines that push models, one version after the other, to folders below `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.world, self.labels = root, World(), dict[str, int]()

    def push(
        self, label: str, folder: str, version: str, pushed: int = 1, model: str = "", state: str = "COMPLETE"
    ) -> None:
        """A new model, or the one labelled `model`, becomes a version."""
        source = self.labels[model] if model else self.world.artifact("Model")
        destination = f"{folder}/{version}" if "://" in folder else str(self.root / folder / version)
        if pushed and "://" not in folder:
            os.makedirs(destination, exist_ok=True)
        record = self.world.artifact("PushedModel", pushed=pushed, pushed_destination=destination if pushed else "")
        self.labels |= {f"model {label}": source, f"pushed {label}": record}
        run = f"run-{len(self.world.executions)}"
        self.world.execute("push", {"model": [source]}, {"pushed_model": [record]}, run=run, state=state)

    def point(self, folder: str, version: str) -> None:
        pointer = self.root / folder / "current"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(version)

    @cached_property
    def archive(self) -> Archive:
        """All of it, recorded."""
        archive = Archive(sqlite_store(self.root / "store.sqlite"))
        self.written = write(self.world, archive.store)
        return archive

    @property
    def ids(self) -> dict[str, int]:
        return {label: self.written.artifacts[number] for label, number in self.labels.items()}

    def serving(self) -> dict[str, str]:
        found = serving(self.archive)
        every = {one.id: one for one in self.archive.artifacts(self.written.artifacts)}
        assert serving_among(self.archive, every) == found
        for id_ in list(every)[:10]:
            expected = {id_: found[id_]} if id_ in found else {}
            assert serving_among(self.archive, {id_: every[id_]}) == expected
        labels = {id_: label for label, id_ in self.ids.items()}
        return {labels[id_]: place.removeprefix(f"{self.root}/") for id_, place in found.items()}


@pytest.fixture
def pushes(tmp_path: Path) -> Pushes:
    return Pushes(tmp_path)


def test_current_names_the_version_that_serves(pushes: Pushes) -> None:
    pushes.push("old", "serving", "00000001")
    pushes.push("new", "serving", "00000002")
    pushes.point("serving", "00000001")  # rolled back by hand
    assert pushes.serving() == {"model old": "serving/00000001", "pushed old": "serving/00000001"}


def test_without_current_the_highest_number_serves(pushes: Pushes) -> None:
    """As TensorFlow Serving has it, and TFX's own Pusher leaves it."""
    pushes.push("newest", "serving", "1700000010")
    pushes.push("older", "serving", "999")
    (pushes.root / "serving" / "not-a-version").mkdir()
    (pushes.root / "serving" / "²").mkdir()
    assert set(pushes.serving()) == {"model newest", "pushed newest"}


def test_a_number_that_nobody_recorded_serves_instead(pushes: Pushes) -> None:
    pushes.push("ours", "serving", "5")
    (pushes.root / "serving" / "6").mkdir()
    assert pushes.serving() == {}


@pytest.mark.parametrize("gone", ["version", "folder", "pointer's target"])
def test_what_is_gone_serves_no_more(pushes: Pushes, gone: str) -> None:
    pushes.push("one", "serving", "1")
    if gone == "pointer's target":
        pushes.point("serving", "2")
    else:
        (pushes.root / "serving" / "1").rmdir()
        if gone == "folder":
            (pushes.root / "serving").rmdir()
    assert pushes.serving() == {}


def test_a_model_held_back_does_not_serve(pushes: Pushes) -> None:
    pushes.push("good", "serving", "1")
    pushes.push("bad", "serving", "2", pushed=0)
    assert set(pushes.serving()) == {"model good", "pushed good"}


def test_each_folder_has_its_own(pushes: Pushes) -> None:
    for folder in ("flights", "taxi"):
        pushes.push(folder, folder, "1")
        pushes.point(folder, "1")
    assert len(pushes.serving()) == 4


def test_a_model_pushed_twice_serves_by_both_records(pushes: Pushes) -> None:
    pushes.push("first", "serving", "1")
    pushes.push("again", "serving", "1", model="model first")
    pushes.labels.pop("model again")
    assert set(pushes.serving()) == {"model first", "pushed first", "pushed again"}
    assert naming.find(pushes.archive, str(pushes.root / "serving" / "1")).artifacts


def test_a_version_that_is_a_link_itself_is_found(pushes: Pushes) -> None:
    pushes.push("one", "serving", "1")
    os.rename(pushes.root / "serving" / "1", pushes.root / "elsewhere")
    (pushes.root / "serving" / "1").symlink_to(pushes.root / "elsewhere")
    pushes.point("serving", "1")
    assert set(pushes.serving()) == {"model one", "pushed one"}
    archive = pushes.archive
    for name in ("current", "1"):
        [found] = naming.find(archive, str(pushes.root / "serving" / name)).artifacts
        assert found.type == "PushedModel"


def test_a_bucket_s_highest_version_is_taken_to_serve(pushes: Pushes) -> None:
    """Nothing may be removed because a bucket cannot be asked."""
    pushes.push("old", "gs://models/flights", "8")
    pushes.push("new", "gs://models/flights", "10")
    assert pushes.serving() == dict.fromkeys(("model new", "pushed new"), "gs://models/flights/10")
    archive = pushes.archive
    [found] = naming.find(archive, "gs://models/flights/8/model.ubj").artifacts
    assert found.id == pushes.ids["pushed old"]


def test_in_a_bucket_a_rollback_on_record_counts(pushes: Pushes) -> None:
    for version in ("8", "9", "10"):
        pushes.push(version, "gs://models/flights", version)
        pushes.push(f"taxi {version}", "gs://models/taxi", version)
    pushes.archive  # noqa: B018  all of that is older
    for put_back, state in (("9", "COMPLETE"), ("8", "COMPLETE"), ("10", "FAILED")):
        _roll_back(pushes.archive, "gs://models/flights", put_back, state)
    now = {label: place.rpartition("/")[2] for label, place in pushes.serving().items() if label.startswith("pushed")}
    assert now == {"pushed 8": "8", "pushed taxi 10": "10"}


def _roll_back(archive: Archive, folder: str, put_back: str, state: str) -> None:
    kind = archive.store.put_execution_type(pb.ExecutionType(name="Rollback"))
    done = pb.Execution(type_id=kind, last_known_state=pb.Execution.State.Value(state))
    for key, value in (("folder", folder), ("put_back_version", put_back)):
        done.custom_properties[key].string_value = value
    archive.store.put_executions([done])


def test_a_folder_that_may_not_be_listed_is_taken_at_its_record(
    pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushes.push("one", "serving", "1")

    def refuse(folder: str) -> NoReturn:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", refuse)  # permissions do not stop root
    assert set(pushes.serving()) == {"model one", "pushed one"}


def test_a_record_without_a_destination_is_its_own_folder(tmp_path: Path) -> None:
    world = World()
    (tmp_path / "serving" / "3").mkdir(parents=True)
    model = world.artifact("Model")
    pushed = world.artifact("PushedModel", f"{tmp_path}/serving/3/", pushed=1)
    world.execute("push", {"model": [model]}, {"pushed_model": [pushed]})
    archive = Archive(sqlite_store(tmp_path / "store.sqlite"))
    assert len(serving(archive)) == 0
    write(world, archive.store)
    assert serving(archive) == {1: f"{tmp_path}/serving/3", 2: f"{tmp_path}/serving/3"}


def test_the_model_behind_a_push_is_what_went_in_as_the_model(tmp_path: Path) -> None:
    world = World()
    model, blessing, equal = world.artifact("Model"), world.artifact("ModelBlessing"), world.artifact("Model")
    pushed = world.artifact("PushedModel", pushed=1)
    world.execute("push", {"model": [model], "model_blessing": [blessing]}, {"pushed_model": [pushed]})
    world.execute("push", {"model": [equal]}, {"pushed_model": [pushed]}, state="CACHED")  # the same content, made anew
    archive = Archive(sqlite_store(tmp_path / "store.sqlite"))
    ids = write(world, archive.store).artifacts
    assert model_pushed(archive, [ids[pushed]]) == {ids[model]: ids[pushed], ids[equal]: ids[pushed]}


def test_lineage_marks_what_serves(pushes: Pushes) -> None:
    pushes.push("old", "serving", "1")
    pushes.push("new", "serving", "2")
    pushes.point("serving", "2")
    archive = pushes.archive
    ids, place = pushes.ids, str(pushes.root / "serving" / "2")
    assert ancestry.up(archive, str(ids["model new"])).serving == {ids["model new"]: place}
    assert ancestry.down(archive, str(ids["model new"])).serving == {ids["model new"]: place, ids["pushed new"]: place}
    assert ancestry.down(archive, str(ids["model old"])).serving == {}


def test_ten_thousand_versions_are_looked_at_as_one_folder(pushes: Pushes, monkeypatch: pytest.MonkeyPatch) -> None:
    pushes.push("last", "serving", "20000")
    for version in range(10_000):
        pushed = pushes.world.artifact("PushedModel", pushed=1, pushed_destination=f"{pushes.root}/serving/{version}")
        pushes.labels[str(version)] = pushed
    archive, looks = pushes.archive, []
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: looks.append(folder) or listed(folder))
    assert set(serving(archive)) == {pushes.ids["model last"], pushes.ids["pushed last"]}
    assert looks == [str(pushes.root / "serving")]
