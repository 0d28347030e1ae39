"""TFX's launcher, told to record what TFX itself does not: seconds, runner, code version, lock."""

import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import data_types
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.orchestration.portable.launcher import Launcher
from tfx.orchestration.portable.python_executor_operator import PythonExecutorOperator
from tfx.proto.orchestration import executable_spec_pb2, execution_result_pb2, pipeline_pb2

from beam_jobs import storage

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def code_facts(project: str = PROJECT) -> dict[str, str | int]:
    """The git commit of the code, whether it was changed since, and the digest of the lock; '' where unknown."""
    lock = os.path.join(project, "lock", "requirements.txt")
    return {
        "code_commit": _git(project, "rev-parse", "HEAD"),
        "code_dirty": int(bool(_git(project, "status", "--porcelain"))),
        "lock_digest": storage.content_digest(lock) if storage.exists(lock) else "",
    }


def _git(project: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", project, *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def launcher(ir: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode, facts: Mapping[str, str | int]) -> Launcher:
    """The launcher of one node of a compiled pipeline; `facts` become properties of its execution."""
    deployment = runner_utils.extract_local_deployment_config(ir)
    connection = deployment.metadata_connection_config
    return Launcher(
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(getattr(connection, connection.WhichOneof("connection_config"))),
        pipeline_info=ir.pipeline_info,
        pipeline_runtime_spec=ir.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node.node_info.id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node.node_info.id),
        custom_executor_operators={
            executable_spec_pb2.PythonClassExecutableSpec: _recording(PythonExecutorOperator, facts),
            executable_spec_pb2.BeamExecutableSpec: _recording(BeamExecutorOperator, facts),
        },
    )


def _recording(operator: Any, facts: Mapping[str, str | int]) -> Any:
    """The executor operator, adding facts to what it hands the launcher to publish."""

    class Recording(operator):
        def run_executor(self, execution_info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
            started = time.monotonic()
            output = super().run_executor(execution_info)
            output.execution_properties["seconds"].double_value = round(time.monotonic() - started, 3)
            for key, value in facts.items():
                if isinstance(value, int):
                    output.execution_properties[key].int_value = value
                else:
                    output.execution_properties[key].string_value = value
            return output

    return Recording
