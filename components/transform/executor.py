"""Executor of Transform: artifacts in, the analysis job, artifact out."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import progress
from beam_jobs.table import Table
from components import local_folders, recording
from components.importances import Importances
from components.step_config import parse


class Executor(BaseBeamExecutor):
    """See `components.transform.analysis`."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the transform graph; `rows`, `columns` and `outputs` (their names) are custom properties.

        Raises:
          StepError: nothing to analyse, or the user's function is at fault.
        """
        from components.transform import analysis, analysis_job
        from components.transform.columns import TRAIN, TransformConfig, read_schema

        table = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        importances = Importances.load(artifact_utils.get_single_uri(input_dict["importances"]))
        schema = read_schema(artifact_utils.get_single_uri(input_dict["schema"]))
        config = parse(TransformConfig, exec_properties["config"], "Transform")
        graph = artifact_utils.get_single_instance(output_dict["transform_graph"])
        progress.expect(table.splits[TRAIN])
        pipeline = self._make_beam_pipeline()
        with _written(graph.uri, pipeline) as written:
            plan = analysis.plan(table, importances, schema, config, graph.uri, written)
            try:
                with progress.original_errors(), pipeline:
                    job = analysis_job.Analyze(plan)
                    _ = pipeline | job
                outputs = analysis.finish(plan, job.fused)
            finally:
                analysis.clean(plan)
        recording.record_job(exec_properties, pipeline.result)
        graph.set_int_custom_property("rows", table.splits[TRAIN])
        graph.set_int_custom_property("columns", len(plan.features))
        graph.set_string_custom_property("outputs", recording.to_json(outputs))


def _written(uri: str, pipeline: Any) -> AbstractContextManager[str]:
    """The folder that the job writes to: where all workers share this disk, a local one even of an output in a bucket.

    TensorFlow, which writes what an analysis of several passes hands on, reaches fewer stores than Beam.
    """
    return local_folders.writing(uri) if isinstance(pipeline.runner, FnApiRunner) else nullcontext(uri)
