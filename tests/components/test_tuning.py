"""The search for XGBoost's parameters, on examples."""

import json
from pathlib import Path
from typing import Any

import pytest

from beam_jobs import progress
from beam_jobs.table import Table
from components.errors import StepError
from components.hyperparameters import HyperParameters
from components.step_config import parse
from components.trainer import matrices
from components.trainer.training import TrainingConfig, train
from components.tuner.tuning import TuningConfig, TuningReport, to_properties, tune
from tests.components.examples_factory import flights_like, write_examples
from tests.components.test_training import LATE

TRAINER = {"threads": 1, "rounds": 20, "early_stopping_rounds": 5}
SPACE = {"eta": {"low": 0.05, "high": 0.5, "log": True}, "max_depth": [2, 3, 6], "subsample": {"low": 0.6, "high": 1.0}}
SETTINGS: dict[str, Any] = {"trainer": TRAINER, "trials": 6, "space": SPACE, "seed": 1}


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Table:
    rows = {"train": flights_like(1_500, 1), "eval": flights_like(800, 2)}
    return write_examples(tmp_path_factory.mktemp("flights"), rows)


def tuned(table: Table, folder: Path, checkpoints: str = "", **changes: Any) -> TuningReport:
    config = parse(TuningConfig, json.dumps({**SETTINGS, **changes}), "Tuner")
    return tune(table, LATE, config, str(folder), checkpoints=checkpoints)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_best_parameters_and_the_table_of_trials_are_written(flights: Table, tmp_path: Path) -> None:
    notes: list[str] = []
    with progress.listening(lambda step: notes.append(step.note)):
        report = tuned(flights, tmp_path / "found")
    assert sorted(files(tmp_path / "found")) == ["hyperparameters.json", "trials.json"]
    assert HyperParameters.load(str(tmp_path / "found")) == report.best
    rows = json.loads((tmp_path / "found/trials.json").read_text())
    assert [row["number"] for row in rows] == list(range(6))
    assert set(rows[0]) == {"number", "state", "parameters", "value", "rounds"}
    assert rows[0]["parameters"] == {"eta": 0.1, "max_depth": 6, "subsample": 1.0}  # the trainer's own
    complete = [row["value"] for row in rows if row["state"] == "complete"]
    assert (report.best.value, report.best.metric) == (min(complete), "logloss")
    assert to_properties(report)["trials"] == 6
    assert notes[1] == "trial 1 of 6"
    assert any(note.startswith("trial 6 of 6, round 10, logloss 0.") for note in notes)
    assert any(note.startswith("trial 3 of 6; best so far 0.") and note.endswith(" left") for note in notes)


def test_a_training_with_what_was_found_scores_what_the_search_said(flights: Table, tmp_path: Path) -> None:
    config = TrainingConfig(**TRAINER)
    untuned = train(flights, LATE, config, str(tmp_path / "untuned"))
    report = tuned(flights, tmp_path / "found")
    assert report.trials[0].value == untuned.score
    assert (
        train(flights, LATE, config, str(tmp_path / "tuned"), report.best).score == report.best.value <= untuned.score
    )


def test_the_matrices_are_built_once(flights: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, built = matrices.build_matrix, []
    monkeypatch.setattr(matrices, "build_matrix", lambda *given: built.append(given) or original(*given))
    tuned(flights, tmp_path)
    assert len(built) == 2


def test_cut_off_and_begun_anew_it_writes_the_same_bytes(flights: Table, tmp_path: Path) -> None:
    tuned(flights, tmp_path / "whole")

    def stop(step: progress.Progress) -> None:
        if step.note.startswith("trial 4 of 6, round 10"):
            raise KeyboardInterrupt

    saved = str(tmp_path / "saved")
    with progress.listening(stop), pytest.raises(KeyboardInterrupt):
        tuned(flights, tmp_path / "killed", saved)
    report = tuned(flights, tmp_path / "resumed", saved)
    assert report.resumed == 3
    assert files(tmp_path / "resumed") == files(tmp_path / "whole")


def test_several_trials_at_a_time_on_a_sample_by_another_metric(flights: Table, tmp_path: Path) -> None:
    report = tuned(flights, tmp_path, jobs=2, sample_rows=500, metric="auc", trials=4)
    assert [trial.number for trial in report.trials] == list(range(4))
    complete = [trial.value for trial in report.trials if trial.state == "complete" and trial.value is not None]
    assert (report.best.metric, report.best.value) == ("auc", max(complete))


def test_a_sample_holds_about_as_many_rows(flights: Table, tmp_path: Path) -> None:
    wanted = matrices.Wanted("memory", 1, 64, 100, str(tmp_path), rows=500)
    with matrices.open_matrices(flights, LATE, wanted) as opened:
        assert opened.train.num_row() == opened.train_counts.labelled == pytest.approx(500, rel=0.15)
        assert opened.eval.num_row() == 800


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"eta": {"low": -0.1, "high": 0.3}}}, "value -0.1 for Parameter learning_rate should be greater"),
        ({"space": {"grow_policy": ["depthwise", "widthwise"]}}, "XGBoost refuses"),
        ({"space": {"max_dept": [3]}}, "Did you mean 'max_depth'"),
        ({"trainer": {"round": 5}}, "Tuner: trainer: there is no setting 'round'. Did you mean 'rounds'"),
        ({"trainer": {"params": {"eta": -1}}}, "XGBoost refuses"),
        ({"metric": "rmse"}, "The eval_metric 'rmse' does not fit the task 'binary'"),
        ({"family": "xgbost"}, "Tuner: family is 'xgbost'. Did you mean 'xgboost'"),
        ({"trials": 0}, "Tuner: trials is 0; 1 is the least"),
        ({"jobs": 2, "trainer": {**TRAINER, "memory": "external"}}, "these trials cannot share their matrix"),
        ({"trial": 3}, "Tuner: there is no setting 'trial'. Did you mean 'trials'"),
    ],
    ids=json.dumps,
)
def test_a_wrong_setting_is_explained(flights: Table, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError, match=message):
        tuned(flights, tmp_path, **changes)
    assert not list(tmp_path.iterdir())
