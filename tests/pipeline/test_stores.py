"""SQLite stores that can be opened, and those that cannot: in any state, locked by real processes, by other users."""

import hashlib
import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline import stores
from pipeline.errors import NothingRecordedError, RunError
from pipeline.store_address import StoreAddress

HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[3:]:
    connection.execute(statement)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
FOREVER = 1000.0
# More pages than fit into memory, so that some are in the file before the end of the transaction.
HALF_A_WRITE = ["PRAGMA cache_size = 1", "PRAGMA cache_spill = 1", "BEGIN IMMEDIATE"] + [
    f"INSERT INTO Type (name, type_kind) VALUES ('half {number}', 1)" for number in range(3_000)
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that others may enter, which pytest's own may not."""
    made = Path(tempfile.mkdtemp(prefix="braid-stores-"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def store(folder: Path) -> Path:
    """A store with one type in it."""
    path = folder / "metadata.sqlite"
    stores.open_store(str(path), read_only=False).put_artifact_type(pb.ArtifactType(name="Kept"))
    return path


def types(path: Path, wait: float = stores.WAIT) -> list[str]:
    return [found.name for found in stores.open_store(str(path), wait=wait).get_artifact_types()]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def refused(path: Path, read_only: bool = True, wait: float = 0.3) -> str:
    with pytest.raises(RunError) as caught:
        stores.open_store(str(path), read_only, wait)
    assert caught.value.hint
    return f"{caught.value} {caught.value.hint}"


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Neither a byte nor a time of a file in the folder, nor the list of them, differs afterwards."""
    before = state(folder)
    yield
    assert state(folder) == before


def state(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def held(path: Path, *statements: str, seconds: float = FOREVER) -> Iterator[subprocess.Popen[str]]:
    """Another process has executed these statements, and stays connected."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path, str(seconds), *statements], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def as_somebody_else(work: Callable[[], object]) -> str:
    """What the work returns, or the error it raises, in a process of a user whom permissions bind, as root they do not."""
    if os.geteuid() != 0:
        return outcome(work)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            os.write(writing, outcome(work).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def outcome(work: Callable[[], object]) -> str:
    try:
        return str(work())
    except RunError as error:
        return f"RunError: {error}"


def test_written_and_read_back(store: Path) -> None:
    with unchanged(store.parent):
        assert types(store) == ["Kept"]
    assert [path.name for path in store.parent.iterdir()] == ["metadata.sqlite"]


def test_what_is_opened_for_reading_cannot_be_written(store: Path) -> None:
    opened = stores.open_store(str(store))
    with unchanged(store.parent), pytest.raises(mlmd.errors.InternalError, match="readonly"):
        opened.put_artifact_type(pb.ArtifactType(name="New"))


def test_a_file_that_is_missing(store: Path) -> None:
    with unchanged(store.parent):
        told = refused(store.with_name("metdata.sqlite"))
        assert "There is no metadata store" in told and "Did you mean 'metadata.sqlite'?" in told
        assert "There is no metadata store" in refused(store.parent / "nowhere" / "metadata.sqlite")
        assert "There is no metadata store" in refused(store / "metadata.sqlite")
        with pytest.raises(NothingRecordedError):
            types(store.with_name("other.sqlite"))


def test_a_folder(store: Path) -> None:
    assert f"is a folder, no metadata store. Did you mean '{store}'?" in refused(store.parent)
    assert "Name the file itself." in refused(store.parent.parent)


@pytest.mark.parametrize("prepare", [lambda path: path.touch(), lambda path: execute(path, "PRAGMA user_version = 1")])
def test_an_empty_file_is_not_made_a_store_by_reading(folder: Path, prepare: Callable[[Path], None]) -> None:
    path = folder / "metadata.sqlite"
    prepare(path)
    with unchanged(folder):
        assert "is empty: nothing has been recorded" in refused(path)
        stores.check_writable(StoreAddress.file(str(path)))
    stores.open_store(str(path), read_only=False)
    assert types(path) == []


@pytest.mark.parametrize("read_only", [True, False])
def test_a_database_of_something_else(folder: Path, read_only: bool) -> None:
    path = folder / "sales.sqlite"
    execute(path, "CREATE TABLE sales (id INTEGER)", "CREATE TABLE shops (id INTEGER)")
    with unchanged(folder):
        assert "is an SQLite database, but no metadata store: it holds sales, shops." in refused(path, read_only)


def test_files_that_are_damaged(store: Path) -> None:
    sound = store.read_bytes()
    for damaged in (
        b"not a database, " * 300,
        sound[: len(sound) // 2],
        sound[:4096] + bytes(4096) + sound[8192:],
        sound[:60] + bytes(4036) + sound[4096:],
    ):
        store.write_bytes(damaged)
        with unchanged(store.parent):
            told = refused(store)
        assert "damaged" in told and str(store) in told
        assert "backup" in told


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("version", "told"),
    [
        (9, "is of schema version 9;"),
        (0, "is of schema version 0;"),
        (11, "is of schema version 11, written by a newer"),
    ],
)
def test_another_version_of_the_schema(store: Path, version: int, told: str, read_only: bool) -> None:
    execute(store, f"UPDATE MLMDEnv SET schema_version = {version}")
    with unchanged(store.parent):
        words = refused(store, read_only)
        with pytest.raises(RunError, match="schema version"):
            stores.check_writable(StoreAddress.file(str(store)))
    assert told in words and mlmd.__version__ in words and "version 10" in words


@pytest.mark.parametrize("statement", ["DROP TABLE MLMDEnv", "DELETE FROM MLMDEnv", "DROP TABLE Event"])
def test_a_store_that_is_not_whole(store: Path, statement: str) -> None:
    execute(store, statement)
    with unchanged(store.parent):
        assert "holds only a part of ML Metadata's tables" in refused(store)


def test_a_lock_is_waited_for_and_told(store: Path) -> None:
    with held(store, "BEGIN EXCLUSIVE") as holder, unchanged(store.parent):
        started = time.monotonic()
        told = refused(store, wait=0.5)
        assert 0.4 < time.monotonic() - started < 5
        assert f"is locked by process {holder.pid}, which did not let go within 0.5 seconds" in told
        assert "is locked" in refused(store, read_only=False)
    assert types(store) == ["Kept"]


def test_a_lock_that_falls_in_time(store: Path) -> None:
    with held(store, "BEGIN EXCLUSIVE", seconds=0.5):
        assert types(store, wait=60) == ["Kept"]


def test_beside_a_writer_one_can_read_but_not_write(store: Path) -> None:
    with held(store, "BEGIN IMMEDIATE"):
        assert types(store) == ["Kept"]
        with pytest.raises(RunError, match="is locked by process"):
            stores.check_writable(StoreAddress.file(str(store)), wait=0.3)


def test_a_store_of_somebody_else_can_be_read_not_written(store: Path) -> None:
    store.chmod(0o444)
    store.parent.chmod(0o555)
    address = StoreAddress.file(str(store))
    with unchanged(store.parent):
        assert as_somebody_else(lambda: types(store)) == "['Kept']"
        for write in (
            lambda: stores.open_store(address, read_only=False),
            lambda: stores.check_writable(address),
        ):
            assert f"RunError: The metadata store '{store}' is read-only" in as_somebody_else(write)
        missing = StoreAddress.file(str(store.parent / "new.sqlite"))
        assert "cannot be written" in as_somebody_else(lambda: stores.check_writable(missing))


def test_a_store_that_may_not_be_read(store: Path) -> None:
    store.chmod(0o000)
    assert "may not be read by you" in as_somebody_else(lambda: types(store))
    store.chmod(0o644)
    store.parent.chmod(0o600)
    assert "its folder may not be entered" in as_somebody_else(lambda: types(store))


def test_a_store_in_wal_mode(store: Path) -> None:
    execute(store, "PRAGMA journal_mode = wal")
    store.parent.chmod(0o555)
    store.chmod(0o444)
    with unchanged(store.parent):
        assert as_somebody_else(lambda: types(store)) == "['Kept']"
    store.parent.chmod(0o755)
    store.chmod(0o644)
    with held(store, "BEGIN IMMEDIATE", "INSERT INTO Type (name, type_kind) VALUES ('under way', 1)"):
        assert types(store) == ["Kept"]


def test_what_a_killed_writer_left_is_taken_back(store: Path) -> None:
    sound = store.read_bytes()
    with held(store, *HALF_A_WRITE):
        pass
    assert Path(f"{store}-journal").exists() and store.read_bytes() != sound
    store.parent.chmod(0o555)
    store.chmod(0o444)
    assert "was left in the middle of a write" in as_somebody_else(lambda: types(store))
    store.parent.chmod(0o755)
    store.chmod(0o644)
    assert types(store) == ["Kept"]
    assert store.read_bytes() == sound


def test_making_sure_makes_nothing(folder: Path) -> None:
    with unchanged(folder):
        stores.check_writable(StoreAddress.file(str(folder / "metadata.sqlite")))
        with pytest.raises(RunError, match="there is no folder"):
            stores.check_writable(StoreAddress.file(str(folder / "nowhere" / "metadata.sqlite")))


@pytest.mark.parametrize("name", ["a b.sqlite", "a?mode=memory", "100%25.sqlite", "a#b", "it's", "größe", "file:x"])
def test_odd_names(folder: Path, name: str) -> None:
    path = folder / name
    stores.open_store(StoreAddress.file(str(path)), read_only=False).put_artifact_type(pb.ArtifactType(name="Kept"))
    assert [found.name for found in folder.iterdir()] == [name]
    with unchanged(folder):
        assert types(path) == ["Kept"]


def test_the_connection_of_a_file() -> None:
    """As TFX has it, whose helper makes the same of a path."""
    config = stores.connection_config(StoreAddress.file("/srv/store.sqlite"), read_only=False)
    assert json.dumps(str(config.sqlite)) == json.dumps(
        'filename_uri: "/srv/store.sqlite"\nconnection_mode: READWRITE_OPENCREATE\n'
    )
