"""Runs a plan step by step through TFX's launcher, locally, and tells a watcher what happens."""

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
from pipeline import graph, interruption, launching, run_facts, runs
from pipeline.errors import RunError, StepFailedError
from pipeline.planning import Plan
from pipeline.workspace import Workspace

RUNNER, TARGET = "FnApiRunner", "local"
LOCAL_BEAM = (
    f"--runner={RUNNER}",
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
    schema = _new_schema_taken_back(plan.schema_file)
    with workspace.exclusive(name), _leaving_nothing_unfinished(workspace, name), schema:
        retire_unfinished(workspace, name)
        args = [*LOCAL_BEAM, f"--direct_num_workers={workers or os.cpu_count() or 1}"]
        pipeline = graph.compose(plan, workspace.pipeline_root(name), workspace.store, args)
        ir: pipeline_pb2.Pipeline = compiler.Compiler().compile(pipeline)
        run_name = _run_name(name)
        runtime_parameter_utils.substitute_runtime_parameter(ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_name})
        _launch_all(plan, ir, run_name, workspace, watcher)
    return runs.find_run(runs.connect(workspace.store), run_name)


def _launch_all(plan: Plan, ir: pipeline_pb2.Pipeline, run_name: str, workspace: Workspace, watcher: Watcher) -> None:
    nodes = [node.pipeline_node for node in ir.nodes]
    environment = run_facts.of_environment(RUNNER, TARGET)
    launching.describe_run(ir, {**run_facts.of_configuration(plan.loaded), **environment})
    watcher.started(run_name, [node.node_info.id for node in nodes])
    for node in nodes:
        step = node.node_info.id
        with watcher.step(step) as listener, progress.listening(listener):
            try:
                launching.launcher(ir, node, {**environment, **_step_facts(plan, run_name, step)}).launch()
            except Exception as error:
                raise StepFailedError(step, run_name, error) from error
        record = runs.find_run(runs.connect(workspace.store), run_name).step(step)
        if record is None:
            raise RunError(
                f"Step '{step}' did not run: its inputs are missing from the metadata store.",
                "Delete nothing by hand; `braid runs` shows what is there.",
            )
        watcher.finished(step, record)


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
            except (mlmd.errors.StatusError, RuntimeError, OSError) as failure:
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
    """Marks executions that a run left RUNNING when it was cut off, and removes what they and failed ones half wrote.

    Called under the pipeline's lock, so nothing that still runs can be hit. Returns how many were marked.
    """
    if not os.path.exists(workspace.store):
        return 0
    store = runs.connect(workspace.store)
    context = store.get_context_by_type_and_name("pipeline", runs.pipeline_id(pipeline))
    executions = store.get_executions_by_context(context.id) if context else []
    unfinished = [e for e in executions if e.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW)]
    failed = [e for e in executions if e.last_known_state in (pb.Execution.FAILED, pb.Execution.CANCELED)]
    # First, as it makes room: the disk that holds the store may be full.
    _remove_outputs(workspace.pipeline_root(pipeline), {e.id for e in (*unfinished, *failed)})
    for execution in unfinished:
        execution.last_known_state = state
    if unfinished:
        store.put_executions(unfinished)
    return len(unfinished)


def _remove_outputs(root: str, executions: Collection[int]) -> None:
    """Outputs lie in `<root>/<step>/<key>/<execution>`, TFX's own files in `<root>/<step>/.system/<key>/<execution>`."""
    names = {str(execution) for execution in executions}
    for pattern in ("*/*/*", "*/.system/*/*"):
        for path in glob.glob(os.path.join(glob.escape(root), pattern)):
            if os.path.basename(path) in names:
                shutil.rmtree(path, ignore_errors=True)
