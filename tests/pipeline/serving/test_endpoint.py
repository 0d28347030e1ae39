"""Answers for every kind of task, on real boosters, without a socket."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from ml_metadata.proto import metadata_store_pb2 as pb

from components.model_contract import MODEL, ClassValue, Feature, ModelContract, Task
from components.scoring import load_scorer
from pipeline.lineage.records import Artifact
from pipeline.scoring import live
from pipeline.scoring.json_rows import table_of
from pipeline.scoring.model_content import FoundModel
from pipeline.serving.endpoint import Endpoint, RefusedError

FEATURES = (
    Feature("size", "numeric", "double"),
    Feature("shop", "category", "string", ("north", "south")),
    Feature("day", "time", "date32[day]"),
    Feature("open", "bool", "bool"),
)
ROWS = [
    {"size": 1.5, "shop": "north", "day": "2024-01-01", "open": True},
    {"size": None, "shop": "elsewhere", "day": None, "open": None},
    {"size": 1e300, "shop": "south", "day": "2024-05-01", "open": False},
]


def endpoint(folder: Path, task: Task, classes: tuple[ClassValue, ...], version: str = "") -> Endpoint:
    """Of a booster trained on noise."""
    draw = np.random.default_rng(0)
    rows = np.column_stack([draw.normal(size=300), *(draw.integers(0, 2, (300, 1)) for _ in range(3))]).astype("f4")
    label = draw.normal(size=300) if task == "regression" else draw.integers(0, len(classes), 300)
    contract = ModelContract(task, "label", classes, FEATURES)
    objective = {"binary": "binary:logistic", "regression": "reg:squarederror", "multiclass": "multi:softprob"}[task]
    many = {"num_class": len(classes)} if task == "multiclass" else {}
    data = xgboost.DMatrix(rows, label, feature_types=contract.feature_types, enable_categorical=True)
    booster = xgboost.train({"objective": objective, "max_depth": 3, **many}, data, 5)
    contract.save(str(folder))
    booster.save_model(str(folder / MODEL))
    model = Artifact(pb.Artifact(id=42, type="Model", uri=str(folder)))
    return Endpoint(live.load(FoundModel(model, str(folder), "shops", version), None, {}))


def post(to: Endpoint, verb: str, body: Any) -> dict[str, Any]:
    return to.answer("POST", f"/v1/models/shops:{verb}", json.dumps(body).encode())


def refused(to: Endpoint, verb: str, body: Any) -> RefusedError:
    with pytest.raises(RefusedError) as refusal:
        post(to, verb, body)
    return refusal.value


def test_several_classes(tmp_path: Path) -> None:
    to = endpoint(tmp_path, "multiclass", ("a", "b", "c"))
    answers = post(to, "predict", {"instances": ROWS})["predictions"]
    assert [len(row) for row in answers] == [3, 3, 3]
    assert [sum(row) for row in answers] == pytest.approx([1, 1, 1], abs=1e-6)
    results = post(to, "classify", {"examples": ROWS})["results"]
    assert results == [[["a", row[0]], ["b", row[1]], ["c", row[2]]] for row in answers]
    scorer = load_scorer(str(tmp_path))
    told = post(to, "explain", {"instances": ROWS})["explanations"]
    batch = to.model.prepared.features(live_rows(to))
    for number, (one, row) in enumerate(zip(told, answers, strict=True)):
        likeliest = scorer.contributions(batch)[number, int(np.argmax(row))]
        assert [*one["contributions"].values(), one["bias"]] == likeliest.tolist()
        assert one["prediction"] == row
    outputs = to.answer("GET", "/v1/models/shops/metadata", b"")["metadata"]["signature_def"]["signature_def"]
    sizes = [dim["size"] for dim in outputs["serving_default"]["outputs"]["predictions"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "3"]


def live_rows(to: Endpoint) -> Any:
    return table_of(ROWS, to.model.prepared.schema)


def test_a_number(tmp_path: Path) -> None:
    to = endpoint(tmp_path, "regression", ())
    answers = post(to, "predict", {"instances": ROWS})["predictions"]
    assert post(to, "regress", {"examples": ROWS}) == {"results": answers}
    assert "predicts a number, not a class" in str(refused(to, "classify", {"examples": ROWS}))
    for one, answer in zip(post(to, "explain", {"instances": ROWS})["explanations"], answers, strict=True):
        assert sum(one["contributions"].values()) + one["bias"] == pytest.approx(answer, abs=1e-5)
        assert one["prediction"] == answer


def test_two_classes_by_their_names(tmp_path: Path) -> None:
    to = endpoint(tmp_path, "binary", ("bad", "good"))
    (score, *_) = post(to, "predict", {"instances": ROWS})["predictions"]
    (first, *_) = post(to, "classify", {"instances": ROWS})["results"]
    assert first == [["bad", 1 - score], ["good", score]]
    assert "predicts a class" in str(refused(to, "regress", {"instances": ROWS}))


def test_features_that_are_missing_or_of_another_type(tmp_path: Path) -> None:
    to = endpoint(tmp_path, "binary", (False, True))
    assert "Feature 'shop' is not in 'the rows sent'" in str(refused(to, "predict", {"instances": [{"size": 1}]}))
    error = refused(to, "predict", {"instances": [{**ROWS[0], "day": 5}]})
    assert (error.code, str(error)) == (400, "instances[0]['day'] is 5; the column is date.")
    assert post(to, "predict", {"inputs": {"size": [], "shop": [], "day": [], "open": []}}) == {"outputs": []}


@pytest.mark.parametrize(("version", "number"), [("00000007", 7), ("", 42)])
def test_the_version(version: str, number: int, tmp_path: Path) -> None:
    to = endpoint(tmp_path, "binary", (0, 1), version)
    (state,) = to.answer("GET", f"/v1/models/shops/versions/{number}", b"")["model_version_status"]
    assert (state["version"], state["state"]) == (str(number), "AVAILABLE")
    with pytest.raises(RefusedError, match="Version '8' of 'shops' is not served here"):
        to.answer("GET", "/v1/models/shops/versions/8", b"")
