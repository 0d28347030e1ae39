"""An SQLite file, looked at before ML Metadata opens it: ML Metadata would make tables in any file, and wait for minutes.

It is read by Python's own SQLite, which never writes to a file that is only to be read. A process must not look while
it has a transaction of ML Metadata's under way: closing a file drops the locks that the process holds on it.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from urllib.parse import quote

from beam_jobs.errors import listed, nearest
from pipeline.errors import NothingRecordedError, RunError

VERSIONED = "MLMDEnv"
"""The table of a metadata store that tells its schema's version."""
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")


def check_reading(path: str, wait: float) -> str:
    """Makes sure that the file is a store that can be read; nothing is changed, but for a write cut off by a crash,
    which is taken back as SQLite must before anyone reads.

    Args:
      path: the file.
      wait: seconds to wait for another program's lock.

    Returns:
      What ML Metadata must open: the path, or a URI of it.

    Raises:
      RunError: it is none, or it cannot be read.
    """
    _require_readable(path)
    found, tables = _tables(path, wait)
    if not tables:
        raise NothingRecordedError(
            f"'{path}' is empty: nothing has been recorded in this metadata store.", "Run a pipeline first."
        )
    _require_store(path, tables)
    return found


def check_writing(path: str, wait: float) -> None:
    """Makes sure that the file is a store that can be written, or that one can be made there; makes none.

    Raises:
      RunError: neither.
    """
    if not os.path.lexists(path):
        _require_folder(os.path.dirname(path))
        return
    _require_readable(path)
    _, tables = _tables(path, wait)
    if tables:
        _require_store(path, tables)
    if not _is_writable(path):
        raise _read_only(path)
    with _explained(path, wait), _connected(path, "mode=rw", wait) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _require_readable(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path) from error
    except PermissionError as error:
        raise RunError(
            f"The metadata store '{path}' cannot be reached: its folder may not be entered.",
            "Ask its owner for the right to read the folder and the file.",
        ) from error
    if stat.S_ISDIR(mode):
        inside = os.path.join(path, "metadata.sqlite")
        hint = f"Did you mean '{inside}'?" if os.path.exists(inside) else "Name the file itself."
        raise RunError(f"'{path}' is a folder, no metadata store.", hint)
    if not os.access(path, os.R_OK):
        raise RunError(
            f"The metadata store '{path}' may not be read by you.", "Ask its owner for the right to read it."
        )


def _missing(path: str) -> NothingRecordedError:
    folder, name = os.path.split(path)
    beside = os.listdir(folder) if os.path.isdir(folder) and os.access(folder, os.R_OK) else []
    return NothingRecordedError(
        f"There is no metadata store '{path}': nothing has been recorded there.{nearest(name, beside)}",
        "Run a pipeline first, or name its workspace with --workspace DIR, or its store with --store ADDRESS.",
    )


def _require_folder(folder: str) -> None:
    if not os.path.isdir(folder):
        raise RunError(
            f"The metadata store cannot be made: there is no folder '{folder}'.", "Make it, or name another."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(
            f"The metadata store cannot be made: the folder '{folder}' cannot be written.",
            "Name another with --store or --workspace.",
        )


def _tables(path: str, wait: float) -> tuple[str, list[str]]:
    """What to open the file by, and the names of its tables."""
    for last_try in (False, True):
        with _explained(path, wait):
            try:
                return path, _read_tables(path, "mode=ro", wait)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname == "SQLITE_READONLY_ROLLBACK" and not last_try:
                    _take_back(path, wait)
                elif _is_write_ahead_log_of_nobody(path, error):
                    return f"file:{quote(path)}?immutable=1", _read_tables(path, "immutable=1", wait)
                else:
                    raise
    raise AssertionError("the second try returns or raises")


def _read_tables(path: str, how: str, wait: float) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    with _connected(path, how, wait) as connection:
        return [name for (name,) in connection.execute(query)]


def _is_write_ahead_log_of_nobody(path: str, error: sqlite3.OperationalError) -> bool:
    """Whether it is in SQLite's WAL mode, cleanly closed, where its log cannot be made: then it can be read as it is."""
    cannot_log = error.sqlite_errorname in ("SQLITE_READONLY_DIRECTORY", "SQLITE_CANTOPEN", "SQLITE_READONLY_CANTINIT")
    return cannot_log and not os.path.exists(f"{path}-wal")


def _take_back(path: str, wait: float) -> None:
    """Lets SQLite undo the write that a process was killed in."""
    with _connected(path, "mode=rw", wait) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master")


def _require_store(path: str, tables: list[str]) -> None:
    if VERSIONED not in tables and not {"Artifact", "Execution"} <= set(tables):
        raise RunError(
            f"'{path}' is an SQLite database, but no metadata store: it holds {listed(tables)}.",
            "Name the store with --store ADDRESS.",
        )


@contextlib.contextmanager
def _connected(path: str, how: str, wait: float) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(f"file:{quote(path)}?{how}", uri=True, timeout=wait, isolation_level=None)
    ) as connection:
        yield connection


@contextlib.contextmanager
def _explained(path: str, wait: float) -> Iterator[None]:
    """Around SQLite's work: words its errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise _told(path, wait, error) from error


def _told(path: str, wait: float, error: sqlite3.Error) -> RunError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(_DAMAGED):
        return damaged(path)
    if name.startswith(_LOCKED):
        return RunError(
            f"The metadata store '{path}' is locked by {_holder(path)}, which did not let go within {wait:g} seconds.",
            "Wait for it, or stop it; then try again.",
        )
    if os.path.exists(f"{path}-journal") and not _is_writable(path):
        return RunError(
            f"The metadata store '{path}' was left in the middle of a write, and you may not write it to take that back.",
            "Let someone who may write the file and its folder run `braid runs` once.",
        )
    if name.startswith("SQLITE_READONLY"):
        return _read_only(path)
    return RunError(
        f"The metadata store '{path}' cannot be read: {error} ({name}).",
        "Check the disk that it is on, and that you may read the file and write its folder.",
    )


def damaged(path: str) -> RunError:
    """Of a file that is no whole SQLite database."""
    return RunError(
        f"'{path}' is no metadata store: it is not an SQLite file, or it is damaged.",
        "Restore it from a backup; or move it away, and everything runs anew.",
    )


def _read_only(path: str) -> RunError:
    return RunError(
        f"The metadata store '{path}' is read-only: you may not write the file, or not its folder.",
        "`braid runs`, `braid show` and `braid lineage` read it; to run, name another with --store or --workspace.",
    )


def _is_writable(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)


def _holder(path: str) -> str:
    """Who holds the file's lock, where the system tells."""
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            fields = [line.split() for line in locks]
        inode = os.stat(path).st_ino
    except OSError:
        return "another program"
    for field in fields:
        if field[-3].endswith(f":{inode}") and _has_open(field[-4], path):
            return f"process {field[-4]}"
    return "another program"


def _has_open(process: str, path: str) -> bool:
    folder = f"/proc/{process}/fd"
    try:
        return any(os.path.realpath(os.path.join(folder, one)) == os.path.realpath(path) for one in os.listdir(folder))
    except OSError:
        return False
