"""Runs the FeatureSelector: artifacts in, `select_features`, artifact out."""

from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs.table import Table
from components.step_config import parse


class Executor(BaseExecutor):
    """See `components.feature_selector.selection`."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `importances.json`, and its gist as custom properties."""
        from components.feature_selector.selection import SelectionConfig, select_features

        examples = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        config = parse(SelectionConfig, exec_properties["config"], "FeatureSelector")
        importances = select_features(examples, config)
        artifact = artifact_utils.get_single_instance(output_dict["importances"])
        importances.save(artifact.uri)
        artifact.set_string_custom_property("label", importances.label)
        artifact.set_string_custom_property("task", importances.task)
        artifact.set_string_custom_property("metric", importances.metric)
        artifact.set_int_custom_property("kept", len(importances.kept))
        artifact.set_int_custom_property("columns", len(importances.features))
        artifact.set_json_value_custom_property("kept_columns", list(importances.kept))
        artifact.set_json_value_custom_property("warnings", list(importances.warnings))
