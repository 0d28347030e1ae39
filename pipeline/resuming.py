"""Going on with a run that failed or was cut off: which one, and would what it has finished still come out the same?"""

import re
from collections.abc import Mapping, Sequence

import ml_metadata as mlmd

from beam_jobs import storage
from components.schema_file import inference_mark
from pipeline import runs, stores
from pipeline.errors import RunError
from pipeline.step_launcher import StepLauncher
from pipeline.workspace import Workspace

_LATEST = "latest"
_MOMENT = r"-\d{8}-\d{6}-\d{3}"  # as the runner names runs
_SCHEMA = "schema"


def find(workspace: Workspace, pipeline: str, name: str) -> runs.Run:
    """The run to go on with; `latest` is the pipeline's newest in this workspace.

    Raises:
      RunError: there is none, or it is another pipeline's or another workspace's.
    """
    store = stores.open_store(workspace.store)
    if name == _LATEST:
        return _latest(store, workspace, pipeline)
    found = runs.find_run(store, name)
    if not _is_of(found, pipeline):
        raise RunError(
            f"Run '{found.name}' is one of pipeline '{found.pipeline or 'unknown'}', not of '{pipeline}'.",
            "`braid runs` lists the runs of every pipeline.",
        )
    if not _is_in(found, workspace):
        raise RunError(
            f"Run '{found.name}' was recorded by another workspace of this metadata store.",
            "Go on with it from there: its outputs lie in that workspace's folder.",
        )
    return found


def _latest(store: mlmd.MetadataStore, workspace: Workspace, pipeline: str) -> runs.Run:
    for name in runs.names(store):
        if _is_named_after(name, pipeline):
            found = runs.find_run(store, name)
            if _is_of(found, pipeline) and _is_in(found, workspace):
                return found
    raise RunError(f"Pipeline '{pipeline}' has not run here yet.", "Leave --resume out.")


def _is_of(found: runs.Run, pipeline: str) -> bool:
    """Whether a run is the pipeline's; one that was cut off at once has nothing but its name."""
    return found.pipeline == pipeline or (not found.steps and _is_named_after(found.name, pipeline))


def _is_named_after(run: str, pipeline: str) -> bool:
    return re.fullmatch(re.escape(pipeline) + _MOMENT, run) is not None


def _is_in(found: runs.Run, workspace: Workspace) -> bool:
    places = {str(step.properties.get("workspace", "")) for step in found.steps if not step.is_resolver}
    return not workspace.identity or places <= {workspace.identity}


def put_schema_back(found: runs.Run, path: str) -> bool:
    """Writes the user's schema file again, where the run has inferred it and a step that failed took it back.

    Returns:
      Whether it did.
    """
    step = found.step(_SCHEMA)
    if storage.exists(path) or step is None or not step.ended_well:
        return False
    inferred = [
        output
        for output in step.outputs.get(_SCHEMA, ())
        if output.properties.get("inferred") and output.properties.get("schema_path") == path
    ]
    request = str(step.properties.get("user_schema_digest", ""))
    return bool(inferred) and inference_mark.write_again(inferred[0].uri, path, request)


def changed(found: runs.Run, launchers: Mapping[str, StepLauncher], upstream: Mapping[str, Sequence[str]]) -> str:
    """Which finished step of a run would come out otherwise today, and why; '' for none.

    Args:
      found: the run.
      launchers: those of the pipeline's steps as they are now, for that run.
      upstream: for each step the steps right before it.
    """
    finished = {step.name: step for step in found.steps if step.ended_well}
    for name, step in finished.items():
        if name not in launchers:
            return f"the pipeline has no step '{name}' any more"
        missing = [before for before in upstream[name] if before not in finished]
        reason = f"depends on '{missing[0]}' by now" if missing else launchers[name].changed_since(step)
        if reason:
            return f"step '{name}' {reason}"
    return ""
