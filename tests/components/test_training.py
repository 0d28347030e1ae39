import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from sklearn.metrics import roc_auc_score

from beam_jobs import progress
from beam_jobs.table import Table, read_batches
from components import encoding
from components.errors import StepError
from components.importances import FeatureImportance, Importances
from components.model_contract import ModelContract, Task
from components.scoring import Scorer, load_scorer
from components.step_config import parse
from components.trainer.batches import plan_memory
from components.trainer.matrices import fit_contract
from components.trainer.training import TrainingConfig, TrainingReport, train
from tests.components.examples_factory import flights_like, write_examples

SMALL = TrainingConfig(threads=1, rounds=30, early_stopping_rounds=5)
KEPT = ["wind", "hour", "carrier", "seats", "weekend", "day"]


def importances(kept: list[str], label: str, task: Task, classes: tuple = ()) -> Importances:
    features = tuple(FeatureImportance(name, 0.1, 0.1, 0.0, rank, True, "") for rank, name in enumerate(kept, 1))
    return Importances(label, task, classes, features)


LATE = importances(KEPT, "late", "binary", (False, True))


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Table:
    rows = {"train": flights_like(6_000, 1), "eval": flights_like(2_000, 2), "test": flights_like(2_000, 3)}
    return write_examples(tmp_path_factory.mktemp("flights"), rows)


def predictions(table: Table, split: str, model: Scorer) -> tuple[np.ndarray, np.ndarray]:
    batches = list(read_batches(table, split, model.columns))
    return np.concatenate([model.predict(b) for b in batches]), np.concatenate([model.labels(b) for b in batches])


def trained(table: Table, folder: Path, config: TrainingConfig = SMALL, of: Importances = LATE) -> TrainingReport:
    folder.mkdir(exist_ok=True)
    return train(table, of, config, str(folder))


def test_a_binary_model_learns_stops_early_and_predicts_probabilities(flights: Table, tmp_path: Path) -> None:
    notes: list[str] = []
    with progress.listening(lambda step: notes.append(step.note)):
        report = trained(flights, tmp_path, TrainingConfig(threads=1, rounds=300, early_stopping_rounds=10))
    scores, labels = predictions(flights, "test", load_scorer(str(tmp_path)))
    assert scores.shape == (2_000,)
    assert roc_auc_score(labels, scores) > 0.7
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.03)
    assert report.rounds == report.best_iteration + 11 < 300
    assert (report.train.labelled, report.eval.labelled) == (6_000, 2_000)
    assert any(note.startswith("round 11 of at most 300, eval logloss 0.") for note in notes)


def test_the_model_file_ends_at_the_best_round_for_any_reader(flights: Table, tmp_path: Path) -> None:
    report = trained(flights, tmp_path, TrainingConfig(threads=1, rounds=300, early_stopping_rounds=10))
    booster = xgboost.Booster(model_file=tmp_path / "model.ubj")
    assert booster.num_boosted_rounds() == report.best_iteration + 1
    contract = ModelContract.load(str(tmp_path))
    batch = next(read_batches(flights, "test", contract.columns))
    matrix = xgboost.DMatrix(
        encoding.matrix(batch, contract), feature_types=contract.feature_types, enable_categorical=True
    )
    np.testing.assert_allclose(booster.predict(matrix), load_scorer(str(tmp_path)).predict(batch), rtol=1e-6)


