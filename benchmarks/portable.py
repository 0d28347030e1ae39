"""The flights data job on a portable runner, with two worker processes, against the local runner with two threads.

The portable runner is Beam's job service as a process of its own, and its workers are processes that it starts. CPU is
that of client, service and workers together. Wall and CPU are of whole jobs, the start of the workers with them, which
the job over few rows tells apart. Load is how many of the machine's cores others kept busy meanwhile.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import flights_rows
from benchmarks.measure import run_once, work

MODULE = "benchmarks.portable"
OUT = os.path.join(flights_rows.CACHE, "portable")
WORKERS = 2
ROUNDS = {1: 3, 10: 3, 100: 3}
LOCAL, PORTABLE = "local", "portable"
_SERVICE = Path(__file__).with_name("job_service.py")
_WORKER = "beam_jobs.worker_process"
_EVERY = 0.2
_START_SECONDS = 60


class Sampler(threading.Thread):
    """Looks at processes five times a second.

    Args:
      service: the job service's process, to look at it and at its workers; 0 to look at this process.

    Attributes:
      sizes: the resident sizes of each process in MB, by its name.
      cpu: the CPU-seconds that each has had.
    """

    def __init__(self, service: int) -> None:
        super().__init__(daemon=True)
        self._service, self._over = service, threading.Event()
        self.sizes: dict[str, list[float]] = {}
        self.cpu: dict[str, float] = {}

    def run(self) -> None:
        """Looks until the job is over."""
        while not self._over.wait(_EVERY):
            for name, process in self._processes():
                try:
                    self.sizes.setdefault(name, []).append(process.memory_info().rss / 2**20)
                    self.cpu[name] = sum(process.cpu_times()[:2])
                except psutil.Error:
                    continue  # it has just ended

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        if not self._service:
            yield "process", psutil.Process()
            return
        service = psutil.Process(self._service)
        yield "service", service
        for child in service.children(recursive=True):
            try:
                if _WORKER in child.cmdline():
                    yield f"worker {child.pid}", child
            except psutil.Error:
                continue

    def __enter__(self) -> "Sampler":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


@contextmanager
def job_service(folder: Path) -> Iterator[tuple[str, int]]:
    """Runs the service; yields its address and the id of its process."""
    folder.mkdir(parents=True)
    told, log = folder / "port", folder / "log"
    command = [sys.executable, "-W", "ignore", str(_SERVICE), str(told), str(folder / "staged")]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        until = time.monotonic() + _START_SECONDS
        while not told.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"The job service does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield f"localhost:{told.read_text()}", process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_job(times: int, out: str, options: Sequence[str], service: int) -> None:
    """Does the job; reports its rows and digest, what each process took, and what the machine did beside it."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    import beam_jobs.ingest
    import beam_jobs.prepare  # noqa: F401  imports are no part of the job
    from beam_jobs.folder_digest import folder_digest
    from benchmarks import data_job

    paths = flights_rows.tables(times)
    with work() as facts:
        started, busy, client, served = time.monotonic(), _busy(), time.process_time(), _cpu_of(service)
        with Sampler(service) as sampler, beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            _ = pipeline | data_job.prepare(paths, out)
        wall = time.monotonic() - started
        cpu = time.process_time() - client + _cpu_of(service) - served
        facts |= {"wall": wall, "cpu": cpu, "others": max(0.0, _busy() - busy - cpu) / wall}
        facts |= {"sizes": sampler.sizes, "cpu_of": sampler.cpu}
        facts |= {"rows": data_job.written(f"{out}/examples"), "digest": folder_digest(f"{out}/examples").digest}


def _cpu_of(process: int) -> float:
    """CPU-seconds of a process and of its children that have ended; 0 for none."""
    return sum(psutil.Process(process).cpu_times()[:4]) if process else 0.0


