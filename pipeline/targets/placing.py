"""Gives the Beam jobs of a composed pipeline the options by which they run where the target says."""

import os
from collections.abc import Collection, Mapping

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.orchestration.pipeline import Pipeline

from beam_jobs.errors import listed, nearest
from pipeline.deploy import staging
from pipeline.errors import ConfigError
from pipeline.run_facts import Facts
from pipeline.targets import dataflow_options
from pipeline.targets.beam_options import Placement
from pipeline.targets.target import Dataflow

_PACKAGES = "workers"


def place_jobs(composed: Pipeline, place: Placement, folder: str, trained: Collection[str]) -> dict[str, Facts]:
    """Sets the options of every step with a Beam job.

    Args:
      composed: the pipeline.
      place: where its jobs are done.
      folder: the workspace's; what workers install is written there.
      trained: types of components that the metadata store knows: those that train models tell which a job may meet.

    Returns:
      For each step with a Beam job what to record of what its workers run; nothing where they are this machine's.

    Raises:
      ConfigError: the target has options for a step that there is not, or that runs no Beam job.
    """
    jobs = {node.id: node for node in composed.components if isinstance(node, BaseBeamComponent)}
    _check_names(place, jobs)
    if place.service is None:
        for step, options in place.steps.items():
            jobs[step].with_beam_pipeline_args(list(options))
        return {step: {} for step in jobs}
    families = staging.families_of(composed.components, trained)
    return {
        step: _place_remotely(node, place.service, families, os.path.join(folder, _PACKAGES))
        for step, node in jobs.items()
    }


def _place_remotely(node: BaseBeamComponent, service: Dataflow, families: list[str], folder: str) -> Facts:
    package = staging.stage(staging.kind_of(node), families, folder, service.image)
    workers = dataflow_options.of_workers(service.of_step(node.id))
    node.with_beam_pipeline_args([*workers, *package.options])
    return package.facts


def _check_names(place: Placement, jobs: Mapping[str, BaseBeamComponent]) -> None:
    named = place.service.steps if place.service else place.steps
    for step in named:
        if step not in jobs:
            raise ConfigError(
                f"The target '{place.target}' has options for '{step}', which is no step with a Beam job.{nearest(step, jobs)}",
                f"Steps with a Beam job: {listed(jobs, 30)}.",
            )
