"""A Python that has what a worker has, and executes graphs: the wheel, the pinned packages, the standard library."""

import json
import os
import subprocess
import sys
import sysconfig
import threading
import zipfile
from typing import Any, Self

from pipeline.deploy.worker_package import WorkerPackage

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clean_worker.py")
SECONDS = 120
_KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "CUDA_VISIBLE_DEVICES": "-1"}


class CleanInterpreter:
    """Starts at once and loads the wheel's modules in the background; `loaded` waits for it.

    Args:
      package: what it has of Braid, and the pins.
      folder: for the unpacked wheel, graphs and what the interpreter prints.
      python: that of an environment made of the pins; else this one, held to what the pins installed here.
    """

    def __init__(self, package: WorkerPackage, folder: str, python: str = "") -> None:
        self.package, self._folder, self._count = package, folder, 0
        site = os.path.join(folder, "wheel")
        with zipfile.ZipFile(package.wheel) as wheel:
            wheel.extractall(site)
        flags = ["-I"] if python else ["-I", "-S"]
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _QUIET
        self._log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [python or sys.executable, *flags, PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=folder,
            text=True,
        )
        self._alarm = threading.Timer(SECONDS, self._process.kill)
        self._alarm.daemon = True
        self._alarm.start()
        self._send(
            wheel=site,
            folders=[] if python else installed_folders(),
            packages=[] if python else [pin.name for pin in package.pins],
            modules=list(package.modules),
        )
        self._first: dict[str, Any] | None = None

    def loaded(self) -> dict[str, Any]:
        """What went wrong as the wheel's modules were imported: `error` and `module`; nothing where all is well."""
        if self._first is None:
            self._first = self._answer()
        return self._first

    def execute(self, graph: bytes) -> str:
        """Executes a pipeline's graph; the traceback of what went wrong, '' for nothing."""
        self.loaded()
        self._count += 1
        path = os.path.join(self._folder, f"graph-{self._count}.pb")
        with open(path, "wb") as stream:
            stream.write(graph)
        self._send(graph=path)
        return str(self._answer().get("error", ""))

    def _send(self, **request: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died, which the answer tells

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        self._log.seek(0)
        code = self._process.wait()
        return {"error": f"The interpreter ended with {code}:\n{self._log.read()[-4000:]}", "module": ""}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()
        self._process.kill()
        self._process.communicate()
        self._log.close()


def installed_folders() -> list[str]:
    """Where packages are installed for this Python: its own folders, and what was put before them."""
    standard = os.path.dirname(os.__file__)
    own = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    sites = [one for one in sys.path if one and os.path.isdir(one) and one.rstrip("/").endswith("-packages")]
    return [one for one in dict.fromkeys([*own, *sites]) if one != standard]
