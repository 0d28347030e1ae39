"""The HTTP server around an endpoint: this machine alone may ask, and not too much at once."""

import json
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from beam_jobs.column_types import type_name
from pipeline.errors import RunError, explain
from pipeline.serving.endpoint import Endpoint, RefusedError

HOST = "127.0.0.1"
MOST_BYTES = 32 << 20
"""Of one request."""
WAIT_SECONDS = 30.0
"""For a client that has begun a request and does not go on."""
_LOCAL = ("127.0.0.1", "localhost")
_HTML, _JSON = "text/html; charset=utf-8", "application/json"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'",
}
PAGES = {"/": ("try.html", _HTML), "/try.css": ("try.css", "text/css"), "/try.js": ("try.js", "text/javascript")}
PAGE_DATA = "/try.json"


class Server(ThreadingHTTPServer):
    """Serves one endpoint; a thread a connection."""

    daemon_threads = True
    request_queue_size = 128  # clients that ask in the same moment

    def __init__(
        self, endpoint: Endpoint, port: int, example: Mapping[str, Any] | None = None, is_verbose: bool = False
    ) -> None:
        """Takes the port; 0 is any that is free. `example` is a row for the page where rows can be tried.

        Raises:
          RunError: it is taken.
        """
        self.endpoint, self.example, self.is_verbose = endpoint, dict(example or {}), is_verbose
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise RunError(
                f"Port {port} of {HOST} cannot be served from: {getattr(error, 'strerror', None) or error}.",
                "Name another with --port, or --port 0 for any that is free.",
            ) from error

    @property
    def address(self) -> str:
        """Where it can be asked."""
        return f"http://{HOST}:{self.server_port}"

    def page_data(self) -> dict[str, Any]:
        """What the page where rows can be tried has to know."""
        found = self.endpoint.model
        schema = (found.raw or found.prepared).schema
        columns = {field.name: type_name(field.type) for field in schema}
        return {"name": found.found.name, "title": found.found.title, "columns": columns, "example": self.example}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "braid", ""
    timeout = WAIT_SECONDS

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def _handle(self, method: str) -> None:
        path = self.path.partition("?")[0]
        try:
            self._check_host()
            body = self._body() if method == "POST" else b""
            if method == "GET" and path in PAGES:
                name, kind = PAGES[path]
                self._send(200, resources.files("pipeline.serving").joinpath(name).read_bytes(), kind)
                return
            if (method, path) == ("GET", PAGE_DATA):
                self._send_json(200, self.server.page_data())
                return
            self._send_json(200, self.server.endpoint.answer(method, path, body))
        except RefusedError as refusal:
            self._send_json(refusal.code, {"error": f"{refusal} {refusal.hint}".strip()})
        except ConnectionError:
            raise
        except Exception as error:  # the server goes on; the client is told
            self._send_json(500, {"error": " ".join(explain(error))})

    def _check_host(self) -> None:
        """Refuses pages of other sites whose name was made to mean this machine."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in _LOCAL:
            self.close_connection = True
            raise RefusedError(403, f"'{host}' is not this machine.", f"Ask {self.server.address}.")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self.close_connection = True
            raise RefusedError(411, "The request does not tell its length.", "Send the header Content-Length.")
        if int(length) > MOST_BYTES:
            self.close_connection = True
            raise RefusedError(
                413,
                f"The request has {int(length):,} bytes; {MOST_BYTES:,} are the most.",
                "Send fewer rows at once, or score a table with `braid score`.",
            )
        return self.rfile.read(int(length))

    def _send_json(self, code: int, answer: Mapping[str, Any]) -> None:
        self._send(code, json.dumps(answer).encode(), _JSON)

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself, in the same shape."""
        self.close_connection = True
        self._send_json(code, {"error": message or explain or "The request is refused."})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        """One line a request, where asked for."""
        if self.server.is_verbose:
            sys.stderr.write(f"{self.log_date_time_string()} {format % args}\n")
