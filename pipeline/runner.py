"""Runs a plan step by step through TFX's launcher, locally, and tells a watcher what happens."""

import copy
import datetime
import glob
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from beam_jobs import progress
from components.schema_file.inference_mark import is_untouched
from pipeline import graph, interruption, launching, resuming, run_facts, runs, step_launcher, stores
from pipeline.errors import NothingRecordedError, RunError, StepFailedError
from pipeline.planning import Plan
from pipeline.selection import Mode, Selection, modes
from pipeline.step_launcher import Reuse
from pipeline.workspace import Workspace

RUNNER, TARGET = "FnApiRunner", "local"
LOCAL_BEAM = (
    f"--runner={RUNNER}",
    "--direct_running_mode=multi_threading",
    # Named so that TFX does not package itself at every start; the in-process runner needs no container.
    "--sdk_container_image=none",
)


WHOLE = Selection()
REUSE = {
    Mode.RUN: Reuse.ALLOWED,
    Mode.FORCE: Reuse.FORBIDDEN,
    Mode.REUSE: Reuse.REQUIRED,
    Mode.LEAVE: Reuse.ALLOWED,  # not launched
}


class Watcher(Protocol):
    """Hears of a run as it goes."""

    def started(self, run: str, steps: Sequence[str]) -> None:
        """The run begins, with these steps in this order."""

    def step(self, name: str) -> AbstractContextManager[Callable[[progress.Progress], None]]:
        """Around one step; what it yields is called with the step's progress."""

    def finished(self, name: str, step: runs.Step) -> None:
        """A step has ended well, newly run, taken from the cache, or before the run was resumed."""

    def note(self, text: str) -> None:
        """Something that the user would not expect."""


def run(plan: Plan, workspace: Workspace, watcher: Watcher, workers: int = 0, selection: Selection = WHOLE) -> runs.Run:
    """Runs the steps of the plan, taking from the cache what has not changed.

    Args:
      plan: the checked configuration.
      workspace: where outputs and metadata go.
      watcher: hears of progress.
      workers: threads of the Beam jobs; 0 for one a core.
      selection: which steps, and whether to go on with an earlier run.

    Raises:
      RunError: the pipeline is already running, the selection cannot be met, or (StepFailedError) a step failed.
    """
    name = plan.loaded.config.name
    schema = _new_schema_taken_back(plan.schema_file)
    with workspace.exclusive(name), _leaving_nothing_unfinished(workspace, name), schema:
        retire_unfinished(workspace, name)
        args = [*LOCAL_BEAM, f"--direct_num_workers={workers or os.cpu_count() or 1}"]
        composed = graph.compose(plan, workspace.pipeline_root(name), workspace.store, args)
        compiled: pipeline_pb2.Pipeline = compiler.Compiler().compile(composed)
        return _Launch(plan, compiled, workspace, watcher, selection).every_step()


class _Launch:
    """One run under way: what becomes of each node of the compiled pipeline."""

    def __init__(
        self, plan: Plan, compiled: pipeline_pb2.Pipeline, workspace: Workspace, watcher: Watcher, selection: Selection
    ) -> None:
        self.plan, self.workspace, self.watcher = plan, workspace, watcher
        self.environment = {**run_facts.of_environment(RUNNER, TARGET), **workspace.facts}
        self.nodes = [node.pipeline_node for node in compiled.nodes]
        self.modes = modes(selection, {node.node_info.id: list(node.upstream_nodes) for node in self.nodes})
        self.finished: dict[str, runs.Step] = {}
        self._begin(compiled, _run_name(plan.loaded.config.name))
        if selection.resume:
            self._go_on(compiled, selection.resume)

    def every_step(self) -> runs.Run:
        """Launches the steps in order."""
        told = {**run_facts.of_configuration(self.plan.loaded), **self.environment}
        launching.describe_run(self.ir, told)
        if self.finished:
            launching.describe_again(self.workspace.store, self.run, told)
        chosen = [step for step, mode in self.modes.items() if mode is not Mode.LEAVE]
        self.watcher.started(self.run, chosen)
        for step in chosen:
            if step in self.finished:
                self.watcher.finished(step, self.finished[step])
            else:
                self._one(step)
        return runs.find_run(stores.open_store(self.workspace.store), self.run)

    def _begin(self, compiled: pipeline_pb2.Pipeline, run: str) -> None:
        self.run, self.ir = run, copy.deepcopy(compiled)
        name = constants.PIPELINE_RUN_ID_PARAMETER_NAME
        runtime_parameter_utils.substitute_runtime_parameter(self.ir, {name: run})
        self.by_name = {node.pipeline_node.node_info.id: node.pipeline_node for node in self.ir.nodes}

    def _go_on(self, compiled: pipeline_pb2.Pipeline, run: str) -> None:
        """Goes on with a run, or begins a new one when what it has finished would come out otherwise today."""
        found = runs.find_run(stores.open_store(self.workspace.store), run)
        launchers = [self._launcher(step) for step in self.by_name]
        why_not = resuming.changed(found, self.plan.loaded.config.name, launchers)
        finished = {step.name: step for step in found.steps if step.ended_well}
        forced = [step for step in finished if self.modes.get(step) is Mode.FORCE]
        if forced and not why_not:
            why_not = f"'{forced[0]}' had finished and is to run again"
        if why_not:
            self.watcher.note(
                f"Run {found.name} cannot go on as it was: {why_not}. This is a new run, with what is unchanged."
            )
            return
        self.finished = finished
        self._begin(compiled, found.name)

    def _launcher(self, step: str) -> step_launcher.StepLauncher:
        facts = {**self.environment, **_step_facts(self.plan, self.run, step)}
        return step_launcher.launcher(self.ir, self.by_name[step], facts, self.workspace.store, REUSE[self.modes[step]])

    def _one(self, step: str) -> None:
        with self.watcher.step(step) as listener, progress.listening(listener):
            try:
                self._launcher(step).launch()
            except Exception as error:
                raise StepFailedError(step, self.run, error) from error
        record = runs.find_run(stores.open_store(self.workspace.store), self.run).step(step)
        if record is None:
            raise RunError(
                f"Step '{step}' did not run: its inputs are missing from the metadata store.",
                "Delete nothing by hand; `braid runs` shows what is there.",
            )
        self.watcher.finished(step, record)


