"""Stores on real PostgreSQL and MariaDB servers: opened, read without a trace, and every refusal worded."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from servers import LOOPBACK, PASSWORD, READER, StoreServer

from pipeline import store_server as checks
from pipeline import stores
from pipeline.errors import NothingRecordedError, RunError
from pipeline.store_address import StoreAddress

NAMES = ["Kept", "kept", "größer 😀"]

LISTEN = """
import contextlib, socket, sys, time
answer, speaks_first = bytes.fromhex(sys.argv[1]), sys.argv[2] == "1"
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            if not answer:
                time.sleep(1000)
            if not speaks_first:
                connection.recv(1024)
            connection.sendall(answer)
            connection.recv(1024)
"""


def refused(address: StoreAddress, read_only: bool = True, wait: float = 5) -> str:
    with pytest.raises(RunError) as caught:
        stores.open_store(address, read_only, wait)
    told = f"{caught.value} {caught.value.hint}"
    assert address.password not in told and str(address) in told
    return told


@contextmanager
def listener(answer: bytes, speaks_first: bool = True) -> Iterator[int]:
    """Something on loopback that says this to whoever connects, or nothing at all; yields its port.

    In a process of its own, as ML Metadata lets no other thread run while it connects.
    """
    command = [sys.executable, "-c", LISTEN, answer.hex(), str(int(speaks_first))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_written_and_read_back(store_server: StoreServer) -> None:
    """Names that differ in case alone, or lie beyond the Basic Multilingual Plane, are kept apart and whole."""
    written = stores.open_store(store_server.address("shared"), read_only=False)
    kind = written.put_artifact_type(pb.ArtifactType(name="Named"))
    before = len(written.get_artifacts())
    written.put_artifacts([pb.Artifact(type_id=kind, name=f"{name} {before}") for name in NAMES])
    read = stores.open_store(store_server.address("shared"))
    assert {found.name for found in read.get_artifacts()} >= {f"{name} {before}" for name in NAMES}
    assert read.get_artifact_by_type_and_name("Named", f"kept {before}").name == f"kept {before}"


def test_through_a_socket(store_server: StoreServer) -> None:
    stores.open_store(store_server.address(), read_only=False)
    address = replace(store_server.address(), host="", socket=store_server.socket)
    assert isinstance(stores.open_store(address).get_artifact_types(), list)
    told = refused(replace(address, socket=f"{store_server.socket}-gone"))
    assert "server is to be reached (No such file or directory)" in told


def test_localhost_is_this_machine(store_server: StoreServer) -> None:
    stores.open_store(replace(store_server.address(), host="localhost"), read_only=False)


def test_an_empty_database_is_not_made_a_store_by_reading(store_server: StoreServer) -> None:
    empty = store_server.address("empty")
    for _ in range(2):  # still empty the second time
        assert "is empty: nothing has been recorded there" in refused(empty)
        stores.check_writable(empty)
    with pytest.raises(NothingRecordedError):
        stores.open_store(empty)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("database", "told"),
    [
        ("older", "is of schema version 9;"),
        ("newer", "is of schema version 11, written by a newer"),
        ("partial", "holds only a part of ML Metadata's tables"),
    ],
)
def test_stores_of_another_kind(store_server: StoreServer, database: str, told: str, read_only: bool) -> None:
    for _ in range(2):  # and nothing was changed by the first time
        assert told in refused(store_server.address(database), read_only)


def test_who_may_only_read(store_server: StoreServer) -> None:
    stores.open_store(store_server.address(), read_only=False).put_artifact_type(pb.ArtifactType(name="Kept"))
    reader = stores.open_store(store_server.address(user=READER))
    assert "Kept" in [found.name for found in reader.get_artifact_types()]
    with pytest.raises(mlmd.errors.InternalError, match=r"denied|read-only"):
        reader.put_artifact_type(pb.ArtifactType(name="New"))
    assert "User 'reader'" in refused(store_server.address("empty", READER), read_only=False)


def test_what_is_opened_for_reading_on_postgresql_cannot_be_written(postgresql_server: StoreServer) -> None:
    stores.open_store(postgresql_server.address(), read_only=False)
    opened = stores.open_store(postgresql_server.address())
    with pytest.raises(mlmd.errors.InternalError, match="read-only transaction"):
        opened.put_artifact_type(pb.ArtifactType(name="New"))
    assert "PGOPTIONS" not in os.environ and "PGCONNECT_TIMEOUT" not in os.environ
    stores.open_store(postgresql_server.address(), read_only=False).put_artifact_type(pb.ArtifactType(name="New"))


@pytest.mark.parametrize(
    "change",
    [{"password": "wrong"}, {"user": "nobody"}, {"password": "wr'o\\ng host=elsewhere"}],
    ids=["password", "user", "password with quotes"],
)
def test_a_server_that_refuses(store_server: StoreServer, change: dict[str, str]) -> None:
    told = refused(replace(store_server.address(), **change))
    assert "The server refuses user" in told and "BRAID_STORE_PASSWORD" in told


def test_no_password(store_server: StoreServer) -> None:
    address = store_server.address().without_password()
    with pytest.raises(RunError, match=r"asks for the password of user 'braid'|refuses user 'braid', the password"):
        stores.open_store(address)


def test_no_such_database(store_server: StoreServer) -> None:
    for read_only in (True, False):
        told = refused(store_server.address("missing"), read_only)
        assert "'missing'" in told and ("There is no database" in told or "or there is none" in told)


def test_tls_that_the_client_cannot_do(postgresql_server: StoreServer) -> None:
    told = refused(replace(postgresql_server.address(), sslmode="require"))
    assert "is built without TLS" in told


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_nobody_answers(kind: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as ended:
        port = ended.getsockname()[1]
    address = StoreAddress.parse(
        f"{kind}://ann:{PASSWORD.replace('/', '%2F').replace('@', '%40')}@{LOOPBACK}:{port}/db"
    )
    assert "server is to be reached (Connection refused)" in refused(address)
    assert "The host 'nowhere.invalid' is not known" in refused(replace(address, host="nowhere.invalid"))


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_something_that_stays_silent(kind: str) -> None:
    with listener(b"") as port:
        address = StoreAddress.parse(f"{kind}://ann:{len(PASSWORD)}{kind}@{LOOPBACK}:{port}/db")
        started = time.monotonic()
        told = refused(address, wait=2)
        assert "answer" in told and time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("postgresql", b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no PostgreSQL server"),
        ("mysql", b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no MySQL server"),
        ("mysql", b"\x17\x00\x00\x00\xff\x10\x04Too many connections", "refuses to talk: Too many connections"),
    ],
)
def test_something_else_answers(kind: str, answer: bytes, told: str) -> None:
    with listener(answer, speaks_first=kind == "mysql") as port:
        assert told in refused(StoreAddress.parse(f"{kind}://ann:s3cret@{LOOPBACK}:{port}/db"))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('FATAL:  role "ann" does not exist', "knows no user 'ann'"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "ann", database "db", SSL off', "pg_hba.conf"),
        ("FATAL:  sorry, too many clients already", "has no connection left"),
        ("timeout expired", "does not answer"),
        ("SELECT command denied to user 'ann'@'db' for table 'Type'", "lacks a right"),
    ],
)
def test_what_a_server_may_say(said: str, told: str) -> None:
    """Where these tests' servers never get to, in the words of PostgreSQL 15 and MariaDB 10.11."""
    error = checks.explain(StoreAddress.parse("postgresql://ann:s3cret@db/db"), said)
    assert error is not None and told in str(error) + error.hint
    assert checks.explain(StoreAddress.parse("mysql://ann@db/db"), "something new") is None


@pytest.mark.parametrize("work", [stores.open_store, stores.check_writable])
def test_the_password_is_in_no_log(
    store_server: StoreServer,
    work: Callable[[StoreAddress], object],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stores.open_store(store_server.address(), read_only=False)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "absl"):
        work(store_server.address())
    assert "MetadataStore with DB connection initialized" in caplog.text  # ML Metadata's messages do arrive
    shown = caplog.text + "".join(capfd.readouterr())
    assert "s3cret" not in shown and "password" not in shown
