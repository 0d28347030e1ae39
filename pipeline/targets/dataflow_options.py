"""The target `dataflow` in the words of Beam and of the service."""

import re
from collections.abc import Mapping

from beam_jobs.errors import listed
from pipeline.errors import ConfigError
from pipeline.targets.given_options import given
from pipeline.targets.target import Dataflow, WorkerKeys

RUNNER = "pipeline.remote.dataflow_runner.DataflowRunner"
_REQUIRED = ("project", "region", "bucket")
_LABEL_LENGTH = 63


def of(target: Dataflow) -> tuple[str, ...]:
    """The options that all jobs of the target have in common.

    Raises:
      ConfigError: it lacks what every job needs.
    """
    missing = [key for key in _REQUIRED if not getattr(target, key)]
    if missing:
        raise ConfigError(
            f"The target 'dataflow' needs {listed(missing)}.",
            "Give them: " + " ".join(f"--set {key}=..." for key in missing),
        )
    options: dict[str, str | bool] = {
        "runner": RUNNER,
        "project": target.project,
        "region": target.region,
        "temp_location": f"{target.place}/temp",
        "staging_location": f"{target.place}/staging",
        "service_account_email": target.service_account,
        "network": target.network,
        "subnetwork": target.subnetwork,
        "no_use_public_ips": not target.public_ips,
        "sdk_container_image": target.image,
        "dataflow_endpoint": target.endpoint,
    }
    experiments = ["use_runner_v2", *(["shuffle_mode=service"] if target.shuffle_service else [])]
    return (*_words(options), *(f"--experiments={name}" for name in experiments))


def of_workers(keys: WorkerKeys) -> tuple[str, ...]:
    """The options that say what workers a job gets."""
    options: dict[str, str | bool] = {
        "worker_machine_type": keys.worker_type,
        "num_workers": str(keys.workers or ""),
        "max_num_workers": str(max(keys.max_workers, keys.workers)),
        "number_of_worker_harness_threads": str(keys.threads),
        "disk_size_gb": str(keys.disk_gb),
        "flexrs_goal": "COST_OPTIMIZED" if keys.flexible_scheduling else "",
    }
    return (*_words(options), *given(keys.options))


def labels(target: Dataflow, pipeline: str, run: str, step: str) -> tuple[str, ...]:
    """The labels of one step's job, by which the project's bill can be read."""
    named = {**target.labels, "pipeline": pipeline, "run": run, "step": step}
    return tuple(f"--labels={label(key)}={label(value)}" for key, value in named.items())


def label(text: str) -> str:
    """A text as the service allows it in a label: lower case, digits, `_` and `-`, up to 63 of them."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LABEL_LENGTH]


def job_name(run: str, step: str, execution: int) -> str:
    """The name of a step's job: the same for the same execution, and no other's."""
    plain = re.sub(r"[^a-z0-9]+", "-", f"{run}-{step}".lower()).strip("-")
    return f"b-{plain}-{execution}" if not plain[:1].isalpha() else f"{plain}-{execution}"


def _words(options: Mapping[str, str | bool]) -> tuple[str, ...]:
    """Those that are given, as arguments."""
    return tuple(f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items() if value)
