"""A target in Beam's words: its command line options."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.errors import ConfigError
from pipeline.targets import dataflow_options
from pipeline.targets.given_options import given
from pipeline.targets.target import AnyTarget, Dataflow, Local, Portable

# Named so that TFX does not package itself at every start; nothing here runs in that container.
_NO_CONTAINER = "--sdk_container_image=none"
LOCAL_BEAM = ("--runner=FnApiRunner", "--direct_running_mode=multi_threading", _NO_CONTAINER)
_PORTABLE_RUNNER = "pipeline.remote.portable_runner.PortableRunner"
_WORKER = "beam_jobs.worker_process"


@dataclass(frozen=True)
class Placement:
    """Where the Beam jobs of a run are done.

    Attributes:
      target: its name, for the record.
      runner: Beam's name of the runner, for the record.
      options: of every job.
      steps: more of them, by step.
      root: the folder that outputs go to, local or in a bucket; '' for the workspace.
      service: Dataflow, where jobs go there: workers get a wheel, and jobs outlive this process.
      detached: whether to leave a service's job as soon as it is submitted.
    """

    target: str
    runner: str
    options: tuple[str, ...]
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: str = ""
    service: Dataflow | None = None
    detached: bool = False


def placement(name: str, target: AnyTarget) -> Placement:
    """The target in Beam's words.

    Raises:
      ConfigError: the environment of the workers lacks what it needs.
    """
    if isinstance(target, Local):
        return here(target.workers, name, target.root)
    if isinstance(target, Dataflow):
        options = dataflow_options.of(target)
        return Placement(name, "DataflowRunner", options, {}, target.root or target.place, target)
    options = (
        f"--runner={_PORTABLE_RUNNER}",
        f"--job_endpoint={target.endpoint}",
        *_environment(target),
        f"--direct_num_workers={target.workers}",
        f"--sdk_worker_parallelism={target.workers}",
        *given(target.options),
    )
    steps = {step: given(own) for step, own in target.steps.items()}
    return Placement(name, "PortableRunner", options, steps, target.root)


def here(workers: int = 0, name: str = "local", root: str = "") -> Placement:
    """This process.

    Args:
      workers: threads; 0 for one a core.
    """
    options = (*LOCAL_BEAM, f"--direct_num_workers={workers or os.cpu_count() or 1}")
    return Placement(name, "FnApiRunner", options, root=root)


def _environment(target: Portable) -> tuple[str, ...]:
    match target.environment:
        case "loopback":
            return ("--environment_type=LOOPBACK", _NO_CONTAINER)
        case "process":
            python = shlex.quote(target.python or sys.executable)
            return (
                "--environment_type=beam:env:harness_subprocess_python:v1",
                f"--environment_config={python} -m {_WORKER} || exec {python} -m {_WORKER} --lost",
                _NO_CONTAINER,
            )
        case "external":
            return ("--environment_type=EXTERNAL", f"--environment_config={_needed(target, 'pool')}", _NO_CONTAINER)
        case "docker":
            image = _needed(target, "image")
            return ("--environment_type=DOCKER", f"--environment_config={image}", f"--sdk_container_image={image}")


def _needed(target: Portable, key: str) -> str:
    value = str(getattr(target, key))
    if not value:
        raise ConfigError(
            f"The target's environment is '{target.environment}', and '{key}' is not set.", f"Give it: --set {key}=..."
        )
    return value
