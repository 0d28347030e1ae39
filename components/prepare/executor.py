"""Executor of Prepare and PrepareExamples."""

import json
from typing import Any

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact

from beam_jobs import progress
from beam_jobs.prepare import Prepare, PrepareConfig
from beam_jobs.table import Table
from components import recording


class Executor(BaseBeamExecutor):
    """Unwraps the tables, checks the query against what they really hold, runs the job, records the table."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes one table, or the examples with their splits."""
        config = json.loads(exec_properties["config"])
        artifacts = [artifact for key in ("sources", "prepared") for artifact in input_dict.get(key, [])]
        tables = {recording.name_of(artifact): Table.load(artifact.uri) for artifact in artifacts}
        output = artifact_utils.get_single_instance(next(iter(output_dict.values())))
        job = PrepareConfig.from_json(config, {name: table.schema for name, table in tables.items()}, output.uri)
        progress.expect(tables[config["stream"]].rows)
        with progress.original_errors(), self._make_beam_pipeline() as pipeline:
            _ = pipeline | Prepare(job, tables[config["stream"]], tables)
        recording.record_job(exec_properties, pipeline.result)
        written = Table.load(output.uri)
        recording.record_table(output, config["step"], written)
        if isinstance(output, standard_artifacts.Examples):
            _describe_examples(output, written)


def _describe_examples(output: standard_artifacts.Examples, written: Table) -> None:
    """What TFX's own components look for on Examples."""
    output.split_names = artifact_utils.encode_split_names(list(written.splits))
    output.span = 0
    output.version = 0
    # As `tfx.components.util.examples_utils` does it; whoever imports that waits for all of `tfx.components`.
    output.set_string_custom_property(
        "payload_format", example_gen_pb2.PayloadFormat.Name(example_gen_pb2.FORMAT_PARQUET)
    )
