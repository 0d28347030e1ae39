"""Runs the Tuner: artifacts in, `tune`, artifact out."""

import json
from contextlib import nullcontext
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs.table import Table
from components import local_folders
from components.checkpoint_folder import checkpoint_folder, checkpoint_key
from components.importances import Importances
from components.recording import record_properties
from components.step_config import parse


class Executor(BaseExecutor):
    """See `components.tuner.tuning`."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `hyperparameters.json` and `trials.json`, and what the search came to as custom properties."""
        from components.tuner.tuning import TuningConfig, to_properties, tune

        examples = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        importances = Importances.load(artifact_utils.get_single_uri(input_dict["importances"]))
        transform = [found.uri for found in input_dict.get("transform_graph", [])]
        config = parse(TuningConfig, exec_properties["config"], "Tuner")
        found = artifact_utils.get_single_instance(output_dict["hyperparameters"])
        with (
            checkpoint_folder(found.uri, checkpoint_key(input_dict, exec_properties["config"])) as folder,
            local_folders.reading(transform[0]) if transform else nullcontext("") as graph,
        ):
            report = tune(examples, importances, config, found.uri, graph, folder)
        record_properties(found, to_properties(report))
        # Of the execution: they are no part of what was found.
        exec_properties["trial_seconds"] = json.dumps([trial.seconds for trial in report.trials])
        if report.resumed:
            exec_properties["resumed_from"] = f"trial {report.resumed + 1}"
