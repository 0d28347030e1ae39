"""Tuner and Trainer in TFX's own launcher with a real store: killed in either, begun anew, and reused by a later run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.importer import Importer
from tfx.types import standard_artifacts

from beam_jobs import progress
from components.artifacts import FeatureImportances
from components.errors import StepError
from components.reused_hyperparameters import reused_hyperparameters
from components.trainer import checkpoints, training
from components.trainer.component import Trainer
from components.tuned_runs import Reuse
from components.tuner.component import Tuner
from tests.components.examples_factory import flights_like, write_examples
from tests.components.test_ml_components import run
from tests.components.test_training import LATE

TRAINER = {"threads": 1, "rounds": 20, "early_stopping_rounds": 0, "name": "fast", "params": {"subsample": 0.8}}
TUNER = {"trainer": TRAINER, "trials": 5, "space": {"eta": {"low": 0.05, "high": 0.5}, "max_depth": [2, 3, 5]}}
KILLED = """
import sys
from pathlib import Path
from tests.components.test_tuning_pipeline import killed
killed(Path(sys.argv[1]), sys.argv[2:])
"""


def inputs(folder: Path) -> tuple[BaseNode, BaseNode]:
    if not (folder / "examples").exists():
        write_examples(folder / "examples", {"train": flights_like(1_500, 1), "eval": flights_like(600, 2)})
        LATE.save(str(folder / "importances"))
    examples = Importer(str(folder / "examples"), standard_artifacts.Examples).with_id("examples")
    return examples, Importer(str(folder / "importances"), FeatureImportances).with_id("importances")


def trainer(examples: BaseNode, importances: BaseNode, tuner: BaseNode) -> BaseNode:
    outputs = (examples.outputs["result"], importances.outputs["result"], tuner.outputs["hyperparameters"])
    node: BaseNode = Trainer(outputs[0], outputs[1], json.dumps(TRAINER), hyperparameters=outputs[2]).with_id("train")
    return node


def searching(folder: Path) -> list[BaseNode]:
    examples, importances = inputs(folder)
    tuner = Tuner(examples.outputs["result"], importances.outputs["result"], json.dumps(TUNER)).with_id("tune")
    return [examples, importances, tuner, trainer(examples, importances, tuner)]


def reusing(folder: Path, earlier: str) -> list[BaseNode]:
    examples, importances = inputs(folder)
    tuner = reused_hyperparameters(Reuse(earlier, "tune", "xgboost"))
    return [examples, importances, tuner, trainer(examples, importances, tuner)]


def killed(folder: Path, notes: list[str]) -> None:
    """Runs the pipeline in one copy of this process after another; each is killed as a note begins like its own."""
    checkpoints.SECONDS_BETWEEN, checkpoints.SHARE_OF_TIME, training.ROUNDS_A_NOTE = 0.0, 1e9, 2
    for note in notes:
        child = os.fork()
        if child == 0:

            def kill(step: progress.Progress, note: str = note) -> None:
                if step.note.startswith(note):
                    os.kill(os.getpid(), signal.SIGKILL)

            with progress.listening(kill):
                run(folder, searching(folder), cache=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))


def outputs(store: metadata_store.MetadataStore) -> dict[str, bytes]:
    """The files of the newest HyperParameters and Model, by name."""
    found = [max(store.get_artifacts_by_type(kind), key=lambda one: one.id) for kind in ("HyperParameters", "Model")]
    return {path.name: path.read_bytes() for artifact in found for path in Path(artifact.uri).iterdir()}


def executions(store: metadata_store.MetadataStore, kind: str) -> list[pb.Execution]:
    return sorted((one for one in store.get_executions() if one.type.endswith(f".{kind}")), key=lambda one: one.id)


def told(properties: Any) -> dict[str, Any]:
    return {name: getattr(value, str(value.WhichOneof("value"))) for name, value in properties.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder, searching(folder))
    return folder


def opened(folder: Path) -> metadata_store.MetadataStore:
    return run(folder, [inputs(folder)[0]])


def test_what_was_found_is_recorded_and_used(undisturbed: Path) -> None:
    store = opened(undisturbed)
    (found,), (model,) = (store.get_artifacts_by_type(kind) for kind in ("HyperParameters", "Model"))
    search, training_ = told(found.custom_properties), told(model.custom_properties)
    assert (search["family"], search["eval_metric"], search["trials"]) == ("xgboost", "logloss", 5)
    assert json.loads(training_["tuned"])["parameters"] == json.loads(search["parameters"])
    assert json.loads(training_["params"]).items() >= json.loads(search["parameters"]).items()
    assert training_["model_name"] == "fast"
    (execution,) = executions(store, "Tuner")
    assert len(json.loads(told(execution.custom_properties)["trial_seconds"])) == 5


def test_killed_while_it_searches_and_while_it_trains(undisturbed: Path, tmp_path: Path) -> None:
    inputs(tmp_path)
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(root / folder) for folder in ("", "tests", "tests/components", "tests/beam_jobs"))
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "trial 3 of 5, round 10", "trial 4 of 5", "round 13 "],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split() == ["-9", "-9", "-9"], ended.stderr[-2_000:]
    assert list((tmp_path / "root/train/.resume").iterdir())
    assert not (tmp_path / "root/tune/.resume").exists()  # the search ended well
    store = run(tmp_path, searching(tmp_path), cache=True)
    assert outputs(store) == outputs(opened(undisturbed))
    resumed = [
        told(one.custom_properties).get("resumed_from")
        for kind in ("Tuner", "Trainer")
        for one in executions(store, kind)
    ]
    assert [one for one in resumed if one] == ["trial 4", "round 13"]
    assert list(tmp_path.rglob(".resume")) == []


def run_of(store: metadata_store.MetadataStore, execution: pb.Execution) -> str:
    (found,) = [one.name for one in store.get_contexts_by_execution(execution.id) if one.type == "pipeline_run"]
    return str(found)


def test_a_later_run_reuses_them(undisturbed: Path) -> None:
    store = opened(undisturbed)
    (made,) = store.get_artifacts_by_type("HyperParameters")
    earlier = run_of(store, executions(store, "Tuner")[0])
    for asked in (earlier, "latest"):
        store = run(undisturbed, reusing(undisturbed, asked))
        newest = executions(store, "Trainer")[-1]
        events = store.get_events_by_execution_ids([newest.id])
        assert made.id in {event.artifact_id for event in events if event.type == pb.Event.INPUT}
    assert len(store.get_artifacts_by_type("HyperParameters")) == 1
    # A run that reused them can itself be reused.
    again = Reuse(run_of(store, newest), "tune", "xgboost")
    assert again.find_in_pipeline(store, "ml").id == made.id


def test_what_cannot_be_reused_is_told(undisturbed: Path) -> None:
    store = opened(undisturbed)
    (made,) = store.get_artifacts_by_type("HyperParameters")
    earlier = run_of(store, executions(store, "Tuner")[0])
    refused = [
        (Reuse("ml-2000", "tune", "xgboost"), "ml", "There is no run 'ml-2000' to reuse"),
        (Reuse(earlier, "tune_b", "xgboost"), "ml", "has no step 'tune_b'.*Did you mean 'tune'"),
        (Reuse(earlier, "tune", "keras"), "ml", "of the family 'xgboost'; this trainer is of the family 'keras'"),
        (
            Reuse("latest", "tune_b", "xgboost"),
            "ml",
            "No run of this pipeline holds hyperparameters of a step 'tune_b'",
        ),
        (Reuse("latest", "tune", "xgboost"), "other", "No run of this pipeline holds hyperparameters"),
        (Reuse(earlier, "tune", "xgboost"), "other", f"step 'tune' of run {earlier} found are gone"),
        (Reuse(run_of(store, executions(store, "Importer")[-1]), "examples", "xgboost"), "ml", "are gone"),
    ]
    for reuse, pipeline, message in refused:
        with pytest.raises(StepError, match=message):
            reuse.find_in_pipeline(store, pipeline)
    hidden = Path(made.uri).rename(f"{made.uri}-away")
    try:
        with pytest.raises(StepError, match="are gone"):
            Reuse(earlier, "tune", "xgboost").find_in_pipeline(store, "ml")
    finally:
        hidden.rename(made.uri)


def test_a_trainer_does_not_run_without_what_it_should_reuse(undisturbed: Path) -> None:
    before = len(opened(undisturbed).get_artifacts_by_type("Model"))
    store = run(undisturbed, reusing(undisturbed, "ml-2000"))
    assert len(store.get_artifacts_by_type("Model")) == before
    assert executions(store, "Trainer")[-1].last_known_state == pb.Execution.FAILED
