import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from sklearn.metrics import roc_auc_score
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact

from beam_jobs.errors import BraidError, DataError
from components import encoding
from components.evaluator.component import Evaluator
from components.model_contract import MODEL, ModelContract
from components.scoring import load_scorer
from tests.components.examples_factory import flights_like, write_examples

BEAM = [
    "--runner=FnApiRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
    "--sdk_container_image=none",
]


def trained(folder: Path, rows: pa.Table, features: list[str], rounds: int, label: str = "late") -> str:
    """A small XGBoost model as the Trainer lays it down."""
    vocabularies = {"carrier": ("UA", "AA", "DL", "EV", "F9")}
    made = encoding.features_of(rows.schema, features, vocabularies)
    classes = {"late": ("binary", (False, True)), "carrier": ("multiclass", ("AA", "DL", "EV", "F9", "UA"))}
    task, values = classes.get(label, ("regression", ()))
    contract = ModelContract(task, label, values, made)
    folder.mkdir(parents=True)
    contract.save(str(folder))
    data = xgboost.DMatrix(
        encoding.matrix(rows, contract),
        encoding.labels(rows, contract),
        feature_types=contract.feature_types,
        enable_categorical=True,
    )
    objective = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}[task]
    parameters = {"objective": objective, "max_depth": 3, "nthread": 1}
    if task == "multiclass":
        parameters["num_class"] = len(values)
    xgboost.train(parameters, data, rounds).save_model(folder / MODEL)
    return str(folder)


def launched(folder: Path, examples: str, model: str, baseline: str = "", **config: object) -> dict[str, Artifact]:
    """Runs the Evaluator alone under TFX's launcher; its outputs, read back from ML Metadata."""
    sources = {
        "examples": (examples, standard_artifacts.Examples),
        "model": (model, standard_artifacts.Model),
        "baseline_model": (baseline, standard_artifacts.Model),
    }
    importers = {
        key: Importer(source_uri=uri, artifact_type=kind).with_id(key) for key, (uri, kind) in sources.items() if uri
    }
    channels = {key: importer.outputs["result"] for key, importer in importers.items()}
    evaluator = Evaluator(config=json.dumps(config), **channels)
    connection = metadata.sqlite_metadata_connection_config(str(folder / "mlmd.sqlite"))
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="judging",
            pipeline_root=str(folder / "root"),
            components=[*importers.values(), evaluator],
            metadata_connection_config=connection,
            beam_pipeline_args=BEAM,
        )
    )
    with metadata.Metadata(connection) as store:
        return {
            found.type: found
            for found in store.store.get_artifacts()
            if found.type in ("ModelEvaluation", "ModelBlessing")
        }


def metrics_of(artifact: Artifact) -> dict:
    text = Path(artifact.uri, "metrics.json").read_text()
    return json.loads(text)


@pytest.fixture(scope="module")
def flights(tmp_path_factory) -> tuple[Path, dict[str, pa.Table]]:
    folder = tmp_path_factory.mktemp("flights")
    splits = {"train": flights_like(2_000), "eval": flights_like(1_500, 1), "test": flights_like(2_500, 2)}
    write_examples(folder / "examples", splits)
    trained(folder / "good", splits["train"], ["wind", "hour", "carrier"], 30)
    trained(folder / "poor", splits["train"], ["noise", "seats"], 5)
    return folder, splits


def test_a_model_better_than_its_champion_is_blessed_the_way_tfx_does(flights, tmp_path):
    folder, splits = flights
    found = launched(
        tmp_path,
        str(folder / "examples"),
        str(folder / "good"),
        str(folder / "poor"),
        slices=["carrier", "weekend"],
        thresholds={"auc": {"min": 0.6}},
    )
    blessing, properties = found["ModelBlessing"], found["ModelBlessing"].custom_properties
    assert os.listdir(blessing.uri) == ["BLESSED"]
    assert properties["blessed"].int_value == 1
    assert properties["current_model"].string_value == str(folder / "good")
    assert properties["baseline_model"].string_value == str(folder / "poor")
    assert properties["current_model_id"].int_value != properties["baseline_model_id"].int_value
    report = metrics_of(found["ModelEvaluation"])
    scorer = load_scorer(str(folder / "good"))
    exact = roc_auc_score(splits["test"]["late"], scorer.predict(splits["test"].combine_chunks().to_batches()[0]))
    overall = report["splits"]["test"]["overall"]
    assert overall["auc"]["value"] == pytest.approx(exact, abs=1e-6)
    assert overall["auc"]["low"] < exact < overall["auc"]["high"]
    assert overall["difference"]["auc"]["low"] > 0
    assert set(report["splits"]["eval"]["slices"]["carrier"]) == {"UA", "AA", "DL", "EV", "F9"}
    assert report["decision"]["blessed"] and report["notes"] == []
    kept = found["ModelEvaluation"].custom_properties
    # ML Metadata's SQLite store keeps six digits of a double.
    assert kept["test_auc"].double_value == pytest.approx(overall["auc"]["value"], rel=1e-5)
    assert kept["blessed"].int_value == 1


