"""Runs a pipeline step by step through TFX's launcher, locally, and tells a watcher what happens."""

import copy
import datetime
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from tfx.dsl.compiler import compiler, constants
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from beam_jobs import progress
from components import local_folders, tuned_runs
from components.schema_file.inference_mark import is_untouched
from pipeline import composition, launching, resuming, roots, run_facts, runs, step_launcher, stores, unfinished
from pipeline.composition import Composition
from pipeline.errors import NothingRecordedError, RunError, StepFailedError
from pipeline.interruption import Interrupted
from pipeline.planning import Plan
from pipeline.remote import left_jobs
from pipeline.remote.recorded_job import RecordedJob, unfinished_jobs
from pipeline.remote.step_launcher import RemoteStep, RemoteStepLauncher
from pipeline.selection import Mode, Selection, modes
from pipeline.step_launcher import Reuse
from pipeline.targets import placing
from pipeline.targets.beam_options import Placement, here
from pipeline.workspace import Workspace

WHOLE = Selection()
REUSE = {
    Mode.RUN: Reuse.ALLOWED,
    Mode.FORCE: Reuse.FORBIDDEN,
    Mode.REUSE: Reuse.REQUIRED,
    Mode.LEAVE: Reuse.ALLOWED,  # not launched
}


class Watcher(Protocol):
    """Hears of a run as it goes."""

    def started(self, run: str, steps: Sequence[str], finished: Collection[str]) -> None:
        """The run begins, with these steps in this order, or goes on, when some are finished."""

    def step(self, name: str) -> AbstractContextManager[Callable[[progress.Progress], None]]:
        """Around one step; what it yields is called with the step's progress."""

    def finished(self, name: str, step: runs.Step, before: bool = False) -> None:
        """A step has ended well: newly run or taken from the cache, or `before` the run was resumed."""

    def note(self, text: str) -> None:
        """Something that the user would not expect."""

    def leaves(self, step: str, link: str) -> bool:
        """Asked when the process is told to stop while a service does the step's job: whether the job goes on without it."""


def run(
    plan: Plan,
    workspace: Workspace,
    watcher: Watcher,
    place: Placement | None = None,
    selection: Selection = WHOLE,
    command: str = "",
) -> runs.Run:
    """Runs the steps of the plan, a checked configuration; see `run_composed`.

    Args:
      plan: what is run.
      workspace: where outputs and metadata go.
      watcher: hears of progress.
      place: where the Beam jobs are done; here unless given.
      selection: which steps, and whether to go on with an earlier run.
      command: what asks for it again, for the record.

    Raises:
      StepError: parameters of an earlier run are to be reused, and are not there.
    """
    _check_reuse(plan, workspace)
    return run_composed(composition.of_plan(plan, command), workspace, watcher, place, selection)


def _check_reuse(plan: Plan, workspace: Workspace) -> None:
    """TFX tells of what a resolver lacks in its log alone, and then skips all that needs it."""
    config = plan.loaded.config
    reused = [one for one in config.train if one.tune and one.tune.reuse]
    if reused:
        store, pipeline = stores.open_store(workspace.store), runs.pipeline_id(config.name)
        for one in reused:
            assert one.tune is not None
            tuned_runs.Reuse(one.tune.reuse, one.tune_step, one.family).find_in_pipeline(store, pipeline)


def run_composed(
    pipeline: Composition,
    workspace: Workspace,
    watcher: Watcher,
    place: Placement | None = None,
    selection: Selection = WHOLE,
) -> runs.Run:
    """Runs the steps of a pipeline, taking from the cache what has not changed.

    Args:
      pipeline: what is run.
      workspace: where outputs and metadata go.
      watcher: hears of progress.
      place: where the Beam jobs are done; here unless given.
      selection: which steps, and whether to go on with an earlier run.

    Raises:
      RunError: the pipeline is already running, the selection cannot be met, or (StepFailedError) a step failed.
    """
    name, infers = pipeline.name, bool(pipeline.schema_file)
    schema = _new_schema_taken_back(pipeline.schema_file) if infers else nullcontext()
    scratch = local_folders.scratch(workspace.pipeline_root(name))
    with workspace.exclusive(name), unfinished.none_left(workspace, name), schema, scratch:
        unfinished.retire(workspace, name)
        beam = place or here()
        jobs = unfinished_jobs(workspace, name)
        if jobs and (left := _go_on_waiting(pipeline, workspace, watcher, beam, selection, jobs[0])):
            return left
        if selection.resume:
            return _resume(pipeline, workspace, watcher, beam, selection)
        return _Launch(pipeline, workspace, watcher, beam, selection).every_step()


