"""Executor of DataGate: artifacts in, artifacts out, or the error that stops the run."""

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from beam_jobs import storage
from beam_jobs.table import Table
from components.data_gate import gate_config
from components.data_gate.findings import NO_VALUE, Finding
from components.errors import StepError
from components.statistics_files import column_types, load_statistics

_MOST_FINDINGS = 20


class Executor(base_executor.BaseExecutor):
    """Judges the splits."""

    def Do(  # noqa: N802  the name is TFX's
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `Split-<name>/SchemaDiff.pb`.

        Sets `blessed` (JSON, 1 or 0 by split, as ExampleValidator does) and `findings` (JSON, a list of sentences).

        Raises:
          StepError: an anomaly stops the run; or the configuration or the schema is at fault.
          DataError: statistics or examples cannot be read.
        """
        from components.data_gate import validation
        from components.schema_file import schema_text

        config = gate_config.parse_config(exec_properties.get("config") or "{}")
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        schema = artifact_utils.get_single_instance(input_dict["schema"])
        output = artifact_utils.get_single_instance(output_dict["anomalies"])
        schema_path = os.path.join(schema.uri, schema_text.SCHEMA_FILE)
        evidence = validation.Evidence(
            statistics=load_statistics(statistics),
            schema=schema_text.read_schema(schema_path),
            columns=column_types(statistics),
            table=_table(input_dict.get("examples")),
            previous=_previous(input_dict.get("previous_statistics")),
        )
        verdicts = validation.judge(evidence, config)
        findings = [finding for verdict in verdicts.values() for finding in verdict.findings]
        stopping = [finding for finding in findings if finding.stops]
        if stopping and config.stops:
            raise anomalies_error(stopping, schema.get_string_custom_property("schema_path") or schema_path)
        output.split_names = artifact_utils.encode_split_names(list(verdicts))
        if statistics.has_property("span"):
            output.span = statistics.span
        for split, verdict in verdicts.items():
            path = os.path.join(artifact_utils.get_split_uri([output], split), validation.ANOMALIES_FILE)
            with storage.open_output(path) as stream:
                stream.write(verdict.anomalies.SerializeToString())
        blessed = {split: int(verdict.blessed) for split, verdict in verdicts.items()}
        output.set_json_value_custom_property("blessed", blessed)
        output.set_json_value_custom_property("findings", [str(finding) for finding in findings])


def _table(examples: list[types.Artifact] | None) -> Table | None:
    return Table.load(artifact_utils.get_single_uri(examples)) if examples else None


def _previous(statistics: list[types.Artifact] | None) -> dict[str, Any]:
    return load_statistics(artifact_utils.get_single_instance(statistics)) if statistics else {}


def anomalies_error(stopping: list[Finding], schema_path: str) -> StepError:
    """The error that ends the run; as the step's outputs go with it, it says everything."""
    lines = [f"- {finding}" for finding in stopping[:_MOST_FINDINGS]]
    if len(stopping) > _MOST_FINDINGS:
        lines.append(f"- and {len(stopping) - _MOST_FINDINGS} more")
    count = "1 anomaly" if len(stopping) == 1 else f"{len(stopping)} anomalies"
    empty = [finding for finding in stopping if finding.kind == NO_VALUE]
    what = "has columns without a value" if len(empty) == len(stopping) else f"does not fit the schema '{schema_path}'"
    hints = []
    if empty:
        hints.append("Leave a column without a value out of the query, or name it under `select.exclude`.")
    if len(empty) < len(stopping):
        hints.append(
            f"If the data is right, allow it in '{schema_path}', or delete that file to have the schema inferred anew "
            "(or raise the bound in the configuration); if it is wrong, mend its source."
        )
    return StepError(f"The data {what}: {count}.\n" + "\n".join(lines), " ".join(hints))
