"""The launcher of one step: taken from the cache when its content-addressed key is known; kept when it fails."""

import copy
import dataclasses
import enum
import logging
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
from tfx.utils import import_utils

from beam_jobs import storage
from beam_jobs.errors import BraidError, listed
from pipeline import caching, roots, runs, stores
from pipeline.cache_key import CONTEXT_TYPE, CacheKey, differences
from pipeline.errors import NotReusableError, RunError, is_disk_full
from pipeline.launching import RecordingLauncher
from pipeline.run_facts import KEPT, Facts, without_credentials
from pipeline.step_code import StepCode
from pipeline.store_address import StoreAddress

TRACEBACK = "traceback.txt"
EDITED = "code_edited"
"""The property of an execution whose code was edited while it ran."""


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
    code: StepCode | None = None,
    wants_buckets: bool = False,
) -> "StepLauncher":
    """The launcher of one node of a compiled pipeline.

    Args:
      ir: the pipeline, a run's name filled in.
      node: which.
      facts: become properties of its execution.
      store: where it is recorded; not the store that the pipeline names: a compiled pipeline holds no password.
      reuse: whether it may come from the cache.
      code: that of the run's steps; read now unless given.
      wants_buckets: whether what it takes from the cache must be where workers elsewhere can read it.
    """
    return StepLauncher(facts, reuse, code or StepCode(), wants_buckets, **of_node(ir, node, store))


def of_node(ir: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode, store: StoreAddress) -> dict[str, Any]:
    """What TFX's launcher wants to know of a node of a compiled pipeline."""
    deployment = runner_utils.extract_local_deployment_config(ir)
    return {
        "pipeline_node": node,
        "mlmd_connection": metadata.Metadata(stores.connection_config(store, read_only=False)),
        "pipeline_info": ir.pipeline_info,
        "pipeline_runtime_spec": ir.runtime_spec,
        "executor_spec": runner_utils.extract_executor_spec(deployment, node.node_info.id),
        "custom_driver_spec": runner_utils.extract_custom_driver_spec(deployment, node.node_info.id),
    }


def executor_path(spec: Any) -> str:
    """The executor's class with its module, '' for a node without one."""
    return str(getattr(getattr(spec, "python_executor_spec", spec), "class_path", ""))


def code_of_steps(ir: pipeline_pb2.Pipeline) -> StepCode:
    """The code of all steps of a compiled pipeline, read now."""
    code, deployment = StepCode(), runner_utils.extract_local_deployment_config(ir)
    for node in ir.nodes:
        code.of(executor_path(runner_utils.extract_executor_spec(deployment, node.pipeline_node.node_info.id)))
    return code