def _busy() -> float:
    """CPU-seconds that the machine's cores have worked."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _child(runner: str, times: int) -> None:
    from pipeline.targets.beam_options import here, placement
    from pipeline.targets.target import Portable

    folder = Path(OUT) / f"{runner}-{times}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if runner == LOCAL:
            return run_job(times, str(folder / "out"), here(WORKERS).options, 0)
        with job_service(folder) as (endpoint, service):
            target = Portable(runner="portable", endpoint=endpoint, environment="process", workers=WORKERS)
            run_job(times, str(folder / "out"), placement(PORTABLE, target).options, service)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Runs:
    """What the rounds over so many rows gave, by runner.

    Attributes:
      facts: of each round.
    """

    times: int
    facts: dict[str, list[dict[str, Any]]]

    def median(self, runner: str, key: str) -> float:
        """Of one fact."""
        return float(statistics.median(facts[key] for facts in self.facts[runner]))

    def sizes(self, runner: str, kind: str) -> Iterator[list[list[float]]]:
        """Of each round the sizes over time of the processes of one kind."""
        for facts in self.facts[runner]:
            yield [sizes for _, sizes in _of_kind(facts["sizes"], kind)]

    def peak(self, runner: str, kind: str) -> float:
        """The largest process of that kind, in MB: the median over the rounds."""
        return statistics.median(max(map(max, processes)) for processes in self.sizes(runner, kind))

    def growth(self, runner: str, kind: str) -> float:
        """What the largest size in the second half of a run is to that in the first half: the median over the rounds."""
        return statistics.median(max(map(_growth, processes)) for processes in self.sizes(runner, kind))


def _growth(sizes: list[float]) -> float:
    middle = len(sizes) // 2
    return max(sizes[middle:]) / max(sizes[:middle])


def _of_kind(by_process: dict[str, Any], kind: str) -> list[tuple[str, Any]]:
    return [(name, found) for name, found in by_process.items() if name.startswith(kind)]


def measure(times: int, rounds: int) -> Runs:
    """Local, portable, local, portable ...; the first pair only warms the machine up.

    Raises:
      RuntimeError: the runners wrote different bytes.
    """
    flights_rows.tables(times)
    runs = Runs(times, {LOCAL: [], PORTABLE: []})
    for number in range(-1, rounds):
        for runner, facts in runs.facts.items():
            one = run_once(MODULE, (runner, str(times))).facts
            print(
                f"  {times}x {runner}: {one['wall']:.2f} s wall, {one['cpu']:.2f} s CPU, others {one['others']:.2f} cores"
                f"{', warming up' if number < 0 else ''}",
                file=sys.stderr,
            )
            facts.extend([one] if number >= 0 else [])
    digests = {facts["digest"] for of_runner in runs.facts.values() for facts in of_runner}
    if len(digests) != 1:
        raise RuntimeError(f"The runners wrote different bytes: {digests}")
    return runs


def show(runs: Runs) -> None:
    """Prints times, ratios, and how the workers shared the job."""
    rows, rounds = 336_776 * runs.times, len(runs.facts[LOCAL])
    print(f"\nThe flights data job, {rows:,} rows, {WORKERS} threads or workers (medians of {rounds} pairs)")
    print(f"{'':12}{'wall s':>9}{'CPU s':>9}{'rows/s':>12}{'others, cores':>15}")
    for runner in runs.facts:
        wall = runs.median(runner, "wall")
        cpu, others = runs.median(runner, "cpu"), runs.median(runner, "others")
        print(f"{runner:12}{wall:9.2f}{cpu:9.2f}{rows / wall:12,.0f}{others:15.2f}")
    for what in ("wall", "cpu"):
        ratios = [here[what] / there[what] for here, there in zip(runs.facts[LOCAL], runs.facts[PORTABLE], strict=True)]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"throughput by {what}, portable / local: {statistics.median(ratios):.2f} (pairs: {shown})")
    shares = [_shares(facts) for facts in runs.facts[PORTABLE]]
    print(f"CPU of the workers, s: {'; '.join(shares)}")


def _shares(facts: dict[str, Any]) -> str:
    return " + ".join(f"{cpu:.1f}" for _, cpu in _of_kind(facts["cpu_of"], "worker"))


def main() -> None:
    """Prints start-up time, throughput at 3.4 and 34 million rows, and whether memory is flat."""
    try:
        few, some, many = (measure(times, rounds) for times, rounds in ROUNDS.items())
    finally:
        shutil.rmtree(OUT, ignore_errors=True)
    for runs in (few, some, many):
        show(runs)
    start = few.median(PORTABLE, "wall") - few.median(LOCAL, "wall")
    print(f"\nA portable job over {336_776:,} rows takes {start:.2f} s longer: the start of its workers, mostly")
    print(f"{'peak MB':12}{'10x':>8}{'100x':>8}{'ratio':>8}{'second half / first half of the 100x runs':>44}")
    for runner, kind in ((LOCAL, "process"), (PORTABLE, "worker"), (PORTABLE, "service")):
        before, after, growth = some.peak(runner, kind), many.peak(runner, kind), many.growth(runner, kind)
        print(f"{kind:12}{before:8.0f}{after:8.0f}{after / before:8.2f}{growth:44.2f}")


if __name__ == "__main__":
    _child(sys.argv[1], int(sys.argv[2]))
