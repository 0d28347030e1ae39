"""Real PostgreSQL and MariaDB servers: each fresh, on loopback alone, in a folder of its own, gone with the tests."""

import contextlib
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from debian_packages import NotAvailableError, unpacked

from pipeline import store_server
from pipeline.errors import RunError
from pipeline.store_address import StoreAddress

LOOPBACK = "127.0.0.1"
OWNER, READER = "braid", "reader"
PASSWORD = "s3cret/p@ss:w'o\\rd %"
"""With everything in it that a URL, a connection string or SQL might trip over."""
DATABASES = ("braid", "runs", "lineage", "empty", "shared", "older", "newer", "partial")
"""`older` and `newer` are of another schema version, `partial` lacks tables; the others are empty."""
SECONDS = 60


@dataclass(frozen=True)
class StoreServer:
    """A running server.

    Attributes:
      socket: how it is reached without the network, as an address has it.
    """

    kind: str
    port: int
    socket: str
    process: subprocess.Popen[bytes]

    def url(self, database: str = "braid", user: str = OWNER, password: str = PASSWORD) -> str:
        """An address with its password, as a user might write it."""
        return f"{self.kind}://{user}:{quote(password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    def address(self, database: str = "braid", user: str = OWNER, password: str = PASSWORD) -> StoreAddress:
        return StoreAddress.parse(self.url(database, user, password))


@contextlib.contextmanager
def postgresql_server() -> Iterator[StoreServer]:
    """Runs PostgreSQL.

    Raises:
      NotAvailableError: it is neither installed nor to be had.
    """
    programs, environment = postgresql_programs()
    with _folder() as folder:
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        data, port = folder / "data", _free_port()
        making = [programs / "initdb", "-D", data, "-U", OWNER, "-A", "scram-sha-256", "--locale=C", "-E", "UTF8"]
        _run([*making, "--pwfile", folder / "password", "--no-sync"], environment)
        options = {"listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": folder, "fsync": "off"}
        command = [programs / "postgres", "-D", data, *(f"--{key}={value}" for key, value in options.items())]
        with _running(command, environment, folder / "log") as process:
            server = StoreServer("postgresql", port, str(folder), process)
            sql = functools.partial(_psql, programs / "psql", environment, server)
            _wait_for(server, folder / "log", lambda: sql("postgres", "SELECT 1"))
            _fill_postgresql(sql)
            yield server


def _fill_postgresql(sql: Any) -> None:
    sql("postgres", *(f"CREATE DATABASE {name}" for name in DATABASES))
    for name, version in (("older", 9), ("newer", 11)):
        sql(
            name, "CREATE TABLE MLMDEnv (schema_version INTEGER PRIMARY KEY)", f"INSERT INTO MLMDEnv VALUES ({version})"
        )
    sql("partial", "CREATE TABLE MLMDEnv (schema_version INTEGER PRIMARY KEY)", "INSERT INTO MLMDEnv VALUES (10)")
    sql(
        "braid",
        f"CREATE USER {READER} PASSWORD {_literal(PASSWORD)}",
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {READER}",
    )


def _psql(program: Path, environment: dict[str, str], server: StoreServer, database: str, *statements: str) -> None:
    command: list[Any] = [program, "-h", LOOPBACK, "-p", server.port, "-U", OWNER, "-d", database, "-q"]
    command += ["-v", "ON_ERROR_STOP=1", "-o", os.devnull]
    for statement in statements:
        command += ["-c", statement]
    _run(command, {**environment, "PGPASSWORD": PASSWORD})


