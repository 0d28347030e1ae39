"""Flex Templates as the double of Dataflow starts them: the launcher's program writes a graph, which becomes the job's."""

import json
import os
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloud.container_image import Image
from cloud.misbehaviour import Misbehaviour
from cloud.remote_job import BASIC, CANCELLED, CANCELLING, PENDING, RemoteJob, Workers

QUEUED = "JOB_STATE_QUEUED"
PY_FILE = "FLEX_TEMPLATE_PYTHON_PY_FILE"
_OPTIONS = {
    "tempLocation": "temp_location",
    "stagingLocation": "staging_location",
    "machineType": "machine_type",
    "numWorkers": "num_workers",
    "maxWorkers": "max_num_workers",
    "diskSizeGb": "disk_size_gb",
    "serviceAccountEmail": "service_account_email",
    "network": "network",
    "subnetwork": "subnetwork",
    "sdkContainerImage": "sdk_container_image",
}
"""Beam's options by the environment's keys."""


class TemplateError(Exception):
    """A launch is refused."""


def read_spec(address: str, workers: Workers) -> dict[str, Any]:
    """The container spec in the bucket.

    Raises:
      TemplateError: it is not there, or no spec.
    """
    try:
        spec: dict[str, Any] = json.loads(fetch(address, workers))
    except (OSError, ValueError) as error:
        raise TemplateError(f"Unable to open template file: {address}. {error}") from error
    if spec["sdkInfo"]["language"] != "PYTHON" or not spec["image"]:
        raise TemplateError(f"Not a container spec of a Python template: {address}")
    return spec


def fetch(address: str, workers: Workers) -> bytes:
    """An object."""
    bucket, _, name = address.removeprefix("gs://").partition("/")
    quoted = urllib.parse.quote(name, safe="")
    host = workers.environment["STORAGE_EMULATOR_HOST"]
    with urllib.request.urlopen(f"{host}/download/storage/v1/b/{bucket}/o/{quoted}?alt=media") as answer:
        content: bytes = answer.read()
        return content


def violations(spec: Mapping[str, Any], given: Mapping[str, str]) -> Iterator[str]:
    """What the service tells of parameters that the template does not take."""
    known = {one["name"]: one for one in spec["metadata"]["parameters"]}
    for name, parameter in known.items():
        if name not in given and not parameter.get("isOptional", False):
            yield f"{name}: Missing required parameter"
        for regex in parameter.get("regexes", ()):
            if name in given and not re.fullmatch(regex, given[name]):
                yield f"{name}: Value does not match regex {regex}"
    yield from (f"{name}: Unrecognized parameter" for name in given if name not in known)


class LaunchedJob(RemoteJob):
    """A job whose graph a launcher writes first."""

    def __init__(
        self,
        name: str,
        launch: Mapping[str, Any],
        spec: Mapping[str, Any],
        image: Image | None,
        folder: Path,
        workers: Workers,
        bad: Sequence[Misbehaviour],
    ) -> None:
        super().__init__(name, {"name": launch["jobName"], "type": "JOB_TYPE_BATCH"}, folder, workers, bad)
        self.state = QUEUED
        self._launch, self._image = launch, image
        self._environment = {**spec.get("defaultEnvironment", {}), **launch.get("environment", {})}

    def _run(self) -> None:
        if self._image is None:
            self._fails("Error occurred in the launcher container: Failed to pull the image.")
            return
        graph = f"{self._environment['stagingLocation']}/template_launches/{self.id}/job_object"
        done = self._start_launcher(self._image, graph)
        if self.state == CANCELLING:
            self._becomes(CANCELLED)
            return
        try:
            written = json.loads(fetch(graph, self._machines))
        except OSError:
            told = (self.folder / "launcher.log").read_text()[-2000:]
            self._fails(f"Error occurred in the launcher container: Template launch failed ({done}).\n{told}")
            return
        self.request = {**written, "name": self.name}
        self.tell(BASIC, "The launcher has written the graph.")
        self._becomes(PENDING)
        super()._run()

    def _start_launcher(self, image: Image, graph: str) -> int:
        """Runs the main program as Google's launcher does."""
        environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
            **self._machines.environment,
            **image.environment,
            "PYTHONPATH": str(image.site or ""),
        }
        command = [image.python, image.root / image.environment[PY_FILE].lstrip("/"), *self._arguments(graph)]
        with open(self.folder / "launcher.log", "wb") as log, self._lock:
            launcher = subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                cwd=image.path(""),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._process = launcher
        return launcher.wait()

    def _arguments(self, graph: str) -> Iterator[str]:
        yield from (f"--{name}={value}" for name, value in self._launch["parameters"].items())
        yield from (f"--{_OPTIONS[key]}={value}" for key, value in self._environment.items() if key in _OPTIONS)
        yield from (f"--experiments={one}" for one in self._environment.get("additionalExperiments", ()))
        yield from (f"--labels={k}={v}" for k, v in self._environment.get("additionalUserLabels", {}).items())
        yield from (f"--{one}" for one in self._environment.get("additionalPipelineOptions", ()))
        yield from ("--runner=DataflowRunner", "--project=test", "--region=us-central1")
        yield from (f"--job_name={self.name}", f"--template_location={graph}")
