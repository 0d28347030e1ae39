"""One job of the double of Dataflow: what was submitted is staged, installed and executed, in an environment of its own."""

import datetime
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from cloud.misbehaviour import Misbehaviour
from cloud.worker_environment import worker_python

RUNNER = Path(__file__).with_name("graph_runner.py")
PENDING, RUNNING, DONE, FAILED = "JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_DONE", "JOB_STATE_FAILED"
CANCELLING, CANCELLED = "JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"
ENDED = (DONE, FAILED, CANCELLED)
BASIC, WARNING, ERROR = "JOB_MESSAGE_BASIC", "JOB_MESSAGE_WARNING", "JOB_MESSAGE_ERROR"
GAVE_UP = (
    "Workflow failed. Causes: S01:{step} failed., The job failed because a work item has failed 4 times. "
    "Look in previous log entries for the cause of each one of the 4 failures."
)
_USED = (
    ("TotalVcpuTime", "cpu_num_seconds", 90),
    ("TotalMemoryUsage", "mem_mb_seconds", 90 * 4096),
    ("TotalPdUsage", "pd_gb_seconds", 90 * 50),
    ("TotalSsdUsage", "pd_ssd_gb_seconds", 0),
    ("TotalShuffleDataProcessed", "shuffle_service_actual_gb", 0.25),
    ("BillableShuffleDataProcessed", "shuffle_service_chargeable_gb", 0.0625),
)
"""What the service tells to have been used: its names for it, and how much of it this double says that a worker used."""


class StagingError(Exception):
    """What was staged is not what the job says, or cannot be installed."""


@dataclass(frozen=True)
class Workers:
    """What the machines of the service are like.

    Attributes:
      python: of the image: an environment with the pinned packages; of a job that stages `requirements.txt`, the one made from it.
      count: how many.
      environment: what a worker's processes see, such as where storage is.
    """

    python: Path
    count: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)


def now() -> str:
    """The time as the API writes it."""
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


