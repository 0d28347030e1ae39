"""A Beam runner that hands a pipeline's graph to a clean interpreter, and words what goes wrong there."""

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from apache_beam.transforms import environments

from beam_jobs import worker_errors
from pipeline.preflight.clean_interpreter import CleanInterpreter
from pipeline.preflight.finding import Finding
from pipeline.preflight.pickling import behind, unpicklable

_MISSING = re.compile(r"^(?:ModuleNotFoundError|ImportError): (?P<said>.*?)(?: \[while running.*)?$", re.MULTILINE)
_LAST = re.compile(r"^(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Warning|Exit)): (?P<said>.*)$", re.MULTILINE)
_IMAGE = "beam"
"""The graph is not run in a container here; a graph for workers names one."""


class JobFailedError(Exception):
    """A job cannot be done by workers; or, where all findings are warnings, not on sampled rows."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(one.message for one in findings))
        self.findings = tuple(findings)


def trial_pipeline(
    worker: CleanInterpreter, step: str, project: str, done: Callable[[str], None] = lambda _: None
) -> beam.Pipeline:
    """A pipeline that is executed by the interpreter as it is run; `done` is called with the step when that went well."""
    return beam.Pipeline(runner=_TrialRunner(worker, step, project, done), options=PipelineOptions([]))


class _TrialRunner(PipelineRunner):
    def __init__(self, worker: CleanInterpreter, step: str, project: str, done: Callable[[str], None]) -> None:
        super().__init__()
        self._worker, self._step, self._project, self._done = worker, step, project, done

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        """Pickles it as for the service."""
        environment = environments.DockerEnvironment.from_container_image(_IMAGE)
        try:
            graph = pipeline.to_runner_api(default_environment=environment)
        except Exception as error:
            found = list(unpicklable(pipeline, self._step, self._project))
            raise JobFailedError(found or [not_made(error, self._step, self._project)]) from error
        failed = self._worker.execute(graph.SerializeToString())
        if failed:
            raise JobFailedError([explained(failed, f"Step '{self._step}'", self._step)])
        self._done(self._step)
        return _Result(PipelineState.DONE)


class _Result(PipelineResult):
    """What executors ask of a job that went well."""

    def wait_until_finish(self, duration: int | None = None) -> str:
        return str(self.state)

    def metrics(self) -> MetricResults:
        return _NoMetrics()


class _NoMetrics(MetricResults):
    def query(self, filter: Any = None) -> dict[str, list[Any]]:  # noqa: A002  Beam's name
        kinds = (self.COUNTERS, self.DISTRIBUTIONS, self.GAUGES, self.STRINGSETS, self.BOUNDED_TRIES)
        return {kind: [] for kind in kinds}


def not_made(error: BaseException, step: str, project: str) -> Finding:
    """A job whose graph could not be made, at the place where that failed."""
    pickled = next(behind(error, step, project), None)
    if pickled is not None:
        return pickled
    frames = worker_errors.own_frames("".join(traceback.format_exception(error)))
    place = frames[-1].partition(" ")[0] if frames else step
    return Finding(place, f"Step '{step}': its job cannot be made: {type(error).__name__}: {error}")


def explained(text: str, what: str, where: str) -> Finding:
    """What the traceback of a clean interpreter means.

    Args:
      text: the traceback.
      what: is said to have failed.
      where: the place that is named where the traceback has none of Braid's.
    """
    frames = worker_errors.own_frames(text)
    place = frames[-1].partition(" ")[0] if frames else where
    missing = list(_MISSING.finditer(text))
    if missing:
        told = f"{what} cannot be done on workers: {missing[-1]['said']}. Neither the wheel nor the pinned packages have it."
        return Finding(
            place, told, "Import nothing there but `beam_jobs`, `components` and what the lock pins for workers."
        )
    if (own := worker_errors.from_traceback(text)) is not None:
        return Finding(where, f"On sampled rows: {own.error}", own.error.hint, "warning")
    told = "; ".join(_last_words(text))
    return Finding(
        place, f"{what} fails on workers: {told}", "`braid run` on this machine shows whether it is the job itself."
    )


def _last_words(text: str) -> Iterator[str]:
    errors = list(_LAST.finditer(text))
    # Beam tells a worker's error again, with all its traceback, as a RuntimeError of its own.
    own = [one for one in errors if one["type"] != "RuntimeError"] or errors
    yield own[-1].group() if own else text.strip().splitlines()[-1]
