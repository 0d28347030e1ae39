"""A bucket for tests: Google's own client, through Beam, against an emulator of Cloud Storage on this machine."""

import ipaddress
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from apache_beam.internal.gcp.auth import _Credentials
from apache_beam.io.gcp.gcsio import GcsIO
from gcp_storage_emulator.server import Router, create_server

LOOPBACK = "127.0.0.1"
# A token that is still valid is never renewed, so nobody is asked for one; without credentials at all Google's
# library looks for a metadata server, for 20 seconds.
CREDENTIALS = {
    "type": "authorized_user",
    "client_id": "test",
    "client_secret": "test",
    "refresh_token": "test",
    "token": "test",
    "expiry": "2999-01-01T00:00:00Z",
    "quota_project_id": "test",
}


@dataclass
class Bucket:
    """A bucket and what was asked of its server since it was made.

    Attributes:
      url: `gs://` and its name.
      requests: the request lines, such as `GET /storage/v1/b/name/o HTTP/1.1`.
    """

    name: str
    client: Any
    requests: list[str] = field(default_factory=list, repr=False)

    @property
    def url(self) -> str:
        return f"gs://{self.name}"

    def put(self, name: str, content: bytes | str) -> str:
        """Stores an object; returns its path."""
        self.client.bucket(self.name).blob(name).upload_from_string(content)
        return f"{self.url}/{name}"

    def get(self, name: str) -> bytes:
        found: bytes = self.client.bucket(self.name).blob(name).download_as_bytes()
        return found

    def lies_in(self, location: str) -> None:
        """Moves it to a location, such as `EU`."""
        self.client._connection.api_request("PATCH", f"/b/{self.name}", data={"location": location})

    @property
    def names(self) -> list[str]:
        """All its objects, sorted."""
        return sorted(blob.name for blob in self.client.list_blobs(self.name))

    @property
    def downloads(self) -> list[str]:
        """The requests for the content of an object."""
        return [line for line in self.requests if "alt=media" in line]


@contextmanager
def storage_server() -> Iterator[str]:
    """Runs the emulator in this process, its objects in memory; yields its address."""
    server = create_server(LOOPBACK, 0, in_memory=True)
    server.start()
    try:
        yield f"http://{LOOPBACK}:{server._api._httpd.server_port}"  # the port that the system chose
    finally:
        server.stop()


@contextmanager
def storage_bucket(name: str, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Points Google's client of this process at the emulator, and makes a bucket there.

    Nothing else can be reached meanwhile; that something tried fails the test.
    """
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps(CREDENTIALS))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, LOOPBACK)
    monkeypatch.setattr(_Credentials, "_credentials_init", False)  # Beam keeps what it first finds
    monkeypatch.setattr(_Credentials, "_credentials", None)
    attempts = _only_loopback(monkeypatch)
    client = GcsIO().client
    client.create_bucket(name, project="test")
    bucket = Bucket(name, client)
    with _requests_into(bucket.requests):
        yield bucket
    assert attempts == [], "something beyond this machine was asked for"


@contextmanager
def lacking(bucket: Bucket, permission: str, admitted: bool = True) -> Iterator[None]:
    """Answers 403 to what takes a permission on the bucket, such as `storage.objects.create`.

    Args:
      admitted: whether the service, asked which permissions are held, says so.
    """
    methods = {"create": ("POST", "PUT"), "get": ("GET",), "delete": ("DELETE",)}[permission.rpartition(".")[2]]
    handled = Router.handle

    def handle(self: Router, method: str) -> None:
        request = self._request_handler
        asks = "/iam/testPermissions" in request.path
        if bucket.name not in request.path or not (asks or method in methods) or (asks and not admitted):
            handled(self, method)
            return
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        held = [name for name in parse_qs(urlparse(request.path).query).get("permissions", []) if name != permission]
        refusal = {"error": {"code": 403, "message": f"The caller does not have {permission} access."}}
        body = json.dumps({"permissions": held} if asks else refusal).encode()
        request.send_response(200 if asks else 403)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Router, "handle", handle)
        yield


def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Refuses connections to elsewhere; returns the list that such attempts go into."""
    attempts: list[object] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0]).is_loopback:
            attempts.append(address)
            raise ConnectionRefusedError(f"{address} is not this machine")
        connect(self, address)

    resolve = socket.getaddrinfo

    def resolving(host: Any, *arguments: Any, **named: Any) -> Any:
        if host not in (LOOPBACK, "localhost", None):
            attempts.append(host)
            raise socket.gaierror(f"{host} is not this machine")
        return resolve(host, *arguments, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    return attempts


@contextmanager
def _requests_into(lines: list[str]) -> Iterator[None]:
    logger, handler = logging.getLogger("gcp_storage_emulator.server"), logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage().split('"')[1])  # type: ignore[method-assign]
    handler.addFilter(lambda record: record.levelno == logging.INFO and '"' in record.getMessage())
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
