"""Runs the KerasTrainer: artifacts in, `train`, artifacts out."""

from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs.table import Table
from components import local_folders
from components.checkpoint_folder import checkpoint_folder, checkpoint_key
from components.hyperparameters import HyperParameters
from components.importances import Importances
from components.model_contract import MODEL_NAME
from components.recording import record_properties
from components.step_config import parse


class Executor(BaseExecutor):
    """See `components.keras_trainer.training`."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes a SavedModel with `contract.json`, TensorBoard's logs, and what came of the training as properties."""
        from components.keras_trainer.training import TrainingConfig, to_properties, train
        from components.keras_trainer.training_data import FAMILY

        examples = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        importances = Importances.load(artifact_utils.get_single_uri(input_dict["importances"]))
        transform = artifact_utils.get_single_uri(input_dict["transform_graph"])
        config = parse(TrainingConfig, exec_properties["config"], "KerasTrainer")
        for found in input_dict.get("hyperparameters", []):
            config = config.with_parameters(HyperParameters.load(found.uri).over(config.parameters, FAMILY))
        model = artifact_utils.get_single_instance(output_dict["model"])
        logs = artifact_utils.get_single_uri(output_dict["model_run"])
        with (
            checkpoint_folder(model.uri, checkpoint_key(input_dict, exec_properties["config"])) as folder,
            local_folders.reading(transform) as graph,
            local_folders.writing(logs) as events,
        ):
            report = train(examples, importances, graph, config, model.uri, checkpoints=folder, logs=events)
        record_properties(model, to_properties(report))
        model.set_string_custom_property(MODEL_NAME, config.name or FAMILY)
        if report.resumed_epochs:
            exec_properties["resumed_from"] = f"epoch {report.resumed_epochs}"
