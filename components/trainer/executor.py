"""Runs the Trainer: artifacts in, `train`, artifact out."""

from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs.table import Table
from components.checkpoint_folder import checkpoint_folder, checkpoint_key
from components.hyperparameters import HyperParameters
from components.importances import Importances
from components.model_contract import MODEL_NAME
from components.recording import record_properties
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
        from components.trainer.training import FAMILY, TrainingConfig, to_properties, train

        examples = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        importances = Importances.load(artifact_utils.get_single_uri(input_dict["importances"]))
        tuned = [HyperParameters.load(found.uri) for found in input_dict.get("hyperparameters", [])]
        config = parse(TrainingConfig, exec_properties["config"], "Trainer")
        model = artifact_utils.get_single_instance(output_dict["model"])
        with checkpoint_folder(model.uri, checkpoint_key(input_dict, exec_properties["config"])) as folder:
            report = train(examples, importances, config, model.uri, tuned[0] if tuned else None, folder)
        record_properties(model, to_properties(report))
        model.set_string_custom_property(MODEL_NAME, config.name or FAMILY)
        if report.resumed_from:
            exec_properties["resumed_from"] = f"round {report.resumed_from}"
