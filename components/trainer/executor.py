"""Runs the Trainer: artifacts in, `train`, artifact out."""

from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs.table import Table
from components.importances import Importances
from components.step_config import parse


class Executor(BaseExecutor):
    """See `components.trainer.training`."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `model.ubj` and `contract.json`, and what the training came to as custom properties."""
        from components.trainer.training import TrainingConfig, to_properties, train

        examples = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        importances = Importances.load(artifact_utils.get_single_uri(input_dict["importances"]))
        config = parse(TrainingConfig, exec_properties["config"], "Trainer")
        model = artifact_utils.get_single_instance(output_dict["model"])
        report = train(examples, importances, config, model.uri)
        setters = {int: model.set_int_custom_property, float: model.set_float_custom_property}
        for name, value in to_properties(report).items():
            setters.get(type(value), model.set_string_custom_property)(name, value)
