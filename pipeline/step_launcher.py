"""The launcher of one step: taken from the cache when its content-addressed key is known; kept when it fails."""

import copy
import dataclasses
import enum
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import data_types, execution_publish_utils, inputs_utils, outputs_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import execution_result_pb2, pipeline_pb2

from beam_jobs import storage
from beam_jobs.errors import listed
from pipeline import caching, stores
from pipeline.cache_key import CacheKey, differences
from pipeline.code_closure import code_closure
from pipeline.code_modules import project_roots
from pipeline.errors import RunError
from pipeline.launching import RecordingLauncher
from pipeline.run_facts import Facts
from pipeline.store_address import StoreAddress

TRACEBACK = "traceback.txt"
KEPT = "traceback"
"""The property of a failed execution, with the path of its traceback, that says that its outputs are kept."""


class Reuse(enum.Enum):
    """Whether a step may, may not or must come from the cache."""

    ALLOWED = enum.auto()
    FORBIDDEN = enum.auto()
    REQUIRED = enum.auto()


def launcher(
    ir: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    facts: Facts,
    store: StoreAddress,
    reuse: Reuse = Reuse.ALLOWED,
) -> "StepLauncher":
    """The launcher of one node of a compiled pipeline; `facts` become properties of its execution.

    It records in `store`, not in the store that the pipeline names: a compiled pipeline holds no password.
    """
    deployment = runner_utils.extract_local_deployment_config(ir)
    return StepLauncher(
        facts,
        reuse,
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(stores.connection_config(store, read_only=False)),
        pipeline_info=ir.pipeline_info,
        pipeline_runtime_spec=ir.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node.node_info.id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node.node_info.id),
    )


def executor_path(spec: Any) -> str:
    """The executor's class with its module, '' for a node without one."""
    return str(getattr(getattr(spec, "python_executor_spec", spec), "class_path", ""))


def _code(executor: str) -> Mapping[str, str]:
    """Digests of the definitions that an executor of this project reaches; packages are known by the lock."""
    module, _, name = executor.rpartition(".")
    if module.partition(".")[0] not in project_roots():
        return {}
    return code_closure(f"{module}:{name}").definitions


