"""A double of Dataflow on this machine: the REST API as its client uses it, and a service that executes the jobs.

Nothing is simulated but the service: the client, the credentials, storage's client and the workers are real.
"""

import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cloud import flex_templates
from cloud.container_image import Image
from cloud.flex_templates import LaunchedJob, TemplateError
from cloud.misbehaviour import Answer, Misbehaviour, Request
from cloud.remote_job import BASIC, CANCELLED, ENDED, ERROR, WARNING, RemoteJob, Workers
from cloud.service_account import ServiceAccount

_PATH = re.compile(
    r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs(/(?P<id>[^/]+)(/(?P<part>\w+))?)?$"
)

_LAUNCH = re.compile(r"/v1b3/projects/[^/]+/locations/[^/]+/flexTemplates:launch$")

_CANCELLED = 5  # the client writes enumerations as numbers
_IMPORTANCE = {1: "JOB_MESSAGE_DEBUG", 5: "JOB_MESSAGE_DETAILED", 2: BASIC, 3: WARNING, 4: ERROR}
"""From the least to the most."""


class _Server(ThreadingHTTPServer):
    """Keeps what fails in its own code; that a client hangs up is no such thing."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.errors: list[BaseException | None] = []

    def handle_error(self, *_: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            self.errors.append(error)


class DataflowService:
    """The service; `misbehave` may be called at any time, and holds for what comes after.

    Attributes:
      address: for `--dataflow_endpoint`; Beam speaks REST where it reads `localhost`.
      jobs: by id.
      images: in the registry, by name.
      calls: every call of the API.
    """

    def __init__(self, folder: Path, workers: Workers) -> None:
        self.folder, self.workers = folder, workers
        self.jobs: dict[str, RemoteJob] = {}
        self.images: dict[str, Image] = {}
        self.calls: list[tuple[Request, int]] = []
        self.misbehaviours: list[Misbehaviour] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.account = ServiceAccount(f"{self.address}/token")

    @property
    def address(self) -> str:
        return f"http://localhost:{self._server.server_port}"

    @property
    def job(self) -> RemoteJob:
        """The only one."""
        (found,) = self.jobs.values()
        return found

    def misbehave(self, *how: Misbehaviour) -> None:
        """Changes how it behaves from now on; with nothing, well."""
        self.misbehaviours[:] = how

    @contextmanager
    def running(self) -> Iterator["DataflowService"]:
        """Serves; at the end no process of a job is left."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            for job in self.jobs.values():
                job.close()
        assert self._server.errors == [], "the double itself failed"

    def answer(self, request: Request, query: Mapping[str, Sequence[str]], body: bytes, authorization: str) -> Answer:
        """What a call gets."""
        if not self.account.knows(authorization):
            return Answer.error(401, "Request had invalid authentication credentials.")
        for bad in self.misbehaviours:
            if (instead := bad.instead_of(request)) is not None:
                return instead
        given = self._work(request, query, body)
        for bad in self.misbehaviours:
            given = bad.after(request, given)
        return given

    def _work(self, request: Request, query: Mapping[str, Sequence[str]], body: bytes) -> Answer:
        if request.creates:
            return self._create(json.loads(body))
        if request.what == "launch":
            return self._launch(json.loads(body)["launchParameter"])
        if request.what == "jobs":
            wanted = query.get("name", [""])[0]
            return Answer({"jobs": [job.as_json() for job in self.jobs.values() if wanted in ("", job.name)]})
        found = _PATH.match(request.path)
        job = self.jobs.get(found["id"]) if found else None
        if job is None:
            return Answer.error(404, f"(e0a1): Information about job {request.path} could not be found in our system.")
        return self._update(job, json.loads(body)) if request.method == "PUT" else Answer(_told(job, request, query))

    def _create(self, submitted: dict[str, Any]) -> Answer:
        """A job of a name that is active is answered in place of a second one."""
        return self._begin(
            submitted["name"],
            lambda name, folder: RemoteJob(name, submitted, folder, self.workers, list(self.misbehaviours)),
        )

    def _launch(self, launch: dict[str, Any]) -> Answer:
        """Starts a Flex Template, if its parameters are what its spec asks for."""
        try:
            spec = flex_templates.read_spec(launch["containerSpecGcsPath"], self.workers)
        except TemplateError as error:
            return Answer.error(400, str(error))
        wrong = list(flex_templates.violations(spec, launch.get("parameters", {})))
        if wrong:
            return Answer.error(400, f"The template parameters are invalid. Details: {'; '.join(wrong)}")
        image = self.images.get(spec["image"])
        bad = list(self.misbehaviours)
        answer = self._begin(
            launch["jobName"], lambda name, folder: LaunchedJob(name, launch, spec, image, folder, self.workers, bad)
        )
        return Answer({"job": answer.body})

    def _begin(self, name: str, made: Callable[[str, Path], RemoteJob]) -> Answer:
        with self._lock:
            for job in self.jobs.values():
                if job.name == name and job.state not in ENDED:
                    return Answer(job.as_json())
            number = f"2026-11-22_00_00_00-{len(self.jobs) + 1:019d}"
            folder = self.folder / number
            folder.mkdir(parents=True)
            job = self.jobs[number] = made(number, folder)
        job.start()
        return Answer(job.as_json())

    def _update(self, job: RemoteJob, body: Mapping[str, Any]) -> Answer:
        if body.get("requestedState") != _CANCELLED:
            return Answer.error(400, f"A job cannot become anything but {CANCELLED}, nor {body.get('requestedState')}.")
        if job.state in ENDED:
            return Answer.error(400, f"(f1c2): Job {job.id} has already ended.")
        job.cancel()
        return Answer(job.as_json())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if parts.path == "/token":
                    self._send(service._token(body.decode()))
                    return
                what = _called(parts.path)
                if not what:
                    self._send(Answer.error(404, f"No such method: {parts.path}"))
                    return
                request = Request(self.command, what, parts.path)
                authorization = self.headers.get("Authorization", "")
                given = service.answer(request, parse_qs(parts.query), body, authorization)
                service.calls.append((request, 0 if given.cut else given.status))
                self._send(given)

            do_GET = do_POST = do_PUT = _serve  # noqa: N815  http.server's names

            def _send(self, answer: Answer) -> None:
                if answer.cut:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                content = json.dumps(answer.body).encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """The service keeps its own list."""

        return Handler

    def _token(self, form: str) -> Answer:
        token = self.account.token(form)
        if token is None:
            return Answer({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        return Answer({"access_token": token, "token_type": "Bearer", "expires_in": 3600})


def _called(path: str) -> str:
    """What a path asks for, as `Request` calls it; '' for no method of the API."""
    if _LAUNCH.match(path):
        return "launch"
    found = _PATH.match(path)
    return (found["part"] or ("job" if found["id"] else "jobs")) if found else ""


def _told(job: RemoteJob, request: Request, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if request.what == "messages":
        return {"jobMessages": _messages(job, query), "autoscalingEvents": job.scaled}
    if request.what == "metrics":
        return {"metricTime": job.changed, "metrics": job.metrics()}
    return job.as_json()


def _messages(job: RemoteJob, query: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    since = datetime.fromisoformat(query.get("startTime", ["1970-01-01T00:00:00Z"])[0])
    least = int(query.get("minimumImportance", ["1"])[0])
    wanted = [*_IMPORTANCE.values()][[*_IMPORTANCE].index(least) :]
    return [
        one
        for one in list(job.messages)
        if datetime.fromisoformat(one["time"]) >= since and one["messageImportance"] in wanted
    ]
