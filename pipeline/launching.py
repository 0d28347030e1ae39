"""TFX's launcher, told to record what TFX itself does not: run, step, seconds, error, code version, lock."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import data_types
from tfx.orchestration.portable.launcher import Launcher
from tfx.proto.orchestration import execution_result_pb2, pipeline_pb2

from pipeline import property_values, run_facts
from pipeline.errors import explain
from pipeline.run_facts import Facts
from pipeline.runs import RUN_CONTEXT

_TOLD_BY_THE_ARTIFACT = ("files",)
"""Parameters that a step records on its output: every run that reuses that shares them."""


def describe_run(ir: pipeline_pb2.Pipeline, facts: Facts) -> None:
    """Puts facts on the run's own record: properties of the context that TFX makes for it."""
    for node in ir.nodes:
        for context in node.pipeline_node.contexts.contexts:
            if context.type.name == RUN_CONTEXT:
                for key, fact in facts.items():
                    context.properties[key].field_value.CopyFrom(property_values.value(fact))


def launcher(ir: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode, facts: Facts) -> "RecordingLauncher":
    """The launcher of one node of a compiled pipeline; `facts` become properties of its execution."""
    deployment = runner_utils.extract_local_deployment_config(ir)
    connection = deployment.metadata_connection_config
    return RecordingLauncher(
        facts,
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(getattr(connection, connection.WhichOneof("connection_config"))),
        pipeline_info=ir.pipeline_info,
        pipeline_runtime_spec=ir.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node.node_info.id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node.node_info.id),
    )


class RecordingLauncher(Launcher):
    """Puts facts on every execution of its node, whatever becomes of it, and `seconds` on each that ran.

    One that failed also gets `error` and `error_type`. Facts are no parameters: TFX's cache key does not see them.
    """

    def __init__(self, facts: Facts, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._facts = facts
        self._began = time.monotonic()

    def launch(self) -> data_types.ExecutionInfo | None:
        """As TFX's; a node that TFX handles without an executor, such as a resolver, gets its facts afterwards."""
        info = super().launch()
        if self._system_node_handler is not None and info is not None and info.execution_id is not None:
            self._add(info.execution_id, self._facts)
        return info

    def _register_or_reuse_execution(
        self,
        metadata_handle: metadata.Metadata,
        contexts: list[pb.Context],
        input_artifacts: Mapping[str, Sequence[Any]] | None = None,
        exec_properties: Mapping[str, Any] | None = None,
    ) -> pb.Execution:
        told = {**self._facts, **(exec_properties or {})}
        recorded = {
            key: pipeline_pb2.Value(field_value=property_values.value(given)) if isinstance(given, str) else given
            for key, given in told.items()
            if key not in _TOLD_BY_THE_ARTIFACT
        }
        return super()._register_or_reuse_execution(metadata_handle, contexts, input_artifacts, recorded)

    def _run_executor(self, execution_info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        self._began = time.monotonic()
        output = super()._run_executor(execution_info)
        for key in _TOLD_BY_THE_ARTIFACT:
            output.execution_properties.pop(key, None)
        written = [artifact for artifacts in output.output_artifacts.values() for artifact in artifacts.artifacts]
        for properties in (output.execution_properties, *(artifact.custom_properties for artifact in written)):
            for key in list(properties):
                properties[key].CopyFrom(property_values.unindexed(properties[key]))
        output.execution_properties["seconds"].double_value = self._seconds()
        return output

    def _publish_failed_execution(
        self,
        execution_id: int,
        contexts: list[pb.Context],
        executor_output: execution_result_pb2.ExecutorOutput | None = None,
    ) -> None:
        facts: dict[str, str | float] = {"seconds": self._seconds()}
        error = sys.exception()
        if error is not None:
            told, _ = explain(error)
            facts |= {"error": run_facts.without_credentials(told), "error_type": type(error).__name__}
        self._add(execution_id, facts)
        super()._publish_failed_execution(execution_id, contexts, executor_output)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def _add(self, execution_id: int, facts: Facts) -> None:
        with self._mlmd_connection as connected:
            (execution,) = connected.store.get_executions_by_id([execution_id])
            for key, fact in facts.items():
                execution.custom_properties[key].CopyFrom(property_values.value(fact))
            connected.store.put_executions([execution])