class StepLauncher(RecordingLauncher):
    """Looks the step up in Braid's cache instead of TFX's, and keeps what a failing step has written.

    TFX's cache goes by the ids of the inputs and by the text of one module, and does not look whether outputs still are
    what they were; and its launcher deletes the outputs of a step that fails.
    """

    def __init__(self, facts: Facts, reuse: Reuse, **arguments: Any) -> None:
        node = copy.deepcopy(arguments.pop("pipeline_node"))
        self._reuse = reuse if node.execution_options.caching_options.enable_cache else Reuse.FORBIDDEN
        node.execution_options.caching_options.enable_cache = False  # TFX's own
        path = executor_path(arguments.get("executor_spec"))
        super().__init__({**facts, "executor": path} if path else facts, pipeline_node=node, **arguments)
        self._executor_path = path
        self._running: data_types.ExecutionInfo | None = None

    def _prepare_execution(self) -> Any:
        prepared = super()._prepare_execution()
        info = prepared.execution_info
        if not prepared.is_execution_needed:
            return prepared
        self._running = info
        key = self.key(info.exec_properties, info.input_dict)
        with self._mlmd_connection as connected:
            context = caching.register(connected, key)
            # TFX has put its own cache's context last; there nobody will look anything up.
            prepared.contexts[-1] = context
            hit, unusable = (None, []) if self._reuse is Reuse.FORBIDDEN else caching.find(connected, context)
            if hit is None and self._reuse is Reuse.REQUIRED:
                execution_publish_utils.publish_failed_execution(connected, prepared.contexts, info.execution_id)
        facts = {"cache_key": key.digest, "cache": "hit" if hit else "miss", "cache_unusable": "; ".join(unusable)}
        self._add(info.execution_id, {name: fact for name, fact in facts.items() if fact})
        if hit is not None:
            self._take(prepared, hit)
        elif self._reuse is Reuse.REQUIRED:
            self._clear(info)
            raise RunError(
                f"Step '{self.step}' would have to run: nothing that it could be taken from is on record.",
                "Run without --only, or ask `braid explain RUN/step` what has changed.",
            )
        return prepared

    @property
    def step(self) -> str:
        """The node's id."""
        return str(self._pipeline_node.node_info.id)

    def key(self, parameters: Mapping[str, Any], inputs: caching.Artifacts) -> CacheKey:
        """The step's cache key, for these parameters and inputs."""
        component = self._pipeline_node.node_info.type.name
        code = _code(self._executor_path)
        return caching.key_of(component, parameters, inputs, code, str(self._facts.get("lock_digest", "")))

    def changed_since(self, execution: int, cache_key: str) -> str:
        """Why the step, its inputs being the same, would not come out as in an earlier execution; '' when it would."""
        with self._mlmd_connection as connected:
            recorded = caching.recorded_key(connected, cache_key)
            lost = caching.lost_outputs(connected, execution)
        if recorded is None:
            return "has no cache key on record"
        parameters = data_types_utils.build_parsed_value_dict(
            inputs_utils.resolve_parameters_with_schema(node_parameters=self._pipeline_node.parameters)
        )
        now = dataclasses.replace(self.key(parameters, {}), inputs=recorded.inputs)
        changed = [f"{found.part} '{found.name}'" for found in differences(recorded, now)]
        return f"has changed: {listed(changed, 4)}" if changed else "; ".join(lost)

    def _take(self, prepared: Any, hit: caching.Hit) -> None:
        """Publishes the execution as one whose outputs are those of the hit."""
        with self._mlmd_connection as connected:
            (execution,) = connected.store.get_executions_by_id([prepared.execution_info.execution_id])
            execution.custom_properties["cache_of"].int_value = hit.execution
            execution_publish_utils.publish_cached_executions(connected, prepared.contexts, [execution], [hit.outputs])
        self._clear(prepared.execution_info)
        prepared.is_execution_needed = False

    def _clear(self, info: data_types.ExecutionInfo) -> None:
        self._clean_up_stateless_execution_info(info)
        self._clean_up_stateful_execution_info(info)

    def _execute(self, execution_info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        """TFX's `_run_executor`, but for the deletion of what a failing step has written."""
        outputs_utils.make_output_dirs(execution_info.output_dict)
        output = self._executor_operator.run_executor(execution_info)
        if output.execution_result.code:
            raise RunError(f"The executor gave up: {output.execution_result.result_message}")
        caching.describe(execution_info.output_dict, output)
        return output

    def _publish_failed_execution(
        self,
        execution_id: int,
        contexts: list[pb.Context],
        executor_output: execution_result_pb2.ExecutorOutput | None = None,
    ) -> None:
        self._keep_what_failed(execution_id, contexts)
        super()._publish_failed_execution(execution_id, contexts, executor_output)

    def _keep_what_failed(self, execution_id: int, contexts: Sequence[pb.Context]) -> None:
        """Writes the traceback beside the outputs, and links what the step has written with its execution."""
        error, info = sys.exception(), self._running
        if error is None or info is None:
            return
        path = os.path.join(os.path.dirname(info.tmp_dir.rstrip("/")), TRACEBACK)
        storage.write_text(path, "".join(traceback.format_exception(error)))
        self._add(execution_id, {KEPT: path})
        written = {key: made for key, made in info.output_dict.items() if any(caching.holds_files(a) for a in made)}
        for artifact in (artifact for made in written.values() for artifact in made):
            artifact.mlmd_artifact.state = pb.Artifact.ABANDONED
        with self._mlmd_connection as connected:
            (execution,) = connected.store.get_executions_by_id([execution_id])
            execution_lib.put_execution(
                connected, execution, contexts, output_artifacts=written, output_event_type=pb.Event.PENDING_OUTPUT
            )
