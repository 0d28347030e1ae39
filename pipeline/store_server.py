"""The server of a metadata store: whether it answers, and what its refusals mean."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.errors import RunError
from pipeline.store_address import StoreAddress

NAMES = {"postgresql": "PostgreSQL", "mysql": "MySQL"}
_GREETING, _REFUSAL = 0x0A, 0xFF
_HEADER = 4
_MOST = 1024


class Told(NamedTuple):
    """What a sign in a client's message means; `{store}`, `{user}` and `{database}` are filled in."""

    sign: str
    message: str
    hint: str


_PASSWORD_HINT = "Set the password in BRAID_STORE_PASSWORD (or PGPASSWORD, MYSQL_PWD), or check the user's name."
_RIGHTS = "Let the database's owner grant user '{user}' what is missing; SELECT on all tables is enough to read."
_SIGNS = (
    Told(
        "password authentication failed", "The server refuses user '{user}' or the password: {store}.", _PASSWORD_HINT
    ),
    Told("no password supplied", "The server asks for the password of user '{user}': {store}.", _PASSWORD_HINT),
    Told(
        "mysql_real_connect failed",
        "The server refuses user '{user}', the password, or this machine: {store}.",
        _PASSWORD_HINT + " The client can only do mysql_native_password: the user must be made with that.",
    ),
    Told('role "[^"]*" does not exist', "The server knows no user '{user}': {store}.", "Check the user's name."),
    Told(
        r'database "[^"]*" does not exist|Unknown database',
        "There is no database '{database}' on the server: {store}.",
        "Check its name, or make it: CREATE DATABASE {database};",
    ),
    Told(
        "Access denied for user .* to database",
        "User '{user}' may not use the database '{database}', or there is none: {store}.",
        "Check its name, or let an administrator make it and grant '{user}' all rights on it.",
    ),
    Told(
        "no pg_hba.conf entry",
        "The server lets user '{user}' in from this machine not at all, or only with TLS: {store}.",
        "Let its administrator add an entry to pg_hba.conf.",
    ),
    Told(
        "SSL support is not compiled in",
        "ML Metadata's client is built without TLS, so it cannot do the sslmode that the address asks for: {store}.",
        "Use sslmode=prefer in a network that you trust, or go through a tunnel such as ssh -L.",
    ),
    Told("timeout expired", "The server does not answer: {store}.", "Check the address, and a firewall between."),
    Told(
        "too many (clients|connections)|connection slots", "The server has no connection left: {store}.", "Try later."
    ),
    Told("permission denied|command denied", "User '{user}' lacks a right: {store}.", _RIGHTS),
    Told("expected authentication request|server closed the connection", "{store} is no PostgreSQL server.", ""),
)


def explain(address: StoreAddress, said: str) -> RunError | None:
    """What the client's words mean, if that is known."""
    for told in _SIGNS:
        if re.search(told.sign, said):
            known = {"store": address, "user": address.user, "database": address.database}
            return RunError(told.message.format_map(known), told.hint.format_map(known))
    return None


def reach(address: StoreAddress, wait: float) -> None:
    """Makes sure that a server of the right kind answers there.

    ML Metadata's clients would wait for minutes, and MySQL's says the same whatever is wrong.

    Raises:
      RunError: none does.
    """
    name = NAMES[address.kind]
    try:
        with _connected(address, wait) as connection:
            if address.kind == "mysql":
                _require_greeting(address, connection.recv(_MOST))
    except socket.gaierror as error:
        raise RunError(f"The host '{address.host}' is not known: {address}.", "Check its spelling.") from error
    except TimeoutError as error:
        raise RunError(
            f"No {name} server answers within {wait:g} seconds: {address}.",
            "Check host and port, and whether a firewall lies between.",
        ) from error
    except OSError as error:
        raise RunError(
            f"No {name} server is to be reached ({error.strerror}): {address}.",
            "Check that it runs, its host and port.",
        ) from error


@contextlib.contextmanager
def _connected(address: StoreAddress, wait: float) -> Iterator[socket.socket]:
    if not address.socket:
        with socket.create_connection((address.host, address.port), timeout=wait) as connection:
            yield connection
        return
    path = address.socket
    if address.kind == "postgresql":
        path = os.path.join(path, f".s.PGSQL.{address.port}")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(wait)
        connection.connect(path)
        yield connection


def _require_greeting(address: StoreAddress, packet: bytes) -> None:
    """A MySQL server speaks first: its version, or why it does not want to talk."""
    first = packet[_HEADER] if len(packet) > _HEADER else 0
    if first == _REFUSAL:
        text = packet[_HEADER + 3 :].decode("utf-8", "replace")
        raise RunError(f"The server refuses to talk: {text} ({address})", "Ask its administrator.")
    if first != _GREETING:
        raise RunError(f"What answers is no MySQL server: {address}.", "Check host and port.")
