"""What one step's job stages for its workers: the wheel and the pins, as Beam's options and as facts to record.

Loads neither TFX nor Beam.
"""

import json
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_jobs import storage
from beam_jobs.errors import listed, nearest
from pipeline.deploy import worker_package
from pipeline.deploy.worker_package import FAMILIES, STEPS, WorkerPackage
from pipeline.errors import RunError

if TYPE_CHECKING:
    from tfx.dsl.components.base.base_node import BaseNode

PINS = "worker-requirements.txt"
KINDS = {
    "components.ingest.component.Ingest": "ingest",
    "components.prepare.component.Prepare": "prepare",
    "components.prepare.component.PrepareExamples": "prepare",
    "components.arrow_statistics.component.ArrowStatistics": "statistics",
    "components.transform.component.Transform": "transform",
    "components.evaluator.component.Evaluator": "evaluate",
    "components.scorer.component.Scorer": "score",
}
"""Names of `worker_package.STEPS` by the type of the component, as TFX and ML Metadata call it."""
TRAINERS = {
    "components.trainer.component.Trainer": "xgboost",
    "components.keras_trainer.component.KerasTrainer": "keras",
}
"""Families of models by the type of the component that trains them."""
_RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
_WITH_MODELS = ("evaluate", "evaluate_tfma", "score")
_DIGITS = 12


@dataclass(frozen=True)
class Staged:
    """What a job stages.

    Attributes:
      options: Beam's.
      facts: to record of the step's execution.
    """

    options: tuple[str, ...]
    facts: dict[str, str | int]


def kind_of(node: "BaseNode") -> str:
    """The kind of a step with a Beam job, a name of `worker_package.STEPS`.

    Raises:
      RunError: none is known for it.
    """
    if node.type not in KINDS:
        raise RunError(
            f"Nothing says what workers need for the job of '{node.id}', a {node.type}.{nearest(node.type, KINDS)}",
            f"Known: {listed(KINDS.values())}; run it on another target.",
        )
    kind = KINDS[node.type]
    if kind == "evaluate" and json.loads(node.exec_properties["config"] or "{}").get("engine") == "tfma":
        return "evaluate_tfma"
    return kind


def families_of(nodes: Iterable["BaseNode"], recorded: Collection[str] | None = None) -> list[str]:
    """The families of models that jobs of these steps may have to load: those they train, and earlier ones.

    Args:
      nodes: all steps of the pipeline.
      recorded: names of the execution types in the metadata store, which tell what was ever trained there: a champion,
        or the model to score with, can be of any of those families. Unknown if None: of any at all.
    """
    types = {node.type for node in nodes}
    if _RESOLVER in types:
        types |= set(TRAINERS if recorded is None else recorded)
    return sorted({family for name, family in TRAINERS.items() if name in types})


def stage(kind: str, families: Sequence[str], folder: str, image: str = "") -> Staged:
    """Writes what a job of this kind stages; the same code and lock write the same files.

    Args:
      kind: see `kind_of`.
      families: of the models that it may load, see `families_of`; only jobs that load models get their libraries.
      folder: for the wheel and the pins.
      image: of the workers, where there is one: it holds the pins, so that the wheel alone is staged.

    Raises:
      RunError: there is no such kind or family, the lock lacks a package, or code does not parse.
    """
    package = package_of([kind], families, folder)
    return Staged(_options(package, folder, image), {**package.facts, **({"worker_image": image} if image else {})})


def options_of(kinds: Sequence[str], families: Sequence[str], folder: str, image: str = "") -> tuple[str, ...]:
    """Beam's options for one job of these kinds together; see `stage`."""
    return _options(package_of(kinds, families, folder), folder, image)


def _options(package: WorkerPackage, folder: str, image: str) -> tuple[str, ...]:
    wheel = f"--extra_package={package.wheel}"
    if image:
        return (wheel,)
    return (wheel, f"--requirements_file={_pins_file(package, folder)}", "--requirements_cache=skip")


def package_of(kinds: Sequence[str], families: Sequence[str], folder: str) -> WorkerPackage:
    """The wheel, written into the folder, and the pins of steps of these kinds together; see `stage`."""
    loads_models = any(kind in _WITH_MODELS for kind in kinds)
    return worker_package.build(worker_package.needs_of(kinds, families if loads_models else ()), folder)


def _pins_file(package: WorkerPackage, folder: str) -> str:
    """Each set of pins has a folder of its own: steps of several kinds are staged side by side."""
    path = os.path.join(folder, package.requirements_digest[:_DIGITS], PINS)
    if not os.path.exists(path):
        storage.write_text(path, package.requirements)
    return path


__all__ = ["FAMILIES", "KINDS", "STEPS", "Staged", "families_of", "kind_of", "options_of", "package_of", "stage"]