def _step_facts(plan: Plan, run_name: str, step: str) -> dict[str, str]:
    """What tells an execution from all others; of a source also its path as the configuration spells it."""
    config = plan.loaded.config
    facts = {"run": run_name, "pipeline": config.name, "step": step}
    if step in config.sources:
        facts["spelling"] = run_facts.without_credentials(config.sources[step].path)
    return facts


def _run_name(pipeline: str) -> str:
    return f"{pipeline}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S-%f}"[:-3]


@contextmanager
def _leaving_nothing_unfinished(workspace: Workspace, pipeline: str) -> Iterator[None]:
    """Around a run: when it is cut off, or the store itself fails, no execution stays RUNNING."""
    try:
        yield
    except BaseException as error:
        state = pb.Execution.FAILED if isinstance(error, Exception) else pb.Execution.CANCELED
        with interruption.uninterrupted():
            try:
                retire_unfinished(workspace, pipeline, state)
            except (mlmd.errors.StatusError, RunError, RuntimeError, OSError) as failure:
                # The store may be what failed, on a full disk for one: then the next run's start retires them.
                logging.warning("Executions stay unfinished until the next run: %s", failure)
        raise


@contextmanager
def _new_schema_taken_back(path: str) -> Iterator[None]:
    """Around a run: the schema that a first run infers becomes the user's once that run has gone through.

    What stops it, a wrong label for one, is mended in the query, and the schema of the old query would then stop the
    run again. When the gate stops the run, the file stays: it is what the user is told to edit.
    """
    is_new = not os.path.exists(path)
    try:
        yield
    except StepFailedError as failure:
        if is_new and failure.step != "validate" and os.path.exists(path) and is_untouched(path):
            os.remove(path)
        raise


def retire_unfinished(workspace: Workspace, pipeline: str, state: Any = pb.Execution.CANCELED) -> int:
    """Marks executions that a run left RUNNING when it was cut off, and removes what they half wrote.

    What a step wrote that failed by itself is kept for whoever looks for the reason, until `braid lineage gc` clears it.

    Called under the pipeline's lock, so nothing that still runs can be hit. Returns how many were marked.
    """
    try:
        store = stores.open_store(workspace.store)
    except NothingRecordedError:
        return 0
    context = store.get_context_by_type_and_name("pipeline", runs.pipeline_id(pipeline))
    everyones = store.get_executions_by_context(context.id) if context else []
    executions = [e for e in everyones if _is_of(workspace, e)]
    unfinished = [e for e in executions if e.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW)]
    ended = (pb.Execution.FAILED, pb.Execution.CANCELED)
    failed = [e for e in executions if e.last_known_state in ended and step_launcher.KEPT not in e.custom_properties]
    # First, as it makes room: the disk that holds the store may be full.
    _remove_outputs(workspace.pipeline_root(pipeline), {e.id for e in (*unfinished, *failed)})
    for execution in unfinished:
        execution.last_known_state = state
    if unfinished:
        stores.open_store(workspace.store, read_only=False).put_executions(unfinished)
    return len(unfinished)


def _is_of(workspace: Workspace, execution: pb.Execution) -> bool:
    """In a store that several workspaces share, another may run the same pipeline right now."""
    recorded = execution.custom_properties.get("workspace", pb.Value()).string_value
    return workspace.identity in ("", recorded)


def _remove_outputs(root: str, executions: Collection[int]) -> None:
    """Outputs lie in `<root>/<step>/<key>/<execution>`, TFX's own files in `<root>/<step>/.system/<key>/<execution>`."""
    names = {str(execution) for execution in executions}
    for pattern in ("*/*/*", "*/.system/*/*"):
        for path in glob.glob(os.path.join(glob.escape(root), pattern)):
            if os.path.basename(path) in names:
                shutil.rmtree(path, ignore_errors=True)