def test_a_model_that_is_not_blessed_ends_the_run_cleanly_and_says_why(flights, tmp_path):
    folder, _ = flights
    found = launched(tmp_path, str(folder / "examples"), str(folder / "poor"), str(folder / "good"))
    assert os.listdir(found["ModelBlessing"].uri) == ["NOT_BLESSED"]
    assert found["ModelBlessing"].custom_properties["blessed"].int_value == 0
    decision = metrics_of(found["ModelEvaluation"])["decision"]
    assert not decision["blessed"] and "worse by" in decision["reasons"][0]


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ("features", "The examples no longer have what the champion reads: gone."),
        ("type", "The champion cannot read the examples. Column 'wind'"),
        ("label", "The champion's label differs: 'hour', now 'late'."),
        ("classes", "The champion's classes differ: no, yes, now False, True."),
        ("nothing", "The champion cannot be read."),
    ],
)
def test_a_champion_that_cannot_be_compared_is_noted(flights, tmp_path, changed, note):
    folder, splits = flights
    rows, champion = splits["train"], tmp_path / "champion"
    if changed == "features":
        trained(champion, rows.rename_columns({"seats": "gone"}), ["gone"], 2)
    elif changed == "type":
        trained(champion, rows.set_column(0, "wind", rows["wind"].cast(pa.string())), ["wind"], 2)
    elif changed == "label":
        trained(champion, rows, ["wind"], 2, label="hour")
    elif changed == "classes":
        trained(champion, rows, ["wind"], 2)
        contract = json.loads((champion / "contract.json").read_text())
        (champion / "contract.json").write_text(json.dumps({**contract, "classes": ["no", "yes"]}))
    else:
        champion.mkdir()
    found = launched(tmp_path, str(folder / "examples"), str(folder / "good"), str(champion))
    report = metrics_of(found["ModelEvaluation"])
    assert note in report["notes"][0]
    assert report["decision"]["blessed"] and "champion" not in report["splits"]["test"]["overall"]


@pytest.mark.parametrize(("label", "metric"), [("carrier", "macro_auc"), ("wind", "rmse")])
def test_the_other_tasks_are_judged_by_their_own_metrics(flights, tmp_path, label, metric):
    folder, splits = flights
    model = trained(tmp_path / "model", splits["train"], ["hour", "noise"], 5, label)
    found = launched(tmp_path, str(folder / "examples"), model, splits=["test"], thresholds={metric: {"min": 0}})
    overall = metrics_of(found["ModelEvaluation"])["splits"]["test"]["overall"]
    assert overall[metric]["low"] < overall[metric]["value"] < overall[metric]["high"]
    assert found["ModelBlessing"].custom_properties["blessed"].int_value == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"thresholds": {"acu": {"min": 0.5}}}, "'acu' is not a metric of a binary model. Did you mean 'auc'"),
        ({"slices": ["carier"]}, "no column 'carier' to slice by. Did you mean 'carrier'"),
        ({"slices": ["wind"]}, "'wind' of type double cannot be sliced by"),
        ({"splits": ["test", "later"]}, "no row in split 'later'"),
    ],
)
def test_a_mistake_stops_the_step_with_one_clear_error(flights, tmp_path, config, message):
    folder, _ = flights
    with pytest.raises(BraidError) as caught:
        launched(tmp_path, str(folder / "examples"), str(folder / "good"), **config)
    assert message in str(caught.value) and caught.value.hint


def test_examples_without_a_label_are_an_error_never_an_empty_success(flights, tmp_path):
    folder, splits = flights
    unlabelled = splits["test"].set_column(10, "late", pa.array(np.full(2_500, None), pa.bool_()))
    write_examples(tmp_path / "examples", {**splits, "test": unlabelled})
    with pytest.raises(DataError, match="Split 'test' has no row to judge a model on: 2,500 rows"):
        launched(tmp_path, str(tmp_path / "examples"), str(folder / "good"))
