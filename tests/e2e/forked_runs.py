"""A process that has TFX loaded and runs `braid` in copies of itself: a run then starts in a moment, and can be killed.

It reads orders as lines of JSON: `arguments` of the command, the folder `cwd`, `kill_after` so many seconds (null for
never), and the file `log` for what the command prints. To each it answers with a line: the exit `code`, minus the
signal's number where it was killed, and the `seconds` that it took.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

LOADED = (
    "pipeline.runner",
    "pipeline.display",
    "components.arrow_statistics.profiling",
    "components.data_gate.validation",
    "components.feature_selector.selection",
    "components.schema_file.schema_text",
    "components.trainer.training",
    "tensorflow_data_validation.statistics.stats_impl",
    "pipeline.cli.run",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "setuptools",
    "rich.spinner",
    "grpc._server",
    "tfx.extensions",
    "apache_beam.typehints.opcodes",
)
PATIENCE = 0.001
LONGEST = 120


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    seconds: float
    told: str


class ForkedRuns:
    """The other process; used as a context."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def braid(self, *arguments: str, cwd: Path, kill_after: float | None = None) -> Ended:
        """Runs a command to its end, or kills it with all that it has started."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"arguments": arguments, "cwd": str(cwd), "kill_after": kill_after, "log": str(self._log)}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        told = json.loads(self._process.stdout.readline())
        return Ended(told["code"], told["seconds"], self._log.read_text(errors="replace"))


def _serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # what is collected would have to be copied
    assert threading.active_count() == 1, "a copy of this process would lack its threads"
    for line in sys.stdin:
        print(json.dumps(_ended(json.loads(line))), flush=True)


def _ended(order: dict[str, Any]) -> dict[str, float]:
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _run(order)
    until = began + (order["kill_after"] or LONGEST)
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < until:
        time.sleep(PATIENCE)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        with suppress(ProcessLookupError):  # it has no group of its own yet
            os.killpg(child, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began}


def _run(order: dict[str, Any]) -> NoReturn:
    """As the console script does, its output in a file."""
    from pipeline.cli import main

    os.setsid()
    os.chdir(order["cwd"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.argv = ["braid", *order["arguments"]]
    try:
        main.program()
    finally:
        os._exit(70)


if __name__ == "__main__":
    _serve()
