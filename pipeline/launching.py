"""TFX's launcher, told to record what TFX itself does not: run, step, seconds, error, code version, lock."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration import metadata
from tfx.orchestration.portable import data_types, execution_publish_utils
from tfx.orchestration.portable.launcher import Launcher
from tfx.proto.orchestration import execution_result_pb2, pipeline_pb2

from beam_jobs.shrinking import signature
from pipeline import property_values, run_facts, stores
from pipeline.errors import explain
from pipeline.lineage.archive import RUN
from pipeline.run_facts import Facts
from pipeline.store_address import StoreAddress

_TOLD_BY_THE_ARTIFACT = ("files",)
"""Parameters that a step records on its output: every run that reuses that shares them."""


PARAMETER_NAMES = "parameter_names"
"""The fact that tells an execution's parameters from its facts."""


def describe_run(ir: pipeline_pb2.Pipeline, facts: Facts) -> None:
    """Puts facts on the run's own record: properties of the context that TFX makes for it."""
    for node in ir.nodes:
        for context in node.pipeline_node.contexts.contexts:
            if context.type.name == RUN:
                for key, fact in facts.items():
                    context.properties[key].field_value.CopyFrom(property_values.value(fact))


def describe_again(store: StoreAddress, run: str, facts: Facts) -> None:
    """Puts the facts of a resumed run on its record, and counts how often it was resumed; TFX leaves it as it is."""
    opened = stores.open_store(store, read_only=False)
    context = opened.get_context_by_type_and_name(RUN, run)
    for key, fact in facts.items():
        place = context.properties if key in context.properties else context.custom_properties
        place[key].CopyFrom(property_values.value(fact))
    context.custom_properties["resumed"].int_value += 1
    opened.put_contexts([context])


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
        parameters = exec_properties or {}
        told = {**self._facts, PARAMETER_NAMES: ",".join(sorted(parameters)), **parameters}
        recorded = {
            key: pipeline_pb2.Value(field_value=property_values.value(given)) if isinstance(given, str) else given
            for key, given in told.items()
            if key not in _TOLD_BY_THE_ARTIFACT
        }
        # Every attempt is an execution of its own: TFX would take up a failed one of the same run and step.
        return execution_publish_utils.register_execution(
            metadata_handle, self._pipeline_node.node_info.type, contexts, input_artifacts, recorded
        )

    def _run_executor(self, execution_info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        self._began = time.monotonic()
        output = self._execute(execution_info)
        for key in _TOLD_BY_THE_ARTIFACT:
            output.execution_properties.pop(key, None)
        written = [artifact for artifacts in output.output_artifacts.values() for artifact in artifacts.artifacts]
        for properties in (output.execution_properties, *(artifact.custom_properties for artifact in written)):
            for key in list(properties):
                properties[key].CopyFrom(property_values.unindexed(properties[key]))
        output.execution_properties["seconds"].double_value = self._seconds()
        return output

    def _execute(self, execution_info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        return super()._run_executor(execution_info)

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
            facts["error_signature"] = run_facts.without_credentials(signature(error))
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
