"""What is on disk held against what was recorded: folders, tables, source files, folders that nothing names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from store_factory import World, sqlite_store, write

from beam_jobs import storage
from beam_jobs.folder_digest import folder_digest
from beam_jobs.ledger import Ledger
from beam_jobs.table import Part, Table
from components.recording import content_digest
from pipeline.lineage import verification
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.verification import Verification


@pytest.fixture
def world() -> World:
    return World()


def archive(world: World, folder: Path) -> Archive:
    store = sqlite_store(folder / "store.sqlite")
    write(world, store)
    return Archive(store)


def verified(asked: Archive, name: str = "", roots: dict[str, str] | None = None) -> Verification:
    return verification.verify(asked, verification.scope(asked, name, roots))


def problems(found: Verification) -> list[tuple[str, str, int | None]]:
    return [(one.problem, one.place, one.artifact) for one in found.findings]


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_text(content)
    return path


def recorded(world: World, path: Path, kind: str = "Model") -> int:
    """An artifact whose folder's digest was recorded."""
    held = folder_digest(str(path))
    return world.artifact(kind, str(path), tree_digest=held.digest, bytes=held.bytes, files_count=held.files)


def test_what_is_as_it_was(world: World, tmp_path: Path) -> None:
    model = recorded(world, folder(tmp_path / "m", model="abc"))
    world.execute("train", {}, {"model": [model]})
    found = verified(archive(world, tmp_path))
    assert (found.is_sound, found.by_digest, found.by_existence) == (True, 1, 0)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte": (lambda path: (path / "model").write_text("abd"), "changed"),
    "a file more": (lambda path: (path / "other").touch(), "changed"),
    "the folder gone": (lambda path: path.rename(path.parent / "elsewhere"), "missing"),
}


@pytest.mark.parametrize(("change", "problem"), CHANGES.values(), ids=CHANGES)
def test_what_is_not(world: World, tmp_path: Path, change: Callable[[Path], object], problem: str) -> None:
    path = folder(tmp_path / "m", model="abc")
    world.execute("train", {}, {"model": [recorded(world, path)]})
    change(path)
    found = verified(archive(world, tmp_path))
    assert problems(found) == [(problem, str(path), 1)]
    assert found.findings[0].made_by == "run-1/train"
    assert bool(found.findings[0].found) == (problem == "changed")


def table(path: Path) -> str:
    """A table of one file; returns the digest that its step would record."""
    folder(path, **{"part-0": "rows"})
    made = Table(str(path), pa.schema([("a", pa.int64())]), (Part("part-0", (1,), 0),), True, Ledger())
    made.save()
    return content_digest(made)


def test_a_table_of_an_older_run_is_verified_by_its_content_digest(world: World, tmp_path: Path) -> None:
    world.artifact("Examples", str(tmp_path / "t"), content_digest=table(tmp_path / "t"))
    asked = archive(world, tmp_path)
    assert (verified(asked).is_sound, verified(asked).by_digest) == (True, 1)
    (tmp_path / "t" / "part-0").write_text("row!")
    assert problems(verified(asked)) == [("changed", str(tmp_path / "t"), 1)]
    (tmp_path / "t" / "part-0").unlink()
    assert problems(verified(asked)) == [("unreadable", str(tmp_path / "t"), 1)]


def test_without_a_digest_only_existence_is_verified_and_it_is_said(world: World, tmp_path: Path) -> None:
    world.artifact("Model", str(folder(tmp_path / "there")))
    world.artifact("Model", str(tmp_path / "gone"))
    found = verified(archive(world, tmp_path))
    assert problems(found) == [("missing", str(tmp_path / "gone"), 2)]
    assert (found.by_digest, found.by_existence) == (0, 2)