@contextlib.contextmanager
def mysql_server() -> Iterator[StoreServer]:
    """Runs MariaDB, which speaks MySQL's protocol.

    Raises:
      NotAvailableError: it is neither installed nor to be had.
    """
    program, share, environment = _mariadb()
    with _folder() as folder:
        data, port, path = folder / "data", _free_port(), folder / "socket"
        _run(["mkdir", data], environment)
        common = [program, "--no-defaults", f"--datadir={data}", f"--lc-messages-dir={share}"]
        common += [f"--character-sets-dir={share / 'charsets'}", "--innodb-buffer-pool-size=16M"]
        common += ["--innodb-flush-log-at-trx-commit=0", f"--pid-file={folder / 'pid'}", f"--socket={path}"]
        common += [f"--plugin-dir={share.parents[1] / 'lib' / 'mysql' / 'plugin'}"]
        _run([*common, "--bootstrap", "--innodb-log-file-size=8M"], environment, _mariadb_sql(share))
        command = [*common, f"--bind-address={LOOPBACK}", f"--port={port}"]
        with _running(command, environment, folder / "log") as process:
            server = StoreServer("mysql", port, str(path), process)
            _wait_for(server, folder / "log", lambda: store_server.reach(server.address(), 1))
            yield server


def _mariadb_sql(share: Path) -> str:
    """What makes a data folder: MariaDB's own tables, then ours. A statement must end its line."""
    files = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
    lines = ["CREATE DATABASE mysql;", "USE mysql;", *((share / name).read_text() for name in files)]
    lines += ["FLUSH PRIVILEGES;"]
    lines += [f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;" for name in DATABASES]
    for name, version in (("older", 9), ("newer", 11), ("partial", 10)):
        lines += [f"CREATE TABLE {name}.MLMDEnv (schema_version INTEGER PRIMARY KEY);"]
        lines += [f"INSERT INTO {name}.MLMDEnv VALUES ({version});"]
    for host in (LOOPBACK, "localhost"):
        password = _literal(PASSWORD.replace("\\", "\\\\"))
        lines += [f"CREATE USER {user}@'{host}' IDENTIFIED BY {password};" for user in (OWNER, READER)]
        lines += [f"GRANT ALL ON {name}.* TO {OWNER}@'{host}';" for name in DATABASES]
        lines += [f"GRANT SELECT ON braid.* TO {READER}@'{host}';"]
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def postgresql_programs() -> tuple[Path, dict[str, str]]:
    """The folder of PostgreSQL's programs, and the environment to run them in."""
    initdb = shutil.which("initdb")
    beside = [Path(initdb).resolve().parent] if initdb else []
    for programs in [*beside, *_newest(Path("/usr/lib/postgresql"))]:
        if all((programs / name).exists() for name in ("initdb", "postgres", "psql")):
            return programs, _environment()
    root = unpacked("postgresql", ["postgresql"])
    for programs in _newest(root / "usr/lib/postgresql"):
        return programs, _environment(root)
    raise NotAvailableError(f"the package postgresql holds no server: {root}")


def _newest(root: Path) -> list[Path]:
    return sorted(root.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)


def _mariadb() -> tuple[Path, Path, dict[str, str]]:
    """MariaDB's program, its folder of SQL and messages, and the environment to run it in."""
    installed = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    root = Path("/") if installed else unpacked("mariadb", ["mariadb-server-core", "mariadb-server"])
    program = Path(installed) if installed else root / "usr/sbin/mariadbd"
    share = next((path.parent for path in (root / "usr/share").glob("*/mysql_system_tables.sql")), None)
    if share is None or not program.exists():
        raise NotAvailableError(f"MariaDB is not whole: {program}, {root / 'usr/share'}")
    return program, share, _environment(None if installed else root)


def _environment(root: Path | None = None) -> dict[str, str]:
    libraries = [str(path) for path in (root / "usr/lib").glob("*-linux-gnu")] if root else []
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder of the server's user, not below pytest's, which only root may enter when root runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="braid-server-"))
    try:
        made.chmod(0o755)
        user = _user()
        if user:
            os.chown(made, user["user"], user["group"])
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then servers run as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _run(command: Sequence[Any], environment: dict[str, str], given: str = "") -> None:
    words = [str(word) for word in command]
    options = {**_user(), "env": environment, "cwd": "/", "input": given, "timeout": SECONDS}
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"[-4000:])


@contextlib.contextmanager
def _running(command: Sequence[Any], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Around a server; should the tests be killed, it dies with them."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *map(str, command)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **_user(),
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: nobody needs the data any more
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(server: StoreServer, log: Path, ask: Any) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            ask()
            return
        except (RuntimeError, RunError) as error:
            if server.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{server.kind} does not start:\n{log.read_text()[-4000:]}") from error
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
