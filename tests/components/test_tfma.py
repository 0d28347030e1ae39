"""tensorflow-model-analysis beside Braid's judge: it opens its results, and says the same of the same predictions."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma
from examples_factory import flights_like, write_examples
from tensorflow_model_analysis.api import dataframe, model_eval_lib
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.view import util, view_types
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as stored
from test_evaluator import launched, metrics_of, trained

from components.errors import StepError

pytestmark = [
    # TFMA's own arithmetic, where no score reaches a threshold or a slice has no positive row.
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning"),
]
LABELS = {"binary": "late", "multiclass": "carrier", "regression": "wind"}
SLICES = {"slices": ["weekend", "hour"], "crosses": [["weekend", "hour"]]}
BINNED = {"auc", "auc_precision_recall", "macro_average_auc"}
"""TFMA counts scores in 10,000 bins of equal width."""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Examples, and for each task two models: of few trees, so that many scores are ties."""
    folder = tmp_path_factory.mktemp("models")
    splits = {"train": flights_like(2_000), "eval": flights_like(1_000, 1), "test": flights_like(6_000, 2)}
    for name, rows in splits.items():
        splits[name] = rows.set_column(
            1, "hour", pa.array([hour // 12 for hour in rows["hour"].to_pylist()], pa.int32())
        )
    write_examples(folder / "examples", splits)
    for task, label in LABELS.items():
        features = [name for name in ("wind", "hour", "seats", "noise", "weekend") if name != label]
        trained(folder / task, splits["train"], features, 30, label)
        trained(folder / f"{task}-champion", splits["train"], features[:3], 15, label)
    return folder


def judged(models: Path, folder: Path, task: str, **config: object) -> Path:
    config = {"splits": ["test"], **SLICES, **config}
    found = launched(folder, str(models / "examples"), str(models / task), str(models / f"{task}-champion"), **config)
    return Path(found["ModelEvaluation"].uri)


def told(result: view_types.EvalResult) -> dict[tuple, dict[str, float]]:
    """By slice and metric; intervals left out."""
    by_slice = {}
    for slice_key, outputs in result.slicing_metrics:
        metrics = outputs[""][""]
        by_slice[slice_key] = {
            name.strip().replace("macro_average: true\n", "macro_average"): value.get(
                "doubleValue", value.get("boundedValue", {}).get("value")
            )
            for name, value in metrics.items()
        }
    return by_slice


@pytest.mark.long
@pytest.mark.parametrize("task", LABELS)
def test_tfma_says_the_same_of_the_same_predictions_in_every_slice(models, tmp_path, task):
    # Of a class with thirty rows in a crossed slice, two scores in one of TFMA's bins move the area by more.
    crosses = [] if task == "multiclass" else SLICES["crosses"]
    ours = judged(models, tmp_path / "braid", task, crosses=crosses)
    theirs = judged(models, tmp_path / "tfma", task, engine="tfma", crosses=crosses)
    for model in ("xgboost", "champion"):
        mine, its = (told(model_eval_lib.load_eval_result(str(folder), model_name=model)) for folder in (ours, theirs))
        assert set(mine) == set(its) and len(mine) == (9 if crosses else 5)
        for slice_key, values in mine.items():
            expected = its[slice_key]
            assert set(values) == set(expected)
            for name, value in values.items():
                close = 1e-4 if name.removesuffix("_diff") in BINNED else 1e-6
                close *= 2 if name.endswith("_diff") else 1  # each of the two models may be off
                assert same(value, expected[name], close), (model, slice_key, name, value, expected[name])


def same(one: float | str, other: float | str, close: float) -> bool:
    one, other = float(one), float(other)
    return (math.isnan(one) and math.isnan(other)) or one == pytest.approx(other, abs=close, rel=1e-6)


@pytest.mark.long
def test_the_engine_of_tfma_decides_and_reports_as_the_judge_does(models, tmp_path):
    rules = {
        "splits": ["eval", "test"],
        "champion": {"at_most_worse": 0.5},
        "slice_thresholds": {"weekend": {"accuracy": {"min": 0.2}}},
        "fairness": [{"column": "weekend, hour", "metric": "log_loss", "max_gap": 9}],
    }
    ours, theirs = (
        json.loads((judged(models, tmp_path / engine, "binary", engine=engine, **rules) / "metrics.json").read_text())
        for engine in ("braid", "tfma")
    )
    assert ours["decision"]["blessed"] == theirs["decision"]["blessed"] is True
    for split in ("eval", "test"):
        mine, its = ours["splits"][split], theirs["splits"][split]
        assert mine["overall"]["rows"] == its["overall"]["rows"]
        assert mine["overall"]["unlabelled"] == its["overall"]["unlabelled"]
        assert set(mine["slices"]) == set(its["slices"])
        assert [set(each) for each in mine["slices"].values()] == [set(each) for each in its["slices"].values()]
        for one, other in zip(mine["crosses"], its["crosses"], strict=True):
            assert {tuple(node["values"]): node["rows"] for node in one["slices"]} == {
                tuple(node["values"]): node["rows"] for node in other["slices"]
            }
        [gap], [its_gap] = mine["fairness"], its["fairness"]
        assert gap["gap"]["value"] == pytest.approx(its_gap["gap"]["value"], rel=1e-5)
        assert (gap["highest"]["values"], gap["slices"]) == (its_gap["highest"]["values"], its_gap["slices"])
    assert "TFMA tells no interval" in theirs["decision"]["reasons"][-1]
    assert "Judged by TFMA" in theirs["notes"][0]


def test_what_tfma_does_not_compute_cannot_decide(models, tmp_path):
    with pytest.raises(StepError, match="thresholds: TFMA does not compute 'calibration_error'") as caught:
        judged(models, tmp_path, "binary", engine="tfma", thresholds={"calibration_error": {"max": 0.1}})
    assert "engine: braid" in caught.value.hint


@pytest.mark.parametrize("intervals", ["jackknife", "bootstrap"])
def test_the_results_open_in_tfma_and_its_views(models, tmp_path, intervals):
    folder = judged(models, tmp_path, "binary", intervals=intervals, resamples=50, splits=["eval", "test"])
    result = tfma.load_eval_result(str(folder), model_name="xgboost")
    overall = metrics_of_folder(folder)["splits"]["test"]["overall"]
    found = result.get_metrics_for_slice()
    assert (
        found["auc"]["boundedValue"]
        == {
            "value": overall["auc"]["value"],
            "lowerBound": overall["auc"]["low"],
            "upperBound": overall["auc"]["high"],
        }
        or found["auc"]["boundedValue"]["value"] == overall["auc"]["value"]
    )
    assert found["auc_diff"]["boundedValue"]["value"] == overall["difference"]["auc"]["value"]
    assert found["example_count"]["doubleValue"] == overall["rows"]
    assert found["mean_label"]["boundedValue"]["value"] == overall["base_rate"]["value"]
    crossed = result.get_metrics_for_slice((("hour", "1"), ("weekend", "true")))
    assert crossed["example_count"]["doubleValue"] > 0
    # What `tfma.view.render_slicing_metrics` shows.
    shown = util.get_slicing_metrics(
        result.slicing_metrics, slicing_spec=slicer_lib.SingleSliceSpec(columns=["weekend"])
    )
    assert {row["slice"] for row in shown} == {"weekend:true", "weekend:false"}
    # As tables.
    tables = dataframe.metrics_as_dataframes(list(stored.load_and_deserialize_metrics(str(folder))))
    frame = tables.double_value
    assert {"auc", "calibration"} <= set(frame.metric_keys.name) and {"xgboost", "champion"} <= set(
        frame.metric_keys.model_name
    )
    blessed = metrics_of_folder(folder)["decision"]["blessed"]
    assert stored.load_and_deserialize_validation_result(str(folder)).validation_ok == blessed
    methods = config_pb2.ConfidenceIntervalOptions
    method = {"jackknife": methods.JACKKNIFE, "bootstrap": methods.POISSON_BOOTSTRAP}[intervals]
    assert result.config.options.confidence_intervals.method == method
    assert [spec.is_baseline for spec in result.config.model_specs] == [False, True]
    other = tfma.load_eval_result(str(folder / "Split-eval"), model_name="champion")
    assert other.get_metrics_for_slice()["example_count"]["doubleValue"] == 1_000
    both = tfma.load_eval_results(str(folder))
    assert len(both.get_results()) == 2


def metrics_of_folder(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_one_model_needs_no_name(models, tmp_path):
    found = launched(tmp_path, str(models / "examples"), str(models / "multiclass"), splits=["test"])["ModelEvaluation"]
    result = tfma.load_eval_result(found.uri)
    assert (
        result.get_metrics_for_slice()["sparse_categorical_accuracy"]["boundedValue"]["value"]
        == (metrics_of(found)["splits"]["test"]["overall"]["accuracy"]["value"])
    )


def test_nothing_of_tfma_is_written_where_it_is_not_asked_for(models, tmp_path):
    folder = judged(models, tmp_path, "regression", tfma=False)
    assert [path.name for path in folder.iterdir()] == ["metrics.json"]
    assert "tfma" not in metrics_of_folder(folder)["splits"]["test"]["overall"]