def test_a_folder_that_two_artifacts_share_is_read_once(world: World, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", model="abc")
    for _ in range(2):
        recorded(world, path)
    asked, read = archive(world, tmp_path), list[int]()
    assert verification.verify(asked, verification.scope(asked), read.append).by_digest == 2
    assert read == [3]


def source(world: World, run: str, *paths: Path, told: bool = True) -> int:
    files = [{"path": str(p), "size": p.stat().st_size, "digest": storage.content_digest(str(p))} for p in paths]
    made = folder(paths[0].parent / f"out-{run}", manifest="x")
    artifact = world.artifact("SourceTable", str(made), **({"files": json.dumps(files)} if told else {}))
    world.execute("flights", {}, {"table": [artifact]}, run=run)
    return artifact


def test_a_source_file_that_changed_by_one_byte_or_is_gone(world: World, tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("a.csv", "b.csv"))
    for path in (first, second):
        path.write_text("id,x\n1,2\n")
    source(world, "run-1", first, second)
    asked = archive(world, tmp_path)
    assert (verified(asked).is_sound, verified(asked).source_files) == (True, 2)
    first.write_text("id,x\n1,3\n")
    second.unlink()
    found = verified(asked)
    assert problems(found) == [("source changed", str(first), 1), ("source missing", str(second), 1)]
    assert found.findings[0].recorded != found.findings[0].found


def test_of_a_source_that_was_read_anew_only_the_newest_state_counts_unless_an_older_run_is_named(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1")
    source(world, "run-1", path)
    path.write_text("2")
    source(world, "run-2", path)
    asked = archive(world, tmp_path)
    assert (verified(asked).is_sound, verified(asked).superseded) == (True, 1)
    assert verified(asked, "run-2").is_sound
    assert problems(verified(asked, "run-1")) == [("source changed", str(path), 1)]


def test_a_source_whose_files_were_not_recorded(world: World, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    source(world, "run-1", tmp_path / "a.csv", told=False)
    found = verified(archive(world, tmp_path))
    assert found.is_sound
    assert found.unknown == ("The digests of the files of run-1/flights (artifact 1) were not recorded.",)


def test_what_gc_removed_is_counted_and_not_missed(world: World, tmp_path: Path) -> None:
    model = world.artifact("Model", str(tmp_path / "gone"))
    world.execute("train", {}, {"model": [model]})
    asked = archive(world, tmp_path)
    (proto,) = asked.store.get_artifacts_by_id([1])
    proto.state = pb.Artifact.DELETED
    asked.store.put_artifacts([proto])
    for name in ("", "run-1"):
        found = verified(Archive(asked.store), name)
        assert (found.is_sound, found.removed, found.by_existence) == (True, 1, 0)


def outputs(world: World, root: Path) -> dict[str, Any]:
    """A pipeline whose first step failed, whose second runs, and folders of every sort."""
    world.execute("ingest", state="FAILED")
    world.execute("prepare", state="RUNNING")
    named = world.artifact("Model", str(folder(root / "train" / "model" / "3")))
    several = world.artifact("Model", str(folder(root / "train" / "models" / "3" / "0")))
    world.execute("train", {}, {"model": [named], "models": [several]})
    return {
        "of an execution that failed": folder(root / "ingest" / "table" / "1"),
        "being written": folder(root / "prepare" / "examples" / "2"),
        "of no execution": folder(root / "train" / "model" / "99"),
        "of another step's execution": folder(root / "train" / "model" / "1"),
        "under a key that its execution did not write": folder(root / "train" / "other" / "3"),
        "TFX's own, of an execution that ended": folder(root / "train" / ".system" / "executor_execution" / "3"),
        "TFX's own, of none": folder(root / "train" / ".system" / "executor_execution" / "98"),
        "what is pushed": folder(root / "serving" / "00000001"),
        "the user's own": folder(root / "data" / "2024" / "1"),
        "no number": folder(root / "train" / "model" / "notes"),
    }


def test_orphans_are_folders_of_steps_that_nothing_names(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ws" / "flights"
    made = outputs(world, root)
    found = verified(archive(world, tmp_path), roots={str(root): "flights"})
    assert {one.place for one in found.findings} == {
        str(made["of no execution"]),
        str(made["of another step's execution"]),
        str(made["under a key that its execution did not write"]),
        str(made["TFX's own, of none"]),
    }
    assert {one.problem for one in found.findings} == {"orphaned"}


def test_a_workspace_that_was_moved_or_is_reached_by_a_link_has_no_orphans(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ws" / "flights"
    world.execute("train", {}, {"model": [world.artifact("Model", str(folder(root / "train" / "model" / "1")))]})
    asked = archive(world, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "ws")
    assert verified(asked, roots={str(tmp_path / "link" / "flights"): "flights"}).is_sound
    (tmp_path / "ws").rename(tmp_path / "moved")
    found = verified(asked, roots={str(tmp_path / "moved" / "flights"): "flights"})
    assert problems(found) == [("missing", str(root / "train" / "model" / "1"), 1)]


def test_what_an_interrupted_gc_left_over(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ws" / "flights"
    path = folder(root / "train" / "model" / "1", model="x")
    world.execute("train", {}, {"model": [world.artifact("Model", str(path))]})
    asked = archive(world, tmp_path)
    (proto,) = asked.store.get_artifacts_by_id([1])
    proto.state = pb.Artifact.MARKED_FOR_DELETION
    asked.store.put_artifacts([proto])
    assert problems(verified(Archive(asked.store), roots={str(root): "flights"})) == [("left over", str(path), None)]


def test_less_than_everything_searches_for_no_orphans(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ws" / "flights"
    outputs(world, root)
    found = verified(archive(world, tmp_path), "run-1/train", {"flights": str(root)})
    assert (found.is_sound, found.by_existence) == (True, 2)


def test_an_unknown_name(world: World, tmp_path: Path) -> None:
    world.execute("train")
    with pytest.raises(LineageError):
        verified(archive(world, tmp_path), "run-1/trian")


def test_what_there_is_to_read_is_known_beforehand(world: World, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("12345")
    source(world, "run-1", tmp_path / "a.csv")
    recorded(world, folder(tmp_path / "m", model="abc"))
    assert verification.scope(archive(world, tmp_path)).bytes == 8


def test_for_programs(world: World, tmp_path: Path) -> None:
    world.artifact("Model", str(tmp_path / "gone"))
    told = json.loads(json.dumps(verified(archive(world, tmp_path)).to_dict()))
    assert told["sound"] is False
    assert told["findings"][0]["problem"] == "missing"
    assert set(told["findings"][0]) == {"problem", "place", "artifact", "type", "made_by", "recorded", "found", "note"}
