"""Executions that a run left RUNNING when it was cut off: they are marked, and what they half wrote is removed."""

import glob
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline import interruption, roots, runs, stores
from pipeline.errors import NothingRecordedError, RunError
from pipeline.remote.recorded_job import is_of, job_of
from pipeline.run_facts import KEPT
from pipeline.workspace import Workspace


@contextmanager
def none_left(workspace: Workspace, pipeline: str) -> Iterator[None]:
    """Around a run: when it is cut off, or the store itself fails, no execution stays RUNNING."""
    try:
        yield
    except BaseException as error:
        state = pb.Execution.FAILED if isinstance(error, Exception) else pb.Execution.CANCELED
        with interruption.uninterrupted():
            try:
                retire(workspace, pipeline, state)
            except (mlmd.errors.StatusError, RunError, RuntimeError, OSError) as failure:
                # The store may be what failed, on a full disk for one: then the next run's start retires them.
                logging.warning("Executions stay unfinished until the next run: %s", failure)
        raise


def retire(workspace: Workspace, pipeline: str, state: Any = pb.Execution.CANCELED, given_up: int = 0) -> int:
    """Marks executions that a run left RUNNING when it was cut off, and removes what they half wrote.

    What a step wrote that failed by itself is kept for whoever looks for the reason, until `braid lineage gc` clears it.

    Called under the pipeline's lock, so nothing that still runs can be hit.

    Args:
      workspace: where the pipeline runs.
      pipeline: its name.
      state: what unfinished executions are marked as.
      given_up: an execution that waits for a service's job, which will not be waited for any more.

    Returns:
      How many were marked.
    """
    try:
        store = stores.open_store(workspace.store)
    except NothingRecordedError:
        return 0
    context = store.get_context_by_type_and_name("pipeline", runs.pipeline_id(pipeline))
    everyones = store.get_executions_by_context(context.id) if context else []
    executions = [e for e in everyones if is_of(workspace, e)]
    running = [e for e in executions if e.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW)]
    # A job of a service goes on without this process; what waits for it is taken up again, or given up by name.
    unfinished = [e for e in running if job_of(e) is None or e.id == given_up]
    ended = (pb.Execution.FAILED, pb.Execution.CANCELED)
    failed = [e for e in executions if e.last_known_state in ended and KEPT not in e.custom_properties]
    # First, as it makes room: the disk that holds the store may be full.
    _remove_outputs(workspace.pipeline_root(pipeline), {e.id for e in (*unfinished, *failed)})
    removed = roots.remove_recorded([*unfinished, *failed])
    for execution in unfinished:
        execution.last_known_state = state
    changed = {e.id: e for e in (*unfinished, *removed)}
    if changed:
        stores.open_store(workspace.store, read_only=False).put_executions(list(changed.values()))
    return len(unfinished)


def _remove_outputs(root: str, executions: Collection[int]) -> None:
    """Outputs lie in `<root>/<step>/<key>/<execution>`, TFX's own files in `<root>/<step>/.system/<key>/<execution>`."""
    names = {str(execution) for execution in executions}
    for pattern in ("*/*/*", "*/.system/*/*"):
        for path in glob.glob(os.path.join(glob.escape(root), pattern)):
            if os.path.basename(path) in names:
                shutil.rmtree(path, ignore_errors=True)
