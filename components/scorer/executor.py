"""Executor of Scorer: artifacts in, the job, the artifact of predictions out."""

import functools
from typing import Any

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import progress
from beam_jobs.errors import DataError
from beam_jobs.score import Score, tallied
from beam_jobs.table import Table
from components import prediction_columns, recording
from components.model_contract import ModelContract
from components.step_config import parse

STEP = "score"


class Executor(BaseBeamExecutor):
    """Unwraps the tables and the model, runs the job, records the predictions."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the predictions of every row that the query returns.

        Raises:
          DataError: a row cannot be worked on, or the query keeps none.
          StepError: the rows lack what the model reads.
        """
        from components.scorer import predictions
        from components.scorer.scoring_config import ScoringConfig

        config = parse(ScoringConfig, exec_properties["config"], "Scorer")
        artifacts = [artifact for key in ("sources", "prepared") for artifact in input_dict.get(key, [])]
        tables = {recording.name_of(artifact): Table.load(artifact.uri) for artifact in artifacts}
        model_uri = config.folder or artifact_utils.get_single_uri(input_dict["model"])
        output = artifact_utils.get_single_instance(output_dict["predictions"])
        contract = ModelContract.load(model_uri)
        job = config.step(STEP, {name: table.schema for name, table in tables.items()}, output.uri)
        prediction_columns.check_features(contract, job.query.output, config.passed)
        schema = prediction_columns.schema_of(contract, config.wanted, job.query.output)
        finishing = functools.partial(predictions.predicting, model_uri, config.wanted, schema)
        stream = tables[config.stream]
        progress.expect(stream.rows)
        with progress.original_errors(), self._make_beam_pipeline() as pipeline:
            _ = pipeline | Score(job, stream, tables, finishing, schema)
        recording.record_job(exec_properties, pipeline.result)
        _record(output, Table.load(output.uri), contract)


def _record(output: Artifact, written: Table, contract: ModelContract) -> None:
    if not written.rows:
        raise DataError(
            f"Of the {written.ledger.read:,} rows read, the query keeps none, so there is nothing to score.",
            "Look at its WHERE and inner joins; --keep-all-rows leaves out what chose rows of this table in training.",
        )
    recording.record_table(output, "predictions", written)
    output.set_string_custom_property("task", contract.task)
    output.set_string_custom_property("label", contract.label)
    output.set_json_value_custom_property("tally", tallied(written))
