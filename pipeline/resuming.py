"""Going on with a run that failed or was cut off: would what it has finished still come out the same?"""

from collections.abc import Sequence

from pipeline import runs
from pipeline.errors import RunError
from pipeline.step_launcher import StepLauncher


def changed(found: runs.Run, pipeline: str, launchers: Sequence[StepLauncher]) -> str:
    """Which finished step of a run would come out otherwise today, and why; '' for none.

    Args:
      found: the run.
      pipeline: the name of the pipeline that is to go on with it.
      launchers: those of the pipeline's steps as they are now.

    Raises:
      RunError: the run is another pipeline's.
    """
    if found.pipeline != pipeline:
        raise RunError(
            f"Run '{found.name}' is one of pipeline '{found.pipeline}', not of '{pipeline}'.",
            f"`braid runs` lists the runs of '{pipeline}'.",
        )
    for launcher in launchers:
        step = found.step(launcher.step)
        if step is None or step.is_resolver or not step.ended_well:
            continue
        reason = launcher.changed_since(step.execution, str(step.properties.get("cache_key", "")))
        if reason:
            return f"step '{launcher.step}' {reason}"
    return ""