def test_the_same_examples_give_the_same_bytes(flights: Table, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        trained(flights, tmp_path / folder, dataclasses.replace(SMALL, threads=2))
    assert (tmp_path / "a/model.ubj").read_bytes() == (tmp_path / "b/model.ubj").read_bytes()
    assert (tmp_path / "a/contract.json").read_bytes() == (tmp_path / "b/contract.json").read_bytes()


def test_external_memory_predicts_the_same(flights: Table, tmp_path: Path) -> None:
    reports = {
        memory: trained(flights, tmp_path / memory, dataclasses.replace(SMALL, memory=memory))
        for memory in ("memory", "external")
    }
    assert [report.memory for report in reports.values()] == ["cached", "external"]
    inner, outer = (predictions(flights, "test", load_scorer(str(tmp_path / memory)))[0] for memory in reports)
    np.testing.assert_allclose(inner, outer, atol=0.02)


def test_streaming_from_parquet_gives_the_same_bytes(
    flights: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(flights, tmp_path / "cached")
    monkeypatch.setattr("components.trainer.matrices.available_memory", lambda: 100_000)
    report = trained(flights, tmp_path / "streamed", dataclasses.replace(SMALL, memory="memory"))
    assert report.memory == "streamed"
    assert (tmp_path / "cached/model.ubj").read_bytes() == (tmp_path / "streamed/model.ubj").read_bytes()


def test_a_multiclass_model_learns_from_a_category_and_missing_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def rows(count: int) -> pa.Table:
        word, x = rng.choice(["p", "q", "r"], count), rng.normal(size=count)
        label = np.where(np.isnan(np.where(x > 1, np.nan, x)), "missing", np.where(word == "q", "is q", "other"))
        column = pa.array(np.where(x > 1, np.nan, x), from_pandas=True)
        return pa.table({"word": word, "x": column, "y": pa.array(label)})

    table = write_examples(tmp_path / "examples", {"train": rows(2_000), "eval": rows(500)})
    classes = ("is q", "missing", "other")
    trained(table, tmp_path / "model", of=importances(["word", "x"], "y", "multiclass", classes))
    scores, labels = predictions(table, "eval", load_scorer(str(tmp_path / "model")))
    assert scores.shape == (500, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(scores.argmax(axis=1) == labels) == 1.0


def test_a_regression_beats_the_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def rows(count: int) -> pa.Table:
        x = rng.normal(size=count)
        return pa.table({"x [m]": x, "y": 3 * x + rng.normal(size=count)})

    table = write_examples(tmp_path / "examples", {"train": rows(3_000), "eval": rows(1_000)})
    report = trained(table, tmp_path / "model", of=importances(["x [m]"], "y", "regression"))
    scores, labels = predictions(table, "eval", load_scorer(str(tmp_path / "model")))
    assert 1 - np.mean((scores - labels) ** 2) / labels.var() > 0.85
    assert report.metric == "rmse"
    assert report.score == pytest.approx(np.sqrt(np.mean((scores - labels) ** 2)), rel=1e-3)


def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    base, evaluation = flights_like(2_000, 1), flights_like(500, 2)
    label = pa.array([None, *base["late"].to_pylist()[1:]])
    words = pa.array(["maybe", *(str(value) for value in evaluation["late"].to_pylist()[1:])])
    train_rows = base.set_column(10, "late", pa.array([None if v is None else str(v) for v in label.to_pylist()]))
    table = write_examples(tmp_path / "e", {"train": train_rows, "eval": evaluation.set_column(10, "late", words)})
    report = trained(table, tmp_path / "m", of=importances(["wind", "hour"], "late", "binary", ("False", "True")))
    assert (report.train.labelled, report.train.missing) == (1_999, 1)
    assert (report.eval.labelled, dict(report.eval.unseen)) == (499, {"maybe": 1})
    assert len(report.warnings) == 2


def test_the_vocabulary_is_recorded_and_capped(flights: Table) -> None:
    contract = fit_contract(flights, LATE, max_vocabulary=3)
    assert contract.features[2].vocabulary == ("UA", "AA", "DL")
    assert contract.feature_types == ["q", "q", "c", "q", "q", "q"]
    assert contract.columns == (*KEPT, "late")


def test_an_empty_batch_is_predicted(flights: Table, tmp_path: Path) -> None:
    trained(flights, tmp_path)
    batch = next(read_batches(flights, "test", KEPT))
    assert load_scorer(str(tmp_path)).predict(batch.slice(0, 0)).shape == (0,)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="holds no model of Braid's"):
        load_scorer(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"params": {"max_dept": 3}}, r"no parameter 'max_dept'.*Did you mean 'max_depth'"),
        ({"params": {"max_depth": "deep"}}, "Invalid Parameter format for max_depth expect int but value='deep'"),
        ({"params": {"eta": -1}}, "value -1 for Parameter learning_rate should be greater equal to 0"),
        ({"params": {"nthread": 4}}, "may not hold 'nthread'"),
        ({"params": {"objective": "reg:gamma"}}, "does not fit the task 'binary'"),
        ({"params": {"eval_metric": "AUC"}}, r"eval_metric 'AUC' does not fit.*Did you mean 'auc'"),
        ({"memory": "disk"}, "memory is 'disk'"),
        ({"device": "gpu"}, "device is 'gpu'"),
        ({"rounds": 0}, "rounds is 0; 1 is the least"),
        ({"round": 5}, r"no setting 'round'. Did you mean 'rounds'"),
    ],
)
def test_a_wrong_setting_is_explained(flights: Table, tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(StepError, match=message):
        trained(flights, tmp_path, parse(TrainingConfig, json.dumps(settings), "Trainer"))
    assert not list(tmp_path.iterdir())


def test_a_split_without_a_label_is_explained(tmp_path: Path) -> None:
    evaluation = flights_like(50).set_column(10, "late", pa.nulls(50, pa.bool_()))
    table = write_examples(tmp_path / "e", {"train": flights_like(500), "eval": evaluation})
    with pytest.raises(StepError, match="No row of the split 'eval' has a usable label 'late'"):
        trained(table, tmp_path / "m")


@pytest.mark.parametrize(
    ("asked", "cells", "plan"),
    [
        ("auto", 1_000, "cached"),
        ("auto", 80_000, "streamed"),
        ("auto", 200_000, "external"),
        ("memory", 200_000, "streamed"),
        ("external", 1_000, "external"),
    ],
)
def test_memory_is_planned_by_size(asked: str, cells: int, plan: str) -> None:
    assert plan_memory(asked, cells, available=1_000_000) == plan
