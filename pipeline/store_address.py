"""Where a metadata store is: an SQLite file, or a database of a PostgreSQL or MySQL server."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from beam_jobs.errors import nearest
from pipeline.errors import RunError

Kind = Literal["sqlite", "postgresql", "mysql"]

FORMS = (
    "An address is a path, sqlite:///PATH, postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE or "
    "mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE."
)
_ENCODED = "In a user or password, write '/' as %2F, '@' as %40, ':' as %3A, '%' as %25; or set BRAID_STORE_PASSWORD."
_SCHEMES: dict[str, Kind] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_PORTS = {"postgresql": 5432, "mysql": 3306}
_PASSWORDS = {
    "postgresql": ("BRAID_STORE_PASSWORD", "PGPASSWORD"),
    "mysql": ("BRAID_STORE_PASSWORD", "MYSQL_PWD"),
}
_PARAMETERS = {"postgresql": ("host", "sslmode"), "mysql": ("socket",)}
_SOCKETS = {
    "postgresql": "A socket: postgresql://USER@/DATABASE?host=/FOLDER/OF/THE/SOCKET.",
    "mysql": "A socket: mysql://USER@/DATABASE?socket=/PATH/OF/THE/SOCKET.",
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# ML Metadata puts the parts into connection strings and SQL as they are.
_PLAIN = re.compile(r"[^\s'\"`\\;\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class StoreAddress:
    """The address of a metadata store; neither `str` nor `repr` shows the password.

    Attributes:
      kind: the database that keeps it; MariaDB counts as MySQL.
      path: the absolute path of an SQLite file.
      host: of a server that is reached through a network.
      socket: of one on this machine: MySQL's socket, or the folder of PostgreSQL's.
      sslmode: as PostgreSQL's client understands it.
    """

    kind: Kind
    path: str = ""
    user: str = ""
    host: str = ""
    port: int = 0
    database: str = ""
    socket: str = ""
    sslmode: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> "StoreAddress":
        """Reads an address as the user writes it.

        Args:
          text: a path or a URL.
          environment: where the password is looked up that a URL leaves out.

        Raises:
          RunError: it is none.
        """
        scheme, marks, rest = text.strip().partition("://")
        if not marks:
            return cls.file(_path(text))
        kind = _SCHEMES.get(scheme.lower())
        if kind is None:
            close = nearest(scheme.partition("+")[0], _SCHEMES)
            raise RunError(f"No metadata store can be at '{scheme}://...'.{close}", FORMS)
        if kind != "sqlite":
            return _server(kind, urlsplit(f"//{rest}"), environment)
        if not rest.startswith("/") or rest == "/":
            raise RunError("The address of an SQLite store names no file.", "sqlite:///PATH, with three slashes.")
        return cls.file(rest[1:])

    @classmethod
    def file(cls, path: str) -> "StoreAddress":
        """The address of an SQLite file."""
        return cls("sqlite", path=os.path.abspath(os.path.expanduser(path)))

    @property
    def is_server(self) -> bool:
        """Whether a server keeps it."""
        return self.kind != "sqlite"

    @property
    def place(self) -> str:
        """What two addresses of the same store have in common: all but who asks, and how."""
        return str(replace(self, user="", sslmode=""))

    def without_password(self) -> "StoreAddress":
        """The same, to be kept or shown."""
        return replace(self, password="")

    def __str__(self) -> str:
        if not self.is_server:
            return self.path
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        parameters = {
            "host" if self.kind == "postgresql" else "socket": self.socket,
            "sslmode": self.sslmode,
        }
        query = "&".join(f"{key}={quote(value)}" for key, value in parameters.items() if value)
        port = f":{self.port}" if self.port else ""
        return f"{self.kind}://{user}{host}{port}/{quote(self.database, safe='')}{'?' if query else ''}{query}"


def _path(text: str) -> str:
    word, colon, _ = text.partition(":")
    if colon and word.lower() in _SCHEMES:
        raise RunError(f"The address of a store has '//' behind '{word}:'.", FORMS)
    if not text.strip():
        raise RunError("The address of the metadata store is empty.", FORMS)
    return text


def _server(kind: Kind, url: SplitResult, environment: Mapping[str, str]) -> StoreAddress:
    """The messages quote no part: a password that is not encoded may have ended up in any of them."""
    parameters = _parameters(kind, url.query)
    socket = parameters.get("host" if kind == "postgresql" else "socket", "")
    address = StoreAddress(
        kind,
        user=unquote(url.username or ""),
        host=url.hostname or "",
        port=0 if kind == "mysql" and socket else _port(url) or _PORTS[kind],
        database=unquote(url.path.removeprefix("/")),
        socket=socket,
        sslmode=parameters.get("sslmode", ""),
        password=unquote(url.password or "") or _password(kind, environment),
    )
    _require_whole(address)
    return address


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError as error:
        raise RunError("The port in the store's address is no number from 0 to 65535.", _ENCODED) from error


def _password(kind: Kind, environment: Mapping[str, str]) -> str:
    return next((environment[name] for name in _PASSWORDS[kind] if environment.get(name)), "")


def _parameters(kind: Kind, query: str) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    known = _PARAMETERS[kind]
    for key in sorted(found.keys() - set(known)):
        quoted = f"'{key}'.{nearest(key, known)}" if key.isidentifier() else "such parameter."
        raise RunError(
            f"The address of a {kind} store takes no {quoted}",
            f"Behind '?' may stand {' and '.join(known)}. {_ENCODED}",
        )
    mode = found.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        raise RunError(
            f"The store's address asks for sslmode '{mode}'.{nearest(mode, _SSL_MODES)}",
            f"There are {', '.join(_SSL_MODES)}.",
        )
    return found


def _require_whole(address: StoreAddress) -> None:
    """Refuses what ML Metadata's client would end the whole process for."""
    store = f"The address of the {address.kind} store"
    if not address.user:
        raise RunError(f"{store} names no user.", f"{FORMS} {_ENCODED}")
    if bool(address.host) == bool(address.socket):
        raise RunError(f"{store} must name either a host or a socket.", f"{FORMS} {_SOCKETS[address.kind]}")
    if not address.database or "/" in address.database:
        raise RunError(f"{store} must end in the name of one database.", f"{FORMS} {_ENCODED}")
    parts = {"user": address.user, "host": address.host or address.socket, "database": address.database}
    for name, part in parts.items():
        if not _PLAIN.fullmatch(part):
            raise RunError(f"The {name} in the store's address holds a space, a quote or a control sign.", _ENCODED)
