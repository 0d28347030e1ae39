"""The target `dataflow` as a Flex Template's environment: the same workers that `braid run` would ask for.

https://cloud.google.com/dataflow/docs/reference/rest/v1b3/FlexTemplateRuntimeEnvironment
"""

from typing import Any

from pipeline.targets import dataflow_options
from pipeline.targets.given_options import given
from pipeline.targets.target import Dataflow, WorkerKeys


def of_target(target: Dataflow, pipeline: str) -> dict[str, Any]:
    """What all launches have in common."""
    labels = {**target.labels, "pipeline": pipeline}
    experiments = ["use_runner_v2", *(["shuffle_mode=service"] if target.shuffle_service else [])]
    found: dict[str, Any] = {
        "tempLocation": f"{target.place}/temp",
        "stagingLocation": f"{target.place}/staging",
        "serviceAccountEmail": target.service_account,
        "network": target.network,
        "subnetwork": target.subnetwork,
        "ipConfiguration": "" if target.public_ips else "WORKER_IP_PRIVATE",
        "sdkContainerImage": target.image,
        "additionalExperiments": experiments,
        "additionalUserLabels": {dataflow_options.label(key): dataflow_options.label(labels[key]) for key in labels},
    }
    keys = WorkerKeys(**{name: getattr(target, name) for name in WorkerKeys.model_fields})
    return {**{name: value for name, value in found.items() if value}, **of_workers(keys)}


def of_workers(keys: WorkerKeys) -> dict[str, Any]:
    """What workers are like."""
    options = [f"number_of_worker_harness_threads={keys.threads}", *(word[2:] for word in given(keys.options))]
    found: dict[str, Any] = {
        "machineType": keys.worker_type,
        "numWorkers": keys.workers,
        "maxWorkers": max(keys.max_workers, keys.workers),
        "diskSizeGb": keys.disk_gb,
        "flexrsGoal": "FLEXRS_COST_OPTIMIZED" if keys.flexible_scheduling else "",
        "additionalPipelineOptions": options,
    }
    return {name: value for name, value in found.items() if value}
