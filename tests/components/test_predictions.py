"""Predictions of real models: equal to the library's own, with contributions that add up and labels that are counted."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from examples_factory import flights_like

from components import encoding
from components.errors import StepError
from components.model_contract import MODEL, ModelContract, Task
from components.prediction_columns import Wanted, check_features, schema_of, tally_words
from components.scorer.predictions import Predicting, predicting

FEATURES = ("wind", "hour", "carrier", "seats", "weekend")
ROWS = flights_like(3_000, seed=1)


def trained(folder: Path, task: Task, label: str, classes: tuple[Any, ...]) -> tuple[ModelContract, xgboost.Booster]:
    vocabularies = encoding.fit_vocabularies(ROWS.to_batches(), ["carrier"])
    features = encoding.features_of(ROWS.schema, FEATURES, vocabularies)
    contract = ModelContract(task, label, classes, features)
    data = matrix(contract)
    data.set_label(np.nan_to_num(encoding.labels(ROWS, contract)))  # a class left out counts as the first
    objective = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}[task]
    more = {"num_class": len(classes)} if task == "multiclass" else {}
    booster = xgboost.train({"objective": objective, "max_depth": 4, "nthread": 1, **more}, data, 20)
    folder.mkdir()
    contract.save(str(folder))
    booster.save_model(folder / MODEL)
    return contract, booster


def matrix(contract: ModelContract) -> xgboost.DMatrix:
    values = encoding.matrix(ROWS, contract)
    return xgboost.DMatrix(values, feature_types=contract.feature_types, enable_categorical=True)


def loaded(folder: Path, contract: ModelContract, wanted: Wanted) -> Predicting:
    return predicting(str(folder), wanted, schema_of(contract, wanted, ROWS.schema))


def predicted(model: Predicting, tally: Counter[str] | None = None, batch_rows: int = 700) -> pa.Table:
    """As a job does it: batch by batch."""
    tally = Counter() if tally is None else tally
    batches = ROWS.unify_dictionaries().combine_chunks().to_batches(batch_rows)
    return pa.Table.from_batches([model(batch, tally) for batch in batches])


def test_probabilities_are_the_boosters_own_to_the_last_bit(tmp_path: Path) -> None:
    contract, booster = trained(tmp_path / "m", "binary", "late", (False, True))
    rows = predicted(loaded(tmp_path / "m", contract, Wanted(passed=("tail",))))
    assert rows.column_names == ["tail", "prediction"]
    assert np.array_equal(rows["prediction"].to_numpy(), booster.predict(matrix(contract)))
    assert rows["tail"].to_pylist() == ROWS["tail"].to_pylist()


def test_several_classes_have_a_probability_each(tmp_path: Path) -> None:
    classes = ("AA", "DL", "EV", "F9", "UA")
    contract, booster = trained(tmp_path / "m", "multiclass", "carrier", classes)
    rows = predicted(loaded(tmp_path / "m", contract, Wanted()))
    assert rows.column_names == ["prediction", *(f"probability_{value}" for value in classes)]
    expected = booster.predict(matrix(contract))
    assert np.array_equal(np.column_stack([rows[name].to_numpy() for name in rows.column_names[1:]]), expected)
    assert rows["prediction"].to_pylist() == [classes[place] for place in expected.argmax(axis=1)]


def test_a_regression_predicts_the_value(tmp_path: Path) -> None:
    contract, booster = trained(tmp_path / "m", "regression", "noise", ())
    rows = predicted(loaded(tmp_path / "m", contract, Wanted()))
    assert np.array_equal(rows["prediction"].to_numpy(), booster.predict(matrix(contract)))


@pytest.mark.parametrize(("task", "label", "classes"), [("binary", "late", (False, True)), ("regression", "noise", ())])
def test_contributions_sum_to_the_margin(tmp_path: Path, task: Task, label: str, classes: tuple[Any, ...]) -> None:
    contract, booster = trained(tmp_path / "m", task, label, classes)
    rows = predicted(loaded(tmp_path / "m", contract, Wanted(contributions=True)))
    names = [f"contribution_{name}" for name in FEATURES]
    assert rows.column_names == ["prediction", *names, "contribution_bias"]
    total = sum(rows[name].to_numpy().astype(float) for name in (*names, "contribution_bias"))
    margin = booster.predict(matrix(contract), output_margin=True)
    assert np.allclose(total, margin, atol=1e-5)


def test_contributions_of_several_classes_are_those_to_the_predicted_one(tmp_path: Path) -> None:
    contract, booster = trained(tmp_path / "m", "multiclass", "carrier", ("AA", "DL", "EV", "F9", "UA"))
    rows = predicted(loaded(tmp_path / "m", contract, Wanted(contributions=True)))
    names = [name for name in rows.column_names if name.startswith("contribution_")]
    total = sum(rows[name].to_numpy().astype(float) for name in names)
    margin = booster.predict(matrix(contract), output_margin=True)
    assert np.allclose(total, margin.max(axis=1), atol=1e-5)


def test_labels_that_training_never_saw_are_counted(tmp_path: Path) -> None:
    contract, _ = trained(tmp_path / "m", "multiclass", "carrier", ("AA", "DL", "EV", "UA"))
    tally: Counter[str] = Counter()
    predicted(loaded(tmp_path / "m", contract, Wanted(label=True)), tally)
    unseen = ROWS["carrier"].to_pylist().count("F9")
    assert tally == {"unseen label F9": unseen}
    assert tally_words(tally, "carrier") == [
        f"The label 'carrier' has values that training never saw: 'F9' ({unseen:,} rows)."
    ]


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    contract, _ = trained(tmp_path / "m", "binary", "late", (False, True))
    schema = ROWS.schema.append(pa.field("prediction", pa.string()))
    with pytest.raises(StepError, match="two columns called 'prediction'"):
        schema_of(contract, Wanted(passed=("prediction",)), schema)


def test_rows_that_the_model_cannot_read_are_refused(tmp_path: Path) -> None:
    contract, _ = trained(tmp_path / "m", "binary", "late", (False, True))
    check_features(contract, ROWS.schema)
    with pytest.raises(StepError, match="no column 'hour'"):
        check_features(contract, pa.schema([field for field in ROWS.schema if field.name != "hour"]))
    place = ROWS.schema.get_field_index("hour")
    with pytest.raises(
        StepError, match=r"Feature 'hour' comes out as string; the model was trained on int32 \(numeric\)"
    ):
        check_features(contract, ROWS.schema.set(place, pa.field("hour", pa.string())))
