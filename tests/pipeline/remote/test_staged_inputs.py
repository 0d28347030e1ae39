"""Inputs of a job elsewhere that lie on this machine are copied to the bucket, for as long as the job takes."""

from pathlib import Path

import pytest
from bucket import Bucket
from tfx.types import standard_artifacts

from pipeline.errors import RunError
from pipeline.remote.staged_inputs import within_reach


def model(uri: str) -> standard_artifacts.Model:
    made = standard_artifacts.Model()
    made.uri = uri
    return made


def test_workers_get_a_copy_and_the_record_keeps_the_original(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "champion" / "variables").mkdir(parents=True)
    (tmp_path / "champion" / "model.ubj").write_bytes(b"model")
    (tmp_path / "champion" / "variables" / "data").write_bytes(b"weights")
    here, there = model(str(tmp_path / "champion")), model(f"{bucket.url}/candidate")
    for _ in range(2):
        with within_reach({"model": [there], "champion": [here]}, f"{bucket.url}/root"):
            assert there.uri == f"{bucket.url}/candidate"
            copy = here.uri.removeprefix(f"{bucket.url}/")
            assert copy.startswith("root/.staged/")
            assert bucket.get(f"{copy}/model.ubj") == b"model"
            assert bucket.get(f"{copy}/variables/data") == b"weights"
        assert here.uri == str(tmp_path / "champion")
    assert sum("upload" in line and line.startswith("POST") for line in bucket.requests) == 2


def test_a_copy_that_was_cut_off_is_made_whole(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "champion").mkdir()
    (tmp_path / "champion" / "model.ubj").write_bytes(b"model")
    one = model(str(tmp_path / "champion"))
    with within_reach({"champion": [one]}, bucket.url):
        name = f"{one.uri.removeprefix(bucket.url + '/')}/model.ubj"
    bucket.put(name, b"mo")
    with within_reach({"champion": [one]}, bucket.url):
        assert bucket.get(name) == b"model"


def test_a_table_is_not_copied(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "table.json").write_text("{}")
    inputs = {"table": [model(str(tmp_path / "table"))]}
    with pytest.raises(RunError, match="where its workers cannot read it") as told, within_reach(inputs, bucket.url):
        pass
    assert "--target" in told.value.hint
    assert bucket.names == []
