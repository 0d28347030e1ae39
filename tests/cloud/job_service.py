"""A portable job service as a process of its own, whose workers are processes with nothing but the wheel and its pins."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from beam_jobs import worker_process
from pipeline.targets.beam_options import placement
from pipeline.targets.target import Portable

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "job_service.py"
SECONDS = 60


@dataclass(frozen=True)
class JobService:
    """A running service.

    Attributes:
      endpoint: host and port, for `--job_endpoint`.
      python: of its workers.
    """

    endpoint: str
    python: Path
    process: "subprocess.Popen[bytes]"
    log: Path

    def arguments(self, workers: int = 2) -> Sequence[str]:
        """Options to submit a job with, to so many processes."""
        python, endpoint = str(self.python), self.endpoint
        target = Portable(runner="portable", endpoint=endpoint, environment="process", python=python, workers=workers)
        return placement("portable", target).options

    @property
    def workers(self) -> set[int]:
        """The process ids of the workers that there are now."""
        found = set()
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if worker_process.MODULE in child.cmdline():
                    found.add(child.pid)
            except psutil.Error:
                continue  # it has just ended
        return found


@contextmanager
def job_service(
    python: Path, wheel: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[JobService]:
    """Runs the service.

    Args:
      python: of an environment for workers.
      wheel: of Braid, which Python imports as it is.
      folder: for its staged files and its log.
      environment: what service and workers see beside it, such as where storage is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told, log = folder / "port", folder / "log"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    seen = {**inherited, **(environment or {}), "PYTHONPATH": wheel}
    command = [python, PROGRAM, told, folder / "staged"]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            env=seen,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + SECONDS
        while not told.exists():
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.05)
        yield JobService(f"localhost:{told.read_text()}", python, process, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
