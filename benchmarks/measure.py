"""Whole processes, measured: each contender runs in a process of its own and reports the work's share itself.

A contender is `python -m benchmarks.<module> <name> ...`. It does its imports, then wraps the work in `work()`, so that
CPU and wall time of imports, which are the same whatever the rows, are told apart from the work.
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MARK = "BENCHMARK "
CACHE = os.environ.get("BRAID_BENCH_CACHE", os.path.join(tempfile.gettempdir(), "braid-bench"))


@dataclass(frozen=True)
class Measurement:
    """Medians over the rounds.

    Attributes:
      wall: seconds of the work.
      cpu: CPU-seconds of the work, all threads and child processes.
      peak_mb: the largest resident size of the process, imports included, in MB.
      total_wall: seconds of the whole process.
      facts: what the contender reported.
    """

    wall: float
    cpu: float
    peak_mb: float
    total_wall: float
    facts: dict[str, Any]


def _cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


@contextlib.contextmanager
def work() -> Iterator[dict[str, Any]]:
    """Around a contender's work; put facts (rows, scores) into what it yields."""
    facts: dict[str, Any] = {}
    wall, cpu = time.monotonic(), _cpu()
    yield facts
    print(MARK + json.dumps({"wall": time.monotonic() - wall, "cpu": _cpu() - cpu, "facts": facts}), flush=True)


def run_once(module: str, arguments: Sequence[str]) -> Measurement:
    """Runs one contender once.

    Raises:
      RuntimeError: it failed; its output is in the message.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    total = time.monotonic() - started
    told = [line for line in output.splitlines() if line.startswith(MARK)]
    if process.returncode or not told:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{output[-3000:]}")
    report = json.loads(told[-1].removeprefix(MARK))
    return Measurement(report["wall"], report["cpu"], usage.ru_maxrss / 1024, total, report["facts"])


def compare(module: str, contenders: dict[str, Sequence[str]], rounds: int = 3) -> dict[str, Measurement]:
    """Runs the contenders in turn, A B A B ..., so that a machine that slows down slows all; medians per contender."""
    runs: dict[str, list[Measurement]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, arguments in contenders.items():
            runs[name].append(run_once(module, arguments))
            print(f"  {name}: {runs[name][-1].wall:.2f} s wall, {runs[name][-1].cpu:.2f} s CPU", file=sys.stderr)
    return {name: _median(measured) for name, measured in runs.items()}


def _median(measured: list[Measurement]) -> Measurement:
    def middle(of: Callable[[Measurement], float]) -> float:
        return statistics.median(of(m) for m in measured)

    return Measurement(
        middle(lambda m: m.wall),
        middle(lambda m: m.cpu),
        middle(lambda m: m.peak_mb),
        middle(lambda m: m.total_wall),
        measured[-1].facts,
    )


def table(title: str, measured: dict[str, Measurement], against: str) -> None:
    """Prints the figures and, for each contender, its ratio to `against`."""
    base = measured[against]
    print(f"\n{title}\n{'':34}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'CPU ratio':>11}{'wall ratio':>11}")
    for name, m in measured.items():
        print(f"{name:34}{m.wall:9.2f}{m.cpu:9.2f}{m.peak_mb:9.0f}{m.cpu / base.cpu:11.2f}{m.wall / base.wall:11.2f}")
    print(f"ratios are to '{against}'")
