"""Local folders that stand for those in a bucket."""

import os
from pathlib import Path

import pytest
from bucket import Bucket

from components import local_folders
from components.checkpoint_folder import checkpoint_folder


def test_a_folder_is_fetched_and_sent(bucket: Bucket) -> None:
    with local_folders.writing(f"{bucket.url}/model") as folder:
        Path(folder, "deep").mkdir()
        Path(folder, "deep/weights").write_text("w")
    with local_folders.reading(f"{bucket.url}/model/") as fetched:
        assert Path(fetched, "deep/weights").read_text() == "w"
        Path(fetched, "own").write_text("not sent")
    with local_folders.changing(f"{bucket.url}/model") as changed:
        Path(changed, "deep/more").write_text("m")
    assert bucket.names == ["model/deep/more", "model/deep/weights"]
    assert not [path for path in (folder, fetched, changed) if os.path.exists(path)]


def test_what_fails_is_not_sent(bucket: Bucket) -> None:
    for around in (local_folders.writing, local_folders.changing):
        bucket.put("model/weights", "w")
        with pytest.raises(ZeroDivisionError), around(f"{bucket.url}/model") as folder:
            Path(folder, "half").write_text("h")
            raise ZeroDivisionError
    assert bucket.names == ["model/weights"]


def test_a_local_folder_stands_for_itself(tmp_path: Path) -> None:
    path = str(tmp_path / "model")
    with local_folders.writing(path) as written:
        Path(written, "weights").write_text("w")
    with local_folders.reading(path) as read, local_folders.changing(f"file://{path}") as changed:
        assert (read, changed) == (path, path)
    with local_folders.scratch(str(tmp_path / "scratch")):
        assert local_folders.beside(path) == path


def test_checkpoints_of_outputs_in_a_bucket_last_in_the_scratch_folder(tmp_path: Path) -> None:
    uri = "gs://bucket/root/sales/train/model/7"
    assert local_folders.beside(uri) == ""
    with local_folders.scratch(str(tmp_path / "ws/sales")):
        assert local_folders.beside(uri) == str(tmp_path / "ws/sales/train/model/7")
        with pytest.raises(OSError, match="cut off"), checkpoint_folder(uri, "key") as folder:
            assert folder == str(tmp_path / "ws/sales/train/.resume/key")
            os.makedirs(folder)
            Path(folder, "booster").write_text("b")
            raise OSError("cut off")
        with checkpoint_folder(uri.replace("/7", "/8"), "key") as again:
            assert Path(again, "booster").read_text() == "b"
    assert not list((tmp_path / "ws").rglob("*"))
