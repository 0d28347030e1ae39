"""TFX's own file verbs in buckets."""

import pytest
from bucket import Bucket
from s3_bucket import S3Bucket
from tfx.dsl.io import fileio

import components.artifacts  # noqa: F401  as every step does


@pytest.fixture(params=["bucket", "s3_bucket"])
def store(request: pytest.FixtureRequest) -> Bucket | S3Bucket:
    found: Bucket | S3Bucket = request.getfixturevalue(request.param)
    return found


def test_files(store: Bucket | S3Bucket) -> None:
    path = f"{store.url}/folder/note.txt"
    with fileio.open(path, "w") as stream:
        stream.write("größer")
    with fileio.open(path) as text, fileio.open(path, "rb") as data:
        assert (text.read(), data.read()) == ("größer", "größer".encode())
    fileio.copy(path, f"{store.url}/folder/copy.txt")
    with pytest.raises(FileExistsError):
        fileio.copy(path, f"{store.url}/folder/copy.txt")
    fileio.copy(path, f"{store.url}/folder/copy.txt", overwrite=True)
    fileio.rename(path, f"{store.url}/folder/moved.txt")
    assert store.names == ["folder/copy.txt", "folder/moved.txt"]
    fileio.remove(f"{store.url}/folder/copy.txt")
    fileio.remove(f"{store.url}/folder/copy.txt")
    assert [fileio.exists(f"{store.url}/folder/{name}.txt") for name in ("copy", "moved")] == [False, True]


def test_folders(store: Bucket | S3Bucket) -> None:
    fileio.makedirs(f"{store.url}/out/step")
    assert not fileio.isdir(f"{store.url}/out")
    for name in ("out/a", "out/step/1/b", "out/step/2/c", "outer/d"):
        store.put(name, "x")
    assert fileio.isdir(f"{store.url}/out") and fileio.exists(f"{store.url}/out/")
    assert fileio.listdir(f"{store.url}/out") == ["a", "step"]
    assert fileio.glob(f"{store.url}/out/step/*/*") == [f"{store.url}/out/step/1/b", f"{store.url}/out/step/2/c"]
    assert list(fileio.walk(f"{store.url}/out")) == [
        (f"{store.url}/out", ["step"], ["a"]),
        (f"{store.url}/out/step", ["1", "2"], []),
        (f"{store.url}/out/step/1", [], ["b"]),
        (f"{store.url}/out/step/2", [], ["c"]),
    ]
    for _ in range(2):
        fileio.rmtree(f"{store.url}/out")
    assert store.names == ["outer/d"]
