"""Runs the Explainer: artifacts in, `explain`, artifact out."""

from collections.abc import Sequence
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs.table import Table
from components import blessing
from components.step_config import parse

MODEL, MODEL_ID, MODEL_DIGEST = "model", "model_id", "model_digest"
"""Custom properties that say which model is explained; the digest holds when the explanations are reused."""


class Executor(BaseExecutor):
    """See `components.explainer.explaining`."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `explanations.parquet` and `global.json`, and records which model they explain."""
        from components.explainer.explaining import ExplanationConfig, explain

        examples = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        model = _chosen(input_dict["model"], input_dict.get("blessing") or [])
        config = parse(ExplanationConfig, exec_properties["config"], "Explainer")
        explanations = artifact_utils.get_single_instance(output_dict["explanations"])
        summary = explain(examples, model.uri, config, explanations.uri)
        explanations.rows = summary.rows
        explanations.set_string_custom_property("split", summary.split)
        explanations.set_string_custom_property(MODEL, model.uri)
        explanations.set_int_custom_property(MODEL_ID, model.id)
        explanations.set_string_custom_property(MODEL_DIGEST, blessing.digest_of(model))


def _chosen(models: Sequence[Artifact], blessings: Sequence[Artifact]) -> Artifact:
    """The model that was chosen among all that were judged; the first where none was."""
    judged = [model for model in models if any(blessing.speaks_of(one, model) for one in blessings)]
    return (judged or models)[0]
