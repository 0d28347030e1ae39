"""The search for a Keras trainer's parameters."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import StepError
from components.keras_trainer.training import TrainingConfig
from components.step_config import parse
from components.tuner.tuning import TuningConfig, TuningReport, tune
from tests.components import keras_factory

TRAINER: dict[str, Any] = {"threads": 1, "epochs": 2, "parameters": {"hidden": [8], "batch_rows": 512}}
SPACE = {"learning_rate": {"low": 0.001, "high": 0.05, "log": True}, "hidden": [[8], [16, 8]]}
SETTINGS: dict[str, Any] = {"family": "keras", "trainer": TRAINER, "trials": 3, "space": SPACE}


def tuned(folder: Path, transform: str | None = None, checkpoints: str = "", **changes: Any) -> TuningReport:
    made = keras_factory.flights()
    config = parse(TuningConfig, json.dumps({**SETTINGS, **changes}), "Tuner")
    graph = made.transform if transform is None else transform
    return tune(made.table, made.importances, config, str(folder), graph, checkpoints)


def test_it_finds_parameters_with_which_a_training_scores_what_the_search_said(tmp_path: Path) -> None:
    report = tuned(tmp_path / "found")
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["hyperparameters.json", "trials.json"]
    assert report.trials[0].parameters == {"learning_rate": 0.001, "hidden": [8]}  # the trainer's own
    assert (report.best.family, report.best.metric, len(report.trials)) == ("keras", "logloss", 3)
    config = TrainingConfig(**TRAINER).with_parameters(report.best.over({}, "keras"))
    again = keras_factory.flights().train(tmp_path / "model", config)
    assert again.score == pytest.approx(report.best.value, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"hiden": [[8]]}}, "no parameter 'hiden' to search. Did you mean 'hidden'"),
        ({"space": {"dropout": {"low": 0.0, "high": 1.5}}}, "'dropout' must be at least 0 and below 1"),
        ({"space": {"learning_rate": {"low": -1.0, "high": 1.0}}}, "'learning_rate' must be a number above 0"),
        ({"jobs": 2}, "trials of the family 'keras' run one at a time"),
        ({"sample_rows": 10}, "sample_rows is for trials of the family 'xgboost'"),
        ({"metric": "auc"}, "metric is 'auc'"),
        ({"transform": ""}, "need a transform graph"),
    ],
    ids=json.dumps,
)
def test_a_wrong_setting_is_explained(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError, match=message):
        tuned(tmp_path, **changes)
    assert not list(tmp_path.iterdir())
