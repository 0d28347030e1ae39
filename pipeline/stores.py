"""Opens metadata stores: SQLite files and databases of PostgreSQL and MySQL servers, and words what goes wrong."""

import contextlib
import functools
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline import sqlite_file, store_server
from pipeline.errors import NothingRecordedError, RunError
from pipeline.store_address import StoreAddress

WAIT = 10.0
"""Seconds to wait for a lock or a server."""
_opening = threading.Lock()
_VERSIONS = re.compile(r"version (\d+) is (older|greater) than library version (\d+)")
_EMPTY = re.compile(r"Empty database is given|cannot execute CREATE TABLE in a read-only transaction")
_NATIVE_LOG = re.compile(r"[IWEF]\d{4} |WARNING: Logging before")
_PARTIAL = re.compile(r"subset of tables|no schema_version can be found")


def _tells_no_password(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("ConnectionConfig")


# ML Metadata logs the configuration of every connection, password and all, once someone asks for its debug messages.
logging.getLogger("absl").addFilter(_tells_no_password)


def connection_config(address: StoreAddress, read_only: bool) -> pb.ConnectionConfig:
    """What ML Metadata connects by, the password in it; see `without_password`.

    An SQLite file that is missing is made when it is written to. A server's database never is.
    """
    config = pb.ConnectionConfig()
    if address.kind == "sqlite":
        modes = pb.SqliteMetadataSourceConfig
        config.sqlite.filename_uri = address.path
        config.sqlite.connection_mode = modes.READONLY if read_only else modes.READWRITE_OPENCREATE
    elif address.kind == "postgresql":
        _fill(config.postgresql, address)
        config.postgresql.host = address.host or address.socket
        config.postgresql.port = str(address.port)
        config.postgresql.dbname = address.database
        config.postgresql.password = _quoted(address.password)
        if address.sslmode:
            config.postgresql.ssloption.sslmode = address.sslmode
    else:
        _fill(config.mysql, address)
        # To MySQL's client 'localhost' means a socket, wherever that may be.
        config.mysql.host = "127.0.0.1" if address.host == "localhost" else address.host
        config.mysql.port = address.port
        config.mysql.socket = address.socket
        config.mysql.database = address.database
        config.mysql.password = address.password
    return config


def _fill(server: pb.PostgreSQLDatabaseConfig | pb.MySQLDatabaseConfig, address: StoreAddress) -> None:
    server.user = address.user
    # With the wrong name it would silently make another database.
    server.skip_db_creation = True


def _quoted(password: str) -> str:
    """As a connection string of PostgreSQL wants it, which ML Metadata makes by putting parts together."""
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'" if password else ""


def open_store(address: StoreAddress | str, read_only: bool = True, wait: float = WAIT) -> mlmd.MetadataStore:
    """Opens a metadata store.

    Args:
      address: where it is.
      read_only: makes and changes nothing; in SQLite and PostgreSQL, neither can what comes afterwards.
      wait: seconds to wait for another program's lock, or for a server.

    Raises:
      RunError: it is missing, locked, damaged, of another version, not to be reached, or no metadata store.
    """
    address = StoreAddress.parse(address) if isinstance(address, str) else address
    config = connection_config(address, read_only)
    if address.is_server:
        return _open_on_server(address, config, read_only, wait)
    if read_only:
        config.sqlite.filename_uri = sqlite_file.check_reading(address.path, wait)
    else:
        sqlite_file.check_writing(address.path, wait)
    try:
        return mlmd.MetadataStore(config)
    except RuntimeError as error:
        raise _told(address, str(error)) from error


def check_writable(address: StoreAddress, wait: float = WAIT) -> None:
    """Makes sure that a run can record in the store; makes and changes nothing.

    Raises:
      RunError: it cannot.
    """
    if not address.is_server:
        sqlite_file.check_writing(address.path, wait)
    with contextlib.suppress(NothingRecordedError):
        open_store(address, wait=wait)


def _open_on_server(
    address: StoreAddress, config: pb.ConnectionConfig, read_only: bool, wait: float
) -> mlmd.MetadataStore:
    store_server.reach(address, wait)
    with _opening, _session(read_only, wait), _native_words() as words:
        try:
            if read_only and address.kind == "mysql":
                _require_tables(config)
            return mlmd.MetadataStore(config)
        except RuntimeError as error:
            raise _told(address, f"{error} {words()}") from error


def _require_tables(config: pb.ConnectionConfig) -> None:
    """Raises ML Metadata's error where the database has no tables; to open it would make them.

    The question is put as a downgrade to the version that it has at most, which has nothing to do and does nothing.
    """
    mlmd.downgrade_schema(config, _library_version())


@functools.cache
def _library_version() -> int:
    """The version of the schema that this ML Metadata writes: it tells when asked for an impossible one."""
    nothing = pb.ConnectionConfig(sqlite=pb.SqliteMetadataSourceConfig())
    try:
        mlmd.downgrade_schema(nothing, sys.maxsize)
    except mlmd.errors.InvalidArgumentError as error:
        found = re.search(r"current library version: (\d+)", str(error))
        if found:
            return int(found[1])
        raise
    raise AssertionError("no database is of that version")


@contextlib.contextmanager
def _session(read_only: bool, wait: float) -> Iterator[None]:
    """Around connecting: PostgreSQL's client takes from the environment what ML Metadata has no setting for."""
    settings = {"PGCONNECT_TIMEOUT": str(max(2, round(wait)))}
    if read_only:
        settings["PGOPTIONS"] = f"{os.environ.get('PGOPTIONS', '')} -c default_transaction_read_only=on".strip()
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


@contextlib.contextmanager
def _native_words() -> Iterator[Callable[[], str]]:
    """Around ML Metadata's C++: holds back what it prints to stderr, where alone it says why PostgreSQL refuses."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:

        def words() -> str:
            held.seek(0)
            return held.read().decode("utf-8", "replace")

        os.dup2(held.fileno(), 2)
        try:
            yield words
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        others = [line for line in words().splitlines(keepends=True) if not _NATIVE_LOG.match(line)]
        os.write(2, "".join(others).encode())


def _told(address: StoreAddress, said: str) -> RunError:
    """What ML Metadata's words mean for the user."""
    name = f"The metadata store {address}" if address.is_server else f"The metadata store '{address}'"
    version = _VERSIONS.search(said)
    if version:
        return _of_another_version(name, *version.groups())
    if _EMPTY.search(said):
        return NothingRecordedError(
            f"{name} is empty: nothing has been recorded there.", "Run a pipeline with it first."
        )
    if _PARTIAL.search(said):
        return RunError(
            f"{name} holds only a part of ML Metadata's tables: another program is making it now, or it is damaged.",
            "Try again in a moment; if that does not help, restore it from a backup.",
        )
    if "Concurrent writes aborted" in said:
        return RunError(f"{name} is locked by another program.", "Wait for it, or stop it; then try again.")
    if "malformed" in said or "not a database" in said:
        return sqlite_file.damaged(address.path)
    known = store_server.explain(address, said) if address.is_server else None
    return known or RunError(f"{name} cannot be opened: {_reason(address, said)}", "")


def _of_another_version(name: str, found: str, how: str, library: str) -> RunError:
    if how == "older":
        return RunError(
            f"{name} is of schema version {found}; this ML Metadata ({mlmd.__version__}) reads version {library}.",
            "Make a copy of it, then upgrade it with ml_metadata.MetadataStore(config, enable_upgrade_migration=True).",
        )
    return RunError(
        f"{name} is of schema version {found}, written by a newer ML Metadata; this one ({mlmd.__version__}) reads "
        f"up to version {library}.",
        "Read it with the version of Braid that wrote it, or a newer one.",
    )


def _reason(address: StoreAddress, said: str) -> str:
    """The line of a client's words that says most."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line.partition("error: ")[2] for line in lines if line.partition("error: ")[2]]
    line = next(iter([*telling, *lines]), "ML Metadata does not say why.")
    return line.replace(address.password, "***") if address.password else line
