"""A TransformGraph for tests, as the Transform's executor writes it."""

import json
from pathlib import Path

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact

from beam_jobs.table import Table
from components.artifacts import FeatureImportances
from components.importances import Importances
from components.transform.executor import Executor

ARGUMENTS = ["--runner=FnApiRunner", "--sdk_container_image=none", "--direct_running_mode=multi_threading"]


def write_transform(folder: Path, table: Table, importances: Importances, module: str = "") -> str:
    """Analyses the split `train`; returns the graph's folder, which lies in the given one.

    Args:
      module: a Python file with a `preprocessing_fn`; '' for the default one.
    """
    importances.save(str(folder / "importances"))
    (folder / "schema").mkdir(parents=True)
    (folder / "schema/schema.pbtxt").write_text("")
    inputs = {
        "examples": artifact(standard_artifacts.Examples, table.root),
        "importances": artifact(FeatureImportances, str(folder / "importances")),
        "schema": artifact(standard_artifacts.Schema, str(folder / "schema")),
    }
    graph = artifact(standard_artifacts.TransformGraph, str(folder / "graph"))
    executor = Executor(BaseBeamExecutor.Context(beam_pipeline_args=ARGUMENTS, tmp_dir=str(folder), unique_id="1"))
    config = {"config": json.dumps({"module": module})}
    executor.Do({name: [one] for name, one in inputs.items()}, {"transform_graph": [graph]}, config)
    return graph.uri


def artifact(kind: type[Artifact], uri: str) -> Artifact:
    made = kind()
    made.uri = uri
    return made
