"""Runs a plan step by step through TFX's launcher, locally, and tells a watcher what happens."""

import datetime
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from beam_jobs import progress
from beam_jobs.errors import BraidError
from pipeline import graph, launching, runs
from pipeline.errors import RunError
from pipeline.planning import Plan
from pipeline.workspace import Workspace

LOCAL_BEAM = (
    "--runner=FnApiRunner",
    "--direct_running_mode=multi_threading",
    # Named so that TFX does not package itself at every start; the in-process runner needs no container.
    "--sdk_container_image=none",
)


class Watcher(Protocol):
    """Hears of a run as it goes."""

    def started(self, run: str, steps: Sequence[str]) -> None:
        """The run begins, with these steps in this order."""

    def step(self, name: str) -> AbstractContextManager[Callable[[progress.Progress], None]]:
        """Around one step; what it yields is called with the step's progress."""

    def finished(self, name: str, step: runs.Step) -> None:
        """A step has ended well, newly run or taken from the cache."""


class StepFailedError(RunError):
    """A step ended with an error; the steps before it are recorded and will be reused."""

    def __init__(self, step: str, run: str, cause: BaseException) -> None:
        hint = cause.hint if isinstance(cause, BraidError) else ""
        super().__init__(f"Step '{step}' failed: {_worded(cause)}", hint)
        self.step, self.run, self.cause = step, run, cause
        self.is_bug = not isinstance(cause, BraidError) and "No space left on device" not in str(cause)

    def __reduce__(self) -> tuple[type["StepFailedError"], tuple[str, str, BaseException]]:  # type: ignore[override]
        return type(self), (self.step, self.run, self.cause)


def _worded(cause: BaseException) -> str:
    if isinstance(cause, BraidError):
        return str(cause)
    if "No space left on device" in str(cause):
        return "the disk is full (no space left on device). Free some, or name a workspace on another disk with --workspace DIR; then run the same command again."
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else 'no message'}"


def run(plan: Plan, workspace: Workspace, watcher: Watcher, workers: int = 0) -> runs.Run:
    """Runs every step of the plan, taking from TFX's cache what has not changed.

    Args:
      plan: the checked configuration.
      workspace: where outputs and metadata go.
      watcher: hears of progress.
      workers: threads of the Beam jobs; 0 for one a core.

    Raises:
      RunError: the pipeline is already running, or (StepFailedError) a step failed.
    """
    name = plan.loaded.config.name
    with workspace.exclusive(name):
        retire_unfinished(workspace, name)
        args = [*LOCAL_BEAM, f"--direct_num_workers={workers or os.cpu_count() or 1}"]
        pipeline = graph.compose(plan, workspace.pipeline_root(name), workspace.store, args)
        ir: pipeline_pb2.Pipeline = compiler.Compiler().compile(pipeline)
        run_name = _run_name(name)
        runtime_parameter_utils.substitute_runtime_parameter(ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_name})
        _launch_all(ir, run_name, workspace, watcher)
    return runs.find_run(runs.connect(workspace.store), run_name)


def _launch_all(ir: pipeline_pb2.Pipeline, run_name: str, workspace: Workspace, watcher: Watcher) -> None:
    nodes = [node.pipeline_node for node in ir.nodes]
    facts = {**launching.code_facts(), "runner": "FnApiRunner"}
    watcher.started(run_name, [node.node_info.id for node in nodes])
    for node in nodes:
        step = node.node_info.id
        with watcher.step(step) as listener, progress.listening(listener):
            try:
                launching.launcher(ir, node, facts).launch()
            except Exception as error:
                raise StepFailedError(step, run_name, error) from error
        record = runs.find_run(runs.connect(workspace.store), run_name).step(step)
        if record is None:
            raise RunError(
                f"Step '{step}' did not run: its inputs are missing from the metadata store.",
                "Delete nothing by hand; `braid runs` shows what is there.",
            )
        watcher.finished(step, record)


def _run_name(pipeline: str) -> str:
    return f"{pipeline}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S-%f}"[:-3]


def retire_unfinished(workspace: Workspace, pipeline: str) -> int:
    """Marks executions that a killed run left RUNNING as CANCELED and removes their half-written outputs.

    Called under the pipeline's lock, so nothing that still runs can be hit. Returns how many there were.
    """
    if not os.path.exists(workspace.store):
        return 0
    store = runs.connect(workspace.store)
    context = store.get_context_by_type_and_name("pipeline", runs.pipeline_id(pipeline))
    executions = store.get_executions_by_context(context.id) if context else []
    stale = [e for e in executions if e.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW)]
    for execution in stale:
        execution.last_known_state = pb.Execution.CANCELED
        _remove_outputs(workspace.pipeline_root(pipeline), execution.id)
    if stale:
        store.put_executions(stale)
    return len(stale)


def _remove_outputs(root: str, execution: int) -> None:
    """Outputs lie in `<root>/<step>/<key>/<execution>`, TFX's own layout."""
    for step in os.scandir(root):
        for key in os.scandir(step.path) if step.is_dir() else ():
            shutil.rmtree(os.path.join(key.path, str(execution)), ignore_errors=True)