def _go_on_waiting(
    pipeline: Composition,
    workspace: Workspace,
    watcher: Watcher,
    beam: Placement,
    selection: Selection,
    job: RecordedJob,
) -> runs.Run | None:
    """Takes up a job that an earlier process left at a service, and goes on with its run; None where it is given up.

    Raises:
      RunError: what is to run now is not what the job does, and it is still being done.
    """
    launch = _Launch(pipeline, workspace, watcher, beam, selection)
    why_not = "another run is to be resumed" if selection.resume not in ("", "latest", job.run) else ""
    why_not = why_not or launch.take_up(resuming.find(workspace, pipeline.name, job.run), job)
    if why_not:
        left_jobs.give_up(job, why_not)
        unfinished.retire(workspace, pipeline.name, given_up=job.execution)
        return None
    watcher.note(f"Run {job.run} was left while {job.title} was under way: going on with it.")
    return launch.every_step()


def _resume(
    pipeline: Composition, workspace: Workspace, watcher: Watcher, beam: Placement, selection: Selection
) -> runs.Run:
    """Goes on with a run, or begins a new one when what it has finished would come out otherwise today."""
    earlier = resuming.find(workspace, pipeline.name, selection.resume)
    schema_is_back = bool(pipeline.schema_file) and resuming.put_schema_back(earlier, pipeline.schema_file)
    launch = _Launch(pipeline, workspace, watcher, beam, selection)
    why_not = launch.take_up(earlier)
    if why_not:
        watcher.note(
            f"Run {earlier.name} cannot go on as it was: {why_not}. This is a new run, with what is unchanged."
        )
        if schema_is_back:
            os.remove(pipeline.schema_file)
        return _Launch(pipeline, workspace, watcher, beam, selection).every_step()
    if launch.is_finished:
        watcher.note(f"Run {earlier.name} is finished, and nothing has changed since: there is nothing to do.")
        return earlier
    return launch.every_step()


