"""From `--target NAME` and `--set key=value` to a checked target."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from beam_jobs.errors import listed, nearest
from pipeline import loading, settings
from pipeline.errors import ConfigError
from pipeline.run_facts import PROJECT
from pipeline.targets.target import RUNNERS, Local, Portable

FOLDER = os.path.join(PROJECT, "configs", "targets")
LOCAL = "local"


@dataclass(frozen=True)
class LoadedTarget:
    """A target by its name, and the assignments that were not its own."""

    name: str
    target: Local | Portable
    others: tuple[str, ...]


def load(name: str, assignments: Sequence[str] = ()) -> LoadedTarget:
    """Reads a target of `configs/targets`, or a file of the user's own.

    Args:
      name: `portable`, or the path of a YAML file.
      assignments: `key=value`; those whose key is a target's are laid over the file.

    Raises:
      ConfigError: there is no such target, or something in it is wrong.
    """
    path = name if name.endswith((".yaml", ".yml")) else os.path.join(FOLDER, f"{name}.yaml")
    if not os.path.isfile(path):
        known = sorted(os.path.splitext(file)[0] for file in os.listdir(FOLDER))
        raise ConfigError(
            f"There is no target '{name}'.{nearest(name, known)}",
            f"Targets: {listed(known)}; or name a YAML file of your own, as in docs/howto-targets.md.",
        )
    keys = {key for model in RUNNERS.values() for key in model.model_fields}
    own = [text for text in assignments if text.partition("=")[0].strip().partition(".")[0] in keys]
    merged = settings.load(path, (), own)
    runner = str(merged.values.get("runner", ""))
    if runner not in RUNNERS:
        raise ConfigError(
            f"{merged.origin(('runner',))}: 'runner' is '{runner}'.{nearest(runner, RUNNERS)}",
            f"It must be one of: {listed(RUNNERS)}.",
        )
    try:
        target = RUNNERS[runner].model_validate(merged.values)
    except ValidationError as error:
        raise loading.worded(error, merged, RUNNERS[runner], "docs/howto-targets.md lists every key.") from error
    stem = os.path.splitext(os.path.basename(path))[0]
    return LoadedTarget(stem, target, tuple(text for text in assignments if text not in own))
