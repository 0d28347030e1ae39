"""Executor of Ingest."""

import json
from typing import Any

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import ingest, progress, sources
from beam_jobs.errors import DataError, listed
from beam_jobs.sources import SourceConfig
from beam_jobs.table import Table
from components import recording


class Executor(BaseBeamExecutor):
    """Unwraps the source, runs the job, records the tables."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the table and the rejects of one source."""
        config = SourceConfig(**_tuples(json.loads(exec_properties["source"])))
        table = artifact_utils.get_single_instance(output_dict["table"])
        refused = artifact_utils.get_single_instance(output_dict["rejects"])
        if sources.find_files(config).format == "parquet":
            ingest.parquet_table(config, table.uri)
            ingest.no_rejects(config, refused.uri)
        else:
            with progress.original_errors(), self._make_beam_pipeline() as pipeline:
                ingest.ingest(pipeline, config, ingest.plan(config), table.uri, refused.uri)
            recording.record_job(exec_properties, pipeline.result)
        files = exec_properties.get("files") or _files(config)
        _check_unchanged(config, json.loads(files))
        digests = {file["path"]: file["digest"] for file in json.loads(files)}
        recording.record_table(table, config.name, Table.load(table.uri), digests)
        table.set_string_custom_property("files", files)
        recording.record_table(refused, f"{config.name} rejects", Table.load(refused.uri))


def _files(config: SourceConfig) -> str:
    return recording.to_json([vars(file) for file in sources.source_content(config).files])


def _check_unchanged(config: SourceConfig, told: list[dict[str, Any]]) -> None:
    """What was read must be what was digested before: the cache would hand it out for other content."""
    before = {file["path"]: file["size"] for file in told}
    now = {file.path: file.size for file in sources.find_files(config).files}
    changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    if changed:
        raise DataError(
            f"Source '{config.name}' changed while it was read: {listed(changed, 3)}.",
            "Run again once nothing writes to it any more.",
        )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples; the frozen configuration has no lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