class StepLauncher(RecordingLauncher):
    """Looks the step up in Braid's cache instead of TFX's, and keeps what a failing step has written.

    TFX's cache goes by the ids of the inputs and by the text of one module, and does not look whether outputs still are
    what they were; and its launcher deletes the outputs of a step that fails.
    """

    def __init__(
        self, facts: Facts, reuse: Reuse, code: StepCode, wants_buckets: bool = False, **arguments: Any
    ) -> None:
        node = copy.deepcopy(arguments.pop("pipeline_node"))
        self._reuse = reuse if node.execution_options.caching_options.enable_cache else Reuse.FORBIDDEN
        node.execution_options.caching_options.enable_cache = False  # TFX's own
        path = executor_path(arguments.get("executor_spec"))
        super().__init__({**facts, "executor": path} if path else facts, pipeline_node=node, **arguments)
        self._executor_path, self._code, self._wants_buckets = path, code, wants_buckets
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
            forbidden = self._reuse is Reuse.FORBIDDEN
            hit, unusable = (None, []) if forbidden else caching.find(connected, context, self._undone())
        facts = {"cache_key": key.digest, "cache": "hit" if hit else "miss", "cache_unusable": "; ".join(unusable)}
        if hit is None and roots.ROOT in self._facts:
            facts[roots.FOLDERS] = self._claimed(info)
        self._add(info.execution_id, {name: fact for name, fact in facts.items() if fact})
        if hit is not None:
            self._take(prepared, hit)
        elif self._reuse is Reuse.REQUIRED:
            self._give_up(prepared, unusable)
        return prepared

    def _claimed(self, info: data_types.ExecutionInfo) -> str:
        """The folders that this execution is about to write to, for its record."""
        return roots.claimed(_folders(info))

    def _undone(self) -> caching.Undone | None:
        """What there is to say against earlier outputs, beside that they are not what was recorded."""
        executor = import_utils.import_class_by_path(self._executor_path) if self._executor_path else None
        effects: caching.Undone | None = getattr(executor, "undone", None)
        if not self._wants_buckets:
            return effects
        return lambda outputs: _on_this_machine(outputs) or (effects(outputs) if effects else "")

    def _give_up(self, prepared: Any, unusable: Sequence[str]) -> None:
        """Publishes the execution as failed, since it must not run.

        Raises:
          NotReusableError: always.
        """
        reason = "; ".join(unusable) or "as it is now, it is not in the cache"
        error = NotReusableError(
            f"Step '{self.step}' would have to run: {reason}.",
            f"Run without --only; `braid explain {self._facts.get('run', 'RUN')}/{self.step}` tells what has changed.",
        )
        info = prepared.execution_info
        self._add(info.execution_id, {"error": str(error), "error_type": type(error).__name__})
        with self._mlmd_connection as connected:
            execution_publish_utils.publish_failed_execution(connected, prepared.contexts, info.execution_id)
        self._clear(info)
        raise error

    @property
    def step(self) -> str:
        """The node's id."""
        return str(self._pipeline_node.node_info.id)

    def key(self, parameters: Mapping[str, Any], inputs: caching.Artifacts) -> CacheKey:
        """The step's cache key, for these parameters and inputs."""
        component = self._pipeline_node.node_info.type.name
        code = self._code.of(self._executor_path)
        return caching.key_of(component, parameters, inputs, code, str(self._facts.get("lock_digest", "")))

    def changed_since(self, earlier: runs.Step) -> str:
        """Why the step, what is upstream being the same, would not come out as it did in its run; '' when it would."""
        return self._looks_up_otherwise(earlier) if earlier.is_resolver else self._made_otherwise(earlier)

    def _looks_up_otherwise(self, earlier: runs.Step) -> str:
        with self._mlmd_connection as connected:
            found = inputs_utils.resolve_input_artifacts(pipeline_node=self._pipeline_node, metadata_handle=connected)
            events = connected.store.get_events_by_execution_ids([earlier.execution])
        now = {artifact.id for by_key in found for artifacts in by_key.values() for artifact in artifacts}
        then = {event.artifact_id for event in events if event.type == pb.Event.INTERNAL_OUTPUT}
        return "" if now == then else "looks up other artifacts of earlier runs by now"

    def _made_otherwise(self, earlier: runs.Step) -> str:
        with self._mlmd_connection as connected:
            recorded = caching.recorded_key(connected, str(earlier.properties.get("cache_key", "")))
            lost = caching.lost_outputs(connected, earlier.execution, self._undone())
        if recorded is None:
            edited = earlier.properties.get(EDITED)
            return f"ran while its code was edited ({edited})" if edited else "has no cache key on record"
        parameters = data_types_utils.build_parsed_value_dict(
            inputs_utils.resolve_parameters_with_schema(node_parameters=self._pipeline_node.parameters)
        )
        now = dataclasses.replace(self.key(parameters, {}), inputs=recorded.inputs)
        changed = [f"{found.part} '{found.name}'" for found in differences(recorded, now)]
        if changed:
            return f"has changed: {listed(changed, 4)}"
        return f"cannot be used any more: {'; '.join(lost)}" if lost else ""

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
        storage.remove_tree(_own_folder(info))

    def _execute(self, execution_info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        """TFX's `_run_executor`, but for the deletion of what a failing step has written."""
        outputs_utils.make_output_dirs(execution_info.output_dict)
        output = self._run(execution_info)
        if output.execution_result.code:
            raise RunError(f"The executor gave up: {output.execution_result.result_message}")
        caching.describe(execution_info.output_dict, output)
        return output

    def _run(self, info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        return self._executor_operator.run_executor(info)

    def _publish_successful_execution(
        self,
        execution_id: int,
        contexts: list[pb.Context],
        output_dict: dict[str, list[Any]],
        executor_output: execution_result_pb2.ExecutorOutput,
    ) -> None:
        edits = self._code.edits(self._executor_path)
        if edits:  # which of the two versions has run is not known, so nobody may reuse what it made
            contexts = [context for context in contexts if context.type != CONTEXT_TYPE]
            names = listed([*edits.edited, *edits.added, *edits.removed], 4)
            executor_output.execution_properties[EDITED].string_value = names
            executor_output.execution_properties["cache_key"].string_value = ""
        super()._publish_successful_execution(execution_id, contexts, output_dict, executor_output)

    def _publish_failed_execution(
        self,
        execution_id: int,
        contexts: list[pb.Context],
        executor_output: execution_result_pb2.ExecutorOutput | None = None,
    ) -> None:
        kept = self._keep_what_failed(execution_id, contexts)
        super()._publish_failed_execution(execution_id, contexts, executor_output)
        if kept:  # last: what bears no such fact is swept
            self._add(execution_id, {KEPT: kept})

    def _keep_what_failed(self, execution_id: int, contexts: Sequence[pb.Context]) -> str:
        """Writes the traceback, and links what the step has written with its execution; returns the traceback's path.

        On a full disk nothing is kept, to make room again.
        """
        error, info = sys.exception(), self._running
        if error is None or info is None or is_disk_full(error):
            return ""
        path = os.path.join(_own_folder(info), TRACEBACK)
        try:
            storage.write_text(path, without_credentials("".join(traceback.format_exception(error))))
        except (OSError, BraidError) as failure:  # the step's own error is the one to tell
            logging.warning("What step '%s' wrote before it failed is not kept: %s", self.step, failure)
            return ""
        written = {key: made for key, made in info.output_dict.items() if any(caching.holds_files(a) for a in made)}
        outputs_utils.remove_output_dirs({key: made for key, made in info.output_dict.items() if key not in written})
        for artifact in (artifact for made in written.values() for artifact in made):
            artifact.mlmd_artifact.state = pb.Artifact.ABANDONED
        with self._mlmd_connection as connected:
            (execution,) = connected.store.get_executions_by_id([execution_id])
            execution_lib.put_execution(
                connected, execution, contexts, output_artifacts=written, output_event_type=pb.Event.PENDING_OUTPUT
            )
        return path


def _folders(info: data_types.ExecutionInfo) -> list[str]:
    """All that an execution may write to."""
    outputs = [str(artifact.uri) for made in info.output_dict.values() for artifact in made]
    return [*outputs, _own_folder(info)]


def _on_this_machine(outputs: caching.Artifacts) -> str:
    """Why outputs are of no use to workers elsewhere; '' when they are."""
    local = [artifact.uri for made in outputs.values() for artifact in made if not storage.is_remote(artifact.uri)]
    return f"'{local[0]}' is on this machine, where workers cannot read it" if local else ""


def _own_folder(info: data_types.ExecutionInfo) -> str:
    """The folder of TFX's own files of an execution."""
    return os.path.dirname(str(info.tmp_dir).rstrip("/"))