class _Launch:
    """One run under way: what becomes of each node of the compiled pipeline."""

    def __init__(
        self,
        pipeline: Composition,
        workspace: Workspace,
        watcher: Watcher,
        beam: Placement,
        selection: Selection,
    ) -> None:
        self.pipeline, self.workspace, self.watcher, self.selection = pipeline, workspace, watcher, selection
        self.beam = beam
        self.left: RecordedJob | None = None
        self.root = workspace.pipeline_root(pipeline.name, beam.root)
        composed = pipeline.compose(self.root, workspace.store, beam.options)
        self.workers = placing.place_jobs(composed, beam, workspace.folder, _known_types(workspace))
        self.compiled: pipeline_pb2.Pipeline = compiler.Compiler().compile(composed)
        self.environment = {**run_facts.of_environment(beam.runner, beam.target), **workspace.facts}
        self.environment |= roots.facts(workspace, pipeline.name, beam.root)
        nodes = [node.pipeline_node for node in self.compiled.nodes]
        self.upstream = {node.node_info.id: list(node.upstream_nodes) for node in nodes}
        self.modes = modes(selection, self.upstream)
        self.chosen = [step for step, mode in self.modes.items() if mode is not Mode.LEAVE]
        self.code = step_launcher.code_of_steps(self.compiled)
        self.earlier: runs.Run | None = None
        self.finished: dict[str, runs.Step] = {}
        self._begin(_run_name(pipeline.name))

    def take_up(self, earlier: runs.Run, job: RecordedJob | None = None) -> str:
        """Makes this launch go on with an earlier run, and wait for its job, if that can be; else returns why it cannot."""
        self._begin(earlier.name)
        self.earlier, self.finished = earlier, {step.name: step for step in earlier.steps if step.ended_well}
        launchers = {step: self._launcher(step) for step in self.by_name}
        reason = resuming.changed(earlier, launchers, self.upstream)
        if job is not None and not reason:
            waiting = earlier.step(job.step)
            reason = left_jobs.cannot_wait(job, waiting, launchers.get(job.step), self.beam.service)
            self.left = job
        forced = [name for name, step in self.finished.items() if self._is_to_run_again(step)]
        return reason or (f"'{forced[0]}' had finished and is to run again" if forced else "")

    def _is_to_run_again(self, finished: runs.Step) -> bool:
        """Whether it is forced, and was not forced already when it ran."""
        forced = self.modes.get(finished.name) is Mode.FORCE and not finished.is_resolver
        return forced and finished.properties.get("forced") != self.selection.forcing

    @property
    def is_finished(self) -> bool:
        """Whether no step is left to do."""
        return all(step in self.finished for step in self.chosen)

    def every_step(self) -> runs.Run:
        """Launches the steps in order."""
        told = {**self.pipeline.facts, **self.environment}
        launching.describe_run(self.ir, told)
        if self.earlier is not None:
            launching.describe_again(self.workspace.store, self.run, told)
        self.watcher.started(self.run, self.chosen, [step for step in self.chosen if step in self.finished])
        for step in self.chosen:
            if step in self.finished:
                self.watcher.finished(step, self.finished[step], before=True)
            else:
                self._one(step)
        return runs.find_run(stores.open_store(self.workspace.store), self.run)

    def _begin(self, run: str) -> None:
        self.run, self.ir = run, copy.deepcopy(self.compiled)
        name = constants.PIPELINE_RUN_ID_PARAMETER_NAME
        runtime_parameter_utils.substitute_runtime_parameter(self.ir, {name: run})
        self.by_name = {node.pipeline_node.node_info.id: node.pipeline_node for node in self.ir.nodes}

    def _launcher(self, step: str) -> step_launcher.StepLauncher:
        facts = {**self.environment, **_step_facts(self.pipeline, self.run, step), **self.workers.get(step, {})}
        mode = self.modes[step]
        if mode is Mode.FORCE:
            facts["forced"] = self.selection.forcing
        node, reuse = self.by_name[step], REUSE[mode]
        if self.beam.service and step in self.workers:
            left = self.left if self.left and self.left.step == step else None
            remote = RemoteStep(
                self.beam.service, self.pipeline.name, self.run, step, self.root, self.beam.detached, left
            )
            arguments = step_launcher.of_node(self.ir, node, self.workspace.store)
            return RemoteStepLauncher(remote, facts, reuse, self.code, **arguments)
        return step_launcher.launcher(
            self.ir, node, facts, self.workspace.store, reuse, self.code, wants_buckets=bool(self.beam.service)
        )

    def _one(self, step: str) -> None:
        launcher = self._launcher(step)
        try:
            with self.watcher.step(step) as listener, progress.listening(listener):
                launcher.launch()
        except Exception as error:
            raise StepFailedError(step, self.run, error) from error
        except Interrupted as stop:
            if isinstance(launcher, RemoteStepLauncher):
                launcher.interrupted(stop, self.watcher.leaves)
            raise
        record = runs.find_run(stores.open_store(self.workspace.store), self.run).step(step)
        if record is None or not record.ended_well:
            raise RunError(
                f"Step '{step}' did not run: its inputs are missing from the metadata store.",
                "Delete nothing by hand; `braid runs` shows what is there.",
            )
        self.watcher.finished(step, record)


def _known_types(workspace: Workspace) -> list[str]:
    try:
        return [kind.name for kind in stores.open_store(workspace.store).get_execution_types()]
    except NothingRecordedError:
        return []


def _step_facts(pipeline: Composition, run_name: str, step: str) -> dict[str, str]:
    """What tells an execution from all others; of a source also its path as the user spells it."""
    facts = {"run": run_name, "pipeline": pipeline.name, "step": step}
    if step in pipeline.spellings:
        facts["spelling"] = pipeline.spellings[step]
    return facts


def _run_name(pipeline: str) -> str:
    return f"{pipeline}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S-%f}"[:-3]


@contextmanager
def _new_schema_taken_back(path: str) -> Iterator[None]:
    """Around a run: the schema that a first run infers becomes the user's once that run has gone through.

    What stops it, a wrong label for one, is mended in the query, and the schema of the old query would then stop the
    run again. When the gate stops the run, the file stays: it is what the user is told to edit.
    """
    is_new = not os.path.exists(path)
    try:
        yield
    except RunError as failure:
        by_gate = isinstance(failure, StepFailedError) and failure.step == "validate"
        if is_new and not by_gate and os.path.exists(path) and is_untouched(path):
            os.remove(path)
        raise
