"""From `--target NAME` and `--set key=value` to where Beam jobs are done."""

import dataclasses
import os
from collections.abc import Sequence

from pydantic import ValidationError

from beam_jobs.errors import listed, nearest
from pipeline import loading, settings
from pipeline.errors import ConfigError
from pipeline.run_facts import PROJECT
from pipeline.targets.beam_options import Placement, here, placement
from pipeline.targets.target import RUNNERS, AnyTarget

LOCAL = "local"
FOLDER = os.path.join(PROJECT, "configs", "targets")


_KEYS = frozenset(key for model in RUNNERS.values() for key in model.model_fields)


def placement_of(name: str, assignments: Sequence[str] = (), workers: int = 0, detached: bool = False) -> Placement:
    """A target in Beam's words: one of `configs/targets`, or a file of the user's own.

    Args:
      name: `portable`, or the path of a YAML file.
      assignments: `key=value`; those whose key is a target's are laid over the file, `others` are left alone.
      workers: of a job; the target's where 0.
      detached: whether to leave jobs as soon as they are submitted, where they outlive this process.

    Raises:
      ConfigError: there is no such target, or something in it is wrong.
    """
    own = [text for text in assignments if _is_own(text)]
    if name == LOCAL and not own and not detached:
        return here(workers)
    target = load(name, [*own, *([f"workers={workers}"] if workers else [])])
    place = placement(os.path.splitext(os.path.basename(name))[0], target)
    if detached and place.service is None:
        raise ConfigError(
            f"Jobs on the target '{place.target}' end with this process: there is nothing to leave.",
            "Leave --detach out, or name a target of a service: --target dataflow.",
        )
    return dataclasses.replace(place, detached=detached)


def others(assignments: Sequence[str]) -> tuple[str, ...]:
    """The assignments that are the pipeline's."""
    return tuple(text for text in assignments if not _is_own(text))


def _is_own(assignment: str) -> bool:
    return assignment.partition("=")[0].strip().partition(".")[0] in _KEYS


def load(name: str, assignments: Sequence[str] = ()) -> AnyTarget:
    """Reads and checks a target's file, the assignments laid over it; see `placement_of`."""
    path = name if name.endswith((".yaml", ".yml")) else os.path.join(FOLDER, f"{name}.yaml")
    if not os.path.isfile(path):
        shipped = os.listdir(FOLDER) if os.path.isdir(FOLDER) else []
        known = sorted({LOCAL, *(os.path.splitext(file)[0] for file in shipped)})
        raise ConfigError(
            f"There is no target '{name}'.{nearest(name, known)}",
            f"Targets: {listed(known)}; or name a YAML file of your own, as in docs/howto-targets.md.",
        )
    merged = settings.load(path, (), assignments)
    runner = str(merged.values.get("runner", ""))
    if runner not in RUNNERS:
        raise ConfigError(
            f"{merged.origin(('runner',))}: 'runner' is '{runner}'.{nearest(runner, RUNNERS)}",
            f"It must be one of: {listed(RUNNERS)}.",
        )
    try:
        return RUNNERS[runner].model_validate(merged.values)
    except ValidationError as error:
        raise loading.worded(error, merged, RUNNERS[runner], "docs/howto-targets.md lists every key.") from error
