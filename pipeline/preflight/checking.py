"""All checks of a run on a service, side by side: what each finds is told together."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import BraidError
from pipeline.config import KerasTraining
from pipeline.deploy import staging
from pipeline.deploy.worker_package import PROJECT, WorkerPackage
from pipeline.deploy.worker_pins import Pin, read_lock
from pipeline.planning import Plan
from pipeline.preflight import (
    bucket_access,
    credentials,
    fresh_environment,
    lock,
    memory,
    options,
    reached_code,
    samples,
    source_access,
    wheel_tags,
    worker_python,
)
from pipeline.preflight.bucket_access import Place
from pipeline.preflight.clean_interpreter import CleanInterpreter
from pipeline.preflight.estimate import Estimate, estimate
from pipeline.preflight.finding import Finding, PreflightError, sorted_findings
from pipeline.preflight.samples import Sampled
from pipeline.targets.target import Dataflow, Local, Portable

LOCK = os.path.join("lock", "requirements.txt")
PATIENCE = 25.0
"""Seconds that a check waits for a service's answer."""
_THREADS = 6
Check = Callable[[], Iterable[Finding]]


@dataclass(frozen=True)
class Report:
    """What came out.

    Attributes:
      findings: refusals first.
      estimate: of what the run takes; None where it cannot be told.
    """

    findings: tuple[Finding, ...]
    estimate: Estimate | None
    seconds: float

    @property
    def refused(self) -> bool:
        """Whether a run would fail."""
        return any(one.severity == "refused" for one in self.findings)

    def raise_refusals(self) -> None:
        """Does nothing where none is refused.

        Raises:
          PreflightError: with all that is.
        """
        if self.refused:
            raise PreflightError(self.findings)


