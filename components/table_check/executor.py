"""Executor of TableCheck."""

import os
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import storage
from beam_jobs.kernel import PrepareConfig
from beam_jobs.sql import check_query
from beam_jobs.table import Table
from components import recording
from components.statistics_files import load_statistics, statistics_path
from components.step_config import parse


class Executor(BaseExecutor):
    """Unwraps tables, schema and statistics, checks, records what was found."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the sample's statistics and anomalies as TFX's StatisticsGen and ExampleValidator do.

        Sets `findings` (JSON, a list of sentences) and `sample_rows`.

        Raises:
          StepError: the check is strict, and something was found.
          DataError: the query cannot be run.
        """
        from components.schema_file import schema_text
        from components.table_check import checking

        config = parse(checking.CheckConfig, exec_properties["config"], "TableCheck")
        artifacts = [artifact for key in ("sources", "prepared") for artifact in input_dict.get(key, [])]
        tables = {recording.name_of(artifact): Table.load(artifact.uri) for artifact in artifacts}
        query = check_query("check", config.sql, config.stream, {n: table.schema for n, table in tables.items()})
        schema_uri = artifact_utils.get_single_uri(input_dict["schema"])
        checked = checking.check(
            config,
            PrepareConfig("check", query, "", fan_out=config.fan_out),
            tables,
            schema_text.read_schema(os.path.join(schema_uri, schema_text.SCHEMA_FILE)),
            load_statistics(artifact_utils.get_single_instance(input_dict["trained_on"])),
        )
        if config.strict and checked.findings:
            raise checking.refusal(checked)
        statistics = artifact_utils.get_single_instance(output_dict["statistics"])
        anomalies = artifact_utils.get_single_instance(output_dict["anomalies"])
        for artifact in (statistics, anomalies):
            artifact.split_names = artifact_utils.encode_split_names([checking.SPLIT])
            artifact.set_int_custom_property("sample_rows", checked.rows)
        anomalies.set_json_value_custom_property("findings", checked.findings)
        _write(statistics_path(statistics, checking.SPLIT), checked.statistics)
        folder = artifact_utils.get_split_uri([anomalies], checking.SPLIT)
        _write(os.path.join(folder, checking.ANOMALIES_FILE), checked.verdict.anomalies.SerializeToString())


def _write(path: str, content: bytes) -> None:
    with storage.open_output(path) as stream:
        stream.write(content)