def _whole(value: Any) -> Any:
    """JSON in which a whole number is one again: the client's message knows numbers as floats alone."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class RemoteJob:
    """A job from its submission to its end.

    Attributes:
      request: as it was submitted.
      staged: the names and contents of what was staged for its workers.
      workers: process ids of all workers that it had.
      lost: those that were lost on the way.
    """

    def __init__(
        self, name: str, request: Mapping[str, Any], folder: Path, workers: Workers, bad: Sequence[Misbehaviour]
    ) -> None:
        self.id, self.request, self.folder = name, dict(request), folder
        self.state, self.created, self.changed = PENDING, now(), now()
        self.messages: list[dict[str, Any]] = []
        self.counters: dict[tuple[str, str, str], int] = {}
        self.staged: dict[str, bytes] = {}
        self.workers: list[int] = []
        self.lost: list[int] = []
        self.zombies: list[dict[str, Any]] = []
        self.scaled: list[dict[str, Any]] = []
        self.bundles = 0
        self._machines, self._bad = workers, bad
        self._lock = threading.RLock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def name(self) -> str:
        """The name that it was submitted under."""
        return str(self.request["name"])

    @property
    def options(self) -> dict[str, Any]:
        """The pipeline's options, as its workers get them."""
        found: dict[str, Any] = _whole(self.request["environment"]["sdkPipelineOptions"]["options"])
        return found

    def start(self) -> None:
        """Begins, in a thread of its own."""
        self.tell(BASIC, f"{self.name} was created.")
        self._thread.start()

    def wait(self, seconds: float = 120) -> str:
        """Waits for the end; returns the state."""
        self._thread.join(seconds)
        return self.state

    def cancel(self) -> None:
        """Stops the workers."""
        with self._lock:
            if self.state in ENDED:
                return
            self._becomes(CANCELLING)
            self._stop_process()

    def close(self) -> None:
        """Leaves no process behind."""
        self.cancel()
        self._thread.join(30)

    def tell(self, importance: str, text: str) -> None:
        """Adds a message."""
        with self._lock:
            number = len(self.messages)
            self.messages.append(
                {"id": f"{number:08d}", "time": now(), "messageText": text, "messageImportance": importance}
            )

    def as_json(self) -> dict[str, Any]:
        """As the API describes it."""
        kept = ("name", "clientRequestId", "type", "labels", "environment")
        return {
            **{key: self.request[key] for key in kept if key in self.request},
            "id": self.id,
            "projectId": "test",
            "location": "us-central1",
            "currentState": self.state,
            "currentStateTime": self.changed,
            "createTime": self.created,
        }

    def metrics(self) -> list[dict[str, Any]]:
        """Counters, committed and tentative, as the API tells them."""
        with self._lock:
            counted = dict(self.counters)
        found = []
        for (namespace, name, step), value in counted.items():
            for extra in ({}, {"tentative": "true"}):
                context = {"namespace": namespace, "step": step, **extra}
                update = {"name": {"origin": "user", "name": name, "context": context}, "kind": "Sum", "scalar": value}
                found.append({**update, "updateTime": now()})
        return [*found, *(self._used(*one) for one in _USED)]

    def _used(self, name: str, original: str, a_worker: float) -> dict[str, Any]:
        """What the workers have used, as if each had come at the same price."""
        named = {"origin": "dataflow/v1b3", "name": name, "context": {"original_name": f"Service-{original}"}}
        return {"name": named, "scalar": a_worker * len(self.workers), "updateTime": now()}

    def _becomes(self, state: str) -> None:
        with self._lock:
            self.state, self.changed = state, now()

    def _run(self) -> None:
        try:
            refused = next((told for bad in self._bad if (told := bad.refuses_to_start())), "")
            if refused:
                self._fails(refused)
                return
            python = self._install()
            with self._lock:
                if self.state == PENDING:
                    self._becomes(RUNNING)
            for bad in self._bad:
                bad.delays(lambda: self.state == CANCELLING)
            self._execute(python)
        except StagingError as error:
            self._fails(str(error))
        if self.state == CANCELLING:
            self._becomes(CANCELLED)

    def _fails(self, *texts: str) -> None:
        with self._lock:
            for text in texts:
                self.tell(ERROR, text)
            if self.state != CANCELLING:
                self._becomes(FAILED)

    def _install(self) -> Path:
        """Fetches what the graph's environments name and installs it; returns the workers' Python."""
        graph = self._fetch(self.options["pipelineUrl"], self.options["pipelineProtoHash"])
        (self.folder / "pipeline.pb").write_bytes(graph)
        (self.folder / "options.json").write_text(json.dumps(self.options))
        for environment in beam_runner_api_pb2.Pipeline.FromString(graph).components.environments.values():
            self.staged |= dict(self._dependencies(environment.dependencies))
        site = self.folder / "site"
        site.mkdir()
        for name, content in self.staged.items():
            if name.endswith(".whl"):
                (self.folder / name).write_bytes(content)
                zipfile.ZipFile(self.folder / name).extractall(site)
            elif name.endswith((".tar.gz", ".zip")):
                self._install_sources(name, content, site)
        wanted = self.staged.get("requirements.txt", b"").decode()
        return worker_python(wanted) if wanted else self._machines.python

    def _install_sources(self, name: str, content: bytes, site: Path) -> None:
        (self.folder / name).write_bytes(content)
        command = [
            sys.executable,
            "-m",
            "pip",
            "-q",
            "install",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(site),
        ]
        done = subprocess.run([*command, str(self.folder / name)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StagingError(
                f"A setup error was detected in the workers: {name} cannot be installed: {done.stderr[-800:]}"
            )

    def _dependencies(self, dependencies: Any) -> Iterator[tuple[str, bytes]]:
        for one in dependencies:
            if (one.type_urn, one.role_urn) != (
                common_urns.artifact_types.URL.urn,
                common_urns.artifact_roles.STAGING_TO.urn,
            ):
                raise StagingError(f"The workers cannot get {one.type_urn} for {one.role_urn}")
            place = beam_runner_api_pb2.ArtifactUrlPayload.FromString(one.type_payload)
            role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(one.role_payload)
            yield role.staged_name, self._fetch(place.url, place.sha256)

    def _fetch(self, url: str, sha256: str) -> bytes:
        bucket, _, name = url.removeprefix("gs://").partition("/")
        host = self._machines.environment["STORAGE_EMULATOR_HOST"]
        quoted = urllib.parse.quote(name, safe="")
        with urllib.request.urlopen(f"{host}/download/storage/v1/b/{bucket}/o/{quoted}?alt=media") as answer:
            content: bytes = answer.read()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StagingError(f"{url} is not what the job says it is.")
        return content

    def _execute(self, python: Path) -> None:
        faults = {key: value for bad in self._bad for key, value in bad.in_workers.items()}
        environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
            **self._machines.environment,
            **faults,
            "WORKER_FAULT_FOLDER": str(self.folder),
            "PYTHONPATH": str(self.folder / "site"),
        }
        command = [python, RUNNER, "pipeline.pb", "--options", "options.json", "--folder", "."]
        with self._lock:
            if self.state != RUNNING:
                return
            with open(self.folder / "runner.log", "wb") as log:
                self._process = subprocess.Popen(
                    [*map(str, command), "--workers", str(self._machines.count)],
                    env=environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
        self._listen(self._process)

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                event = json.loads(line)
                _EVENTS[event["event"]](self, event)
        self._stop_process()  # and whatever of its workers is left
        if self.state == RUNNING:
            told = (self.folder / "runner.log").read_text()[-2000:]
            self._fails(f"The workers' service ended without a word.\n{told}")

    def _stop_process(self) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def _worker(self, event: Mapping[str, Any]) -> None:
        if event["state"] == "started":
            self.workers.append(event["pid"])
        else:
            self.lost.append(event["pid"])
            self.tell(WARNING, "The worker lost contact with the service.")
        running = len(self.workers) - len(self.lost)
        # The API writes 64-bit integers as text.
        told = {"currentNumWorkers": str(running), "eventType": "CURRENT_NUM_WORKERS_CHANGED", "time": now()}
        self.scaled.append(told)

    def _counters(self, event: Mapping[str, Any]) -> None:
        with self._lock:
            self.bundles += 1
            for one in event["metrics"]:
                key = (one["namespace"], one["name"], one["step"])
                self.counters[key] = self.counters.get(key, 0) + one["value"]
            told = next((told for bad in self._bad if (told := bad.fails_at(self.bundles))), "")
            if told and self.state == RUNNING:
                self._fails(told, GAVE_UP.format(step="Fused/Run"))
                self._stop_process()

    def _failure(self, event: Mapping[str, Any]) -> None:
        self.tell(ERROR, event["text"])

    def _failed(self, event: Mapping[str, Any]) -> None:
        self._fails(GAVE_UP.format(step="Run"))

    def _done(self, event: Mapping[str, Any]) -> None:
        with self._lock:
            if self.state == RUNNING:
                self.tell(BASIC, "Worker pool stopped.")
                self._becomes(DONE)


_EVENTS: dict[str, Callable[[RemoteJob, Mapping[str, Any]], None]] = {
    "worker": RemoteJob._worker,
    "counters": RemoteJob._counters,
    "failure": RemoteJob._failure,
    "failed": RemoteJob._failed,
    "done": RemoteJob._done,
    "zombie": lambda job, event: job.zombies.append(dict(event)),
}