def check(
    plan: Plan | None,
    service: Dataflow,
    project: str = PROJECT,
    fresh: bool = False,
    while_tfx_loads: AbstractContextManager[object] | None = None,
) -> Report:
    """Checks a pipeline and the service that is to run it.

    Args:
      plan: the pipeline; None where it is at fault itself, so that only the rest can be checked.
      service: the target.
      project: Braid's source tree.
      fresh: whether to make the workers' environment anew with pip, in minutes, rather than to hold this one to the pins.
      while_tfx_loads: is put around the import of TFX.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="braid-preflight-") as folder, ExitStack() as stack:
        pool = ThreadPoolExecutor(_THREADS)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        checking = _Checking(plan, service, project, folder, fresh, pool)
        findings, found = checking.run(stack, while_tfx_loads or nullcontext())
    return Report(tuple(sorted_findings(findings)), found, time.monotonic() - began)


def kinds_of(plan: Plan) -> dict[str, str]:
    """Of each step with a Beam job its kind, as `worker_package.STEPS` names it; Parquet sources are read in place."""
    config = plan.loaded.config
    kinds = {name: "ingest" for name, source in plan.sources.items() if not samples.is_in_place(source)}
    kinds |= dict.fromkeys(plan.steps, "prepare")
    kinds["statistics"] = "statistics"
    if any(isinstance(trainer, KerasTraining) for trainer in config.train):
        kinds["transform"] = "transform"
    kinds["evaluate"] = "evaluate_tfma" if config.evaluate.engine == "tfma" else "evaluate"
    return kinds


class _Checking:
    """One check of everything."""

    def __init__(
        self, plan: Plan | None, service: Dataflow, project: str, folder: str, fresh: bool, pool: ThreadPoolExecutor
    ) -> None:
        self._plan, self._service, self._project, self._folder = plan, service, project, folder
        self._fresh, self._pool = fresh, pool
        self._kinds = kinds_of(plan) if plan else {}
        self._lock = os.path.join(project, LOCK)
        self._packages: dict[str, WorkerPackage] = {}
        self._pins: dict[str, Pin] = {}

    def run(self, stack: ExitStack, loading: AbstractContextManager[object]) -> tuple[list[Finding], Estimate | None]:
        findings = list(_guarded(self._read_lock, LOCK))
        workers = self._start(stack, findings)
        sampled = self._sample(findings)
        asked = {name: self._pool.submit(_gathered, one, name) for name, one in self._checks().items()}
        estimated: Estimate | None = None
        if self._plan and sampled is not None:
            findings += memory.check(self._plan, self._service, sampled)
            estimated = estimate(self._plan, self._service, sampled, self._kinds)
            findings += self._try_jobs(workers, sampled, loading)
        for name, future in asked.items():
            findings += _answer(name, future)
        return [self._from_here(one) for one in findings], estimated

    def _read_lock(self) -> Iterable[Finding]:
        self._pins = read_lock(self._lock)
        return ()

    def _start(self, stack: ExitStack, findings: list[Finding]) -> dict[str, CleanInterpreter]:
        """A clean interpreter for each wheel; kinds of jobs with the same one share it."""
        if not self._pins:
            return {}
        started: dict[str, CleanInterpreter] = {}
        workers: dict[str, CleanInterpreter] = {}
        for kind in sorted(set(self._kinds.values())):
            folder = os.path.join(self._folder, "workers", kind)
            try:
                package = staging.package_of([kind], sorted(set(staging.TRAINERS.values())), folder)
                self._packages[kind] = package
                if package.digest not in started:
                    python = fresh_environment.python_of(package.requirements) if self._fresh else ""
                    started[package.digest] = stack.enter_context(CleanInterpreter(package, folder, python))
                workers[kind] = started[package.digest]
            except BraidError as error:
                findings.append(Finding(kind, str(error), error.hint))
        return workers

    def _sample(self, findings: list[Finding]) -> dict[str, Sampled] | None:
        """Of each source; None where one of them cannot be read."""
        if self._plan is None:
            return None
        folder = os.path.join(self._folder, "samples")
        os.makedirs(folder)
        reading = {
            name: self._pool.submit(samples.sampled, source, folder) for name, source in self._plan.sources.items()
        }
        found: dict[str, Sampled] = {}
        for name, future in reading.items():
            try:
                found[name] = future.result()
            except (OSError, BraidError) as error:
                told = f"Source '{name}' cannot be read: {getattr(error, 'strerror', None) or error}"
                findings.append(Finding(f"sources.{name}", told, getattr(error, "hint", "")))
        return found if len(found) == len(reading) else None

    def _checks(self) -> dict[str, Check]:
        """Those that need nothing of each other."""
        checks: dict[str, Check] = {
            "options": lambda: options.check(self._service, self._kinds if self._plan else None)
        }
        checks["buckets"] = self._check_cloud
        if pins := self._pins:
            ours = {pin.name: pin for package in self._packages.values() for pin in package.pins}
            checks["lock"] = lambda: lock.check(os.path.dirname(self._lock), pins, ours.values())
            checks["wheels"] = lambda: wheel_tags.check(ours.values(), self._lock)
            checks["Python"] = lambda: worker_python.check(self._service, self._lock, pins)
        if self._packages:
            checks["code"] = lambda: reached_code.check(self._packages.values(), self._project)
        return checks

    def _check_cloud(self) -> Iterator[Finding]:
        found = list(credentials.check())
        yield from found
        if self._plan:
            yield from source_access.check(self._plan, self._service)
        if found or not self._service.bucket:
            return
        root = self._service.root or self._service.place
        own = [Place("bucket", f"{self._service.place}/temp"), Place("root" if self._service.root else "bucket", root)]
        if not storage.is_remote(root):
            told = f"The folder of outputs, '{root}', is on this machine: workers cannot write there."
            yield Finding("root", told, "Leave `root` out: outputs then go to the bucket.")
            own.pop()
        yield from bucket_access.check_writable(own)
        places = [*own, *(source_access.places(self._plan) if self._plan else ())]
        yield from bucket_access.check_region(places, self._service.region)

    def _try_jobs(
        self,
        workers: Mapping[str, CleanInterpreter],
        sampled: Mapping[str, Sampled],
        loading: AbstractContextManager[object],
    ) -> Iterator[Finding]:
        assert self._plan is not None
        with loading:
            from pipeline.preflight import graphs
            from pipeline.preflight.trial_runner import explained
        broken = set()
        for kind, worker in workers.items():
            if worker not in broken and (told := worker.loaded()):
                broken.add(worker)
                yield explained(told["error"], f"The code of the '{kind}' jobs", told["module"])
        if broken or len(workers) < len(set(self._kinds.values())):
            yield Finding("jobs", "No job was tried: workers cannot load their code.", "", "note")
            return
        folder = os.path.join(self._folder, "trial")
        os.makedirs(folder)
        plan = graphs.with_samples(self._plan, sampled)
        yield from graphs.Trials(plan, workers, folder, self._project).run()

    def _from_here(self, finding: Finding) -> Finding:
        """Places in the source tree, as seen from there."""
        where = finding.where.removeprefix(f"{self._project}/")
        return Finding(where, finding.message, finding.hint, finding.severity)


def _gathered(check: Check, name: str) -> list[Finding]:
    return list(_guarded(check, name))


def _guarded(check: Check, where: str) -> Iterator[Finding]:
    """An error of a check is a finding, too."""
    try:
        yield from check()
    except BraidError as error:
        yield Finding(where, str(error), error.hint)


def _answer(name: str, future: Future[list[Finding]]) -> list[Finding]:
    try:
        return future.result(PATIENCE)
    except futures.TimeoutError:
        told = f"The check of {name} got no answer within {PATIENCE:.0f} seconds."
        return [Finding(name, told, "See that Google Cloud can be reached from here.", "warning")]


def check_portable(service: Portable | Local) -> Report:
    """What can be known of a target whose workers are not made by Braid: that Beam has the options."""
    findings = list(options.check_given(service)) if isinstance(service, Portable) else []
    told = f"Workers of a target with the runner '{service.runner}' are not Braid's to make: only its options were checked."
    return Report(tuple(sorted_findings([*findings, Finding("runner", told, "", "note")])), None, 0.0)
