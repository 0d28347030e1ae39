"""A folder's digest changes with every change of what it holds, and with nothing else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from beam_jobs.errors import DataError
from beam_jobs.folder_digest import MissingFolderError, folder_digest, folder_size

if TYPE_CHECKING:
    from bucket import Bucket

FILES = {"table.json": b"{}", "train/a.parquet": b"aaa", "train/b.parquet": b"bb", "_pending/x": b"1", ".hidden": b""}


def fill(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_it_counts_every_file_and_byte(tmp_path: Path) -> None:
    found = folder_digest(str(fill(tmp_path / "x")))
    assert (found.files, found.bytes) == (5, 8)
    assert len(found.digest) == 32
    assert folder_size(str(tmp_path / "x")) == (5, 8)


def test_it_is_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    first, second = fill(tmp_path / "x"), fill(tmp_path / "y" / "z")
    (second / "empty").mkdir()
    assert folder_digest(str(first)) == folder_digest(str(second)) == folder_digest(f"file://{second}/")


CHANGES: dict[str, Callable[[Path], object]] = {
    "one byte": lambda folder: (folder / "train" / "a.parquet").write_bytes(b"aab"),
    "a hidden file": lambda folder: (folder / ".hidden").write_bytes(b"1"),
    "a file more": lambda folder: (folder / "train" / "c").touch(),
    "a file less": lambda folder: (folder / "_pending" / "x").unlink(),
    "another name": lambda folder: (folder / "table.json").rename(folder / "tables.json"),
    "bytes moved from one file to the next": lambda folder: (
        (folder / "train" / "a.parquet").write_bytes(b"aa"),
        (folder / "train" / "b.parquet").write_bytes(b"abb"),
    ),
    "a link to a folder": lambda folder: (folder / "link").symlink_to("train"),
    "a link to nothing": lambda folder: (folder / "link").symlink_to("nothing"),
    "a name that is no text": lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).touch(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    before = folder_digest(str(fill(tmp_path / "x")))
    change(tmp_path / "x")
    after = folder_digest(str(tmp_path / "x"))
    assert after.digest != before.digest
    assert after == folder_digest(str(tmp_path / "x"))


def test_two_links_differ_by_where_they_point(tmp_path: Path) -> None:
    for name in ("x", "y"):
        fill(tmp_path / name)
    (tmp_path / "x" / "link").symlink_to("train/a.parquet")
    (tmp_path / "y" / "link").symlink_to("train/b.parquet")
    assert folder_digest(str(tmp_path / "x")).digest != folder_digest(str(tmp_path / "y")).digest


def test_a_single_file_has_one_too(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_bytes(b"abc")
    found = folder_digest(str(tmp_path / "schema.pbtxt"))
    assert (found.files, found.bytes) == (1, 3)


def test_it_tells_how_far_it_is(tmp_path: Path) -> None:
    read: list[int] = []
    folder_digest(str(fill(tmp_path / "x")), read.append)
    assert sorted(read) == [0, 1, 2, 2, 3]


def test_an_empty_folder_is_there(tmp_path: Path) -> None:
    assert (folder_digest(str(tmp_path)).files, folder_size(str(tmp_path))) == (0, (0, 0))


def test_what_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFolderError, match="gone' does not exist") as told:
        folder_digest(str(tmp_path / "gone"))
    assert "run the step" in told.value.hint


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(fill(tmp_path / "x") / "pipe")
    with pytest.raises(DataError, match="pipe' is neither a file"):
        folder_digest(str(tmp_path / "x"))


def test_a_file_that_goes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    folder = fill(tmp_path / "x")
    with pytest.raises(DataError, match=r"b\.parquet' cannot be read: No such file"):
        folder_digest(str(folder), lambda _: (folder / "train" / "b.parquet").unlink(missing_ok=True))


def test_a_folder_of_a_bucket(bucket: "Bucket") -> None:
    for name, content in FILES.items():
        bucket.put(f"out/7/{name}", content)
    bucket.put("out/70/other", b"not of it")
    before = folder_digest(f"{bucket.url}/out/7")
    assert (before.files, before.bytes) == (5, 8)
    assert before == folder_digest(f"{bucket.url}/out/7/")
    assert folder_size(f"{bucket.url}/out/7") == (5, 8)
    bucket.put("out/7/train/a.parquet", b"aab")
    assert folder_digest(f"{bucket.url}/out/7").digest != before.digest
    with pytest.raises(MissingFolderError):
        folder_digest(f"{bucket.url}/out/8")


def test_a_bucket_that_cannot_be_asked_is_not_taken_for_an_empty_one(bucket: "Bucket") -> None:
    with pytest.raises(DataError, match="nowhere://out/8' cannot be read") as told:
        folder_size("nowhere://out/8")
    assert not isinstance(told.value, MissingFolderError)
