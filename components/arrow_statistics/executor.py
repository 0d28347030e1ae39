"""Executor of ArrowStatistics: artifacts in, artifacts out."""

from typing import Any

import apache_beam as beam
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from beam_jobs import failures, progress, storage
from beam_jobs.table import Table
from components import recording
from components.statistics_files import statistics_path


class Executor(base_beam_executor.BaseBeamExecutor):
    """Counts the splits and describes them on the output artifact."""

    def Do(  # noqa: N802  the name is TFX's
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `Split-<name>/FeatureStats.pb` for every split.

        Sets the properties that StatisticsGen sets, and `rows` (JSON, rows by split), `columns` (JSON, Arrow types)
        and `sample_rows`.

        Raises:
          DataError: the examples cannot be read, or hold other rows than their manifest says.
          StepError: a column has a type that cannot be profiled.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        statistics = artifact_utils.get_single_instance(output_dict["statistics"])
        table = Table.load(examples.uri)
        sample_rows = int(exec_properties.get("sample_rows") or 0)
        rows = dict.fromkeys(artifact_utils.decode_split_names(examples.split_names), 0) | table.splits
        statistics.split_names = artifact_utils.encode_split_names(list(rows))
        if examples.has_property("span"):
            statistics.span = examples.span
        recording.record_job(exec_properties, self._profile(table, statistics, rows, sample_rows))
        statistics.set_json_value_custom_property("rows", rows)
        columns = {column.name: str(column.type) for column in table.schema}
        statistics.set_json_value_custom_property("columns", columns)
        statistics.set_int_custom_property("sample_rows", sample_rows)

    def _profile(self, table: Table, statistics: types.Artifact, rows: dict[str, int], sample_rows: int) -> Any:
        """Returns the job's result."""
        from components.arrow_statistics import profiling

        paths = {split: statistics_path(statistics, split) for split in rows}
        chunks = profiling.plan_chunks(table, sample_rows)
        for split in rows.keys() - {chunk.split for chunk in chunks}:
            with storage.open_output(paths[split]) as stream:
                stream.write(profiling.empty_statistics())
        target = profiling.Target(paths, rows, exact=not sample_rows, root=statistics.uri)
        with progress.original_errors(), self._make_beam_pipeline() as pipeline:
            _ = pipeline | beam.Create(chunks) | profiling.Profile(table.schema.names, target)
        failures.discard(statistics.uri)  # attempts of a job that ended well
        return pipeline.result
