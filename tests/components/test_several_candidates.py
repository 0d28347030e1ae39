"""Several trainers in one pipeline, in TFX's own launcher: one is chosen, blessed, pushed and the next run's champion."""

import json
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import channel_utils, standard_artifacts
from tfx.types.channel import Channel

from components.errors import StepError
from components.evaluator.component import Evaluator
from components.feature_selector.component import FeatureSelector
from components.history import ChampionStrategy
from components.pusher.component import Pusher
from components.scoring import load_scorer
from components.trainer.component import Trainer
from tests.components.examples_factory import flights_like, write_examples
from tests.components.test_evaluator import BEAM

POOR, GOOD = {"rounds": 1, "params": {"max_depth": 1}, "threads": 1}, {"rounds": 30, "threads": 1}
RULES = {"thresholds": {"auc": {"min": 0.55}}, "slices": ["carrier"], "champion": {"at_most_worse": 0.01}}


def run(folder: Path, trainers: dict[str, dict], rules: dict, blessed: bool = True) -> metadata_store.MetadataStore:
    """Trains each, judges all beside the last champion and pushes the best."""
    splits = {"train": flights_like(2_000, 1), "eval": flights_like(600, 2), "test": flights_like(2_000, 3)}
    if not (folder / "examples").exists():
        write_examples(folder / "examples", splits)
    examples = Importer(str(folder / "examples"), standard_artifacts.Examples).with_id("examples")
    rows = examples.outputs["result"]
    selector = FeatureSelector(rows, json.dumps({"label": "late", "repeats": 2, "threads": 1})).with_id("select")
    steps = [
        Trainer(rows, selector.outputs["importances"], json.dumps(config)).with_id(f"train_{name}")
        for name, config in trainers.items()
    ]
    models = channel_utils.union([step.outputs["model"] for step in steps])
    champion = Resolver(
        strategy_class=ChampionStrategy,
        model=Channel(type=standard_artifacts.Model),
        blessing=Channel(type=standard_artifacts.ModelBlessing),
        candidate=models,
    ).with_id("champion")
    judge = Evaluator(rows, models, json.dumps(rules), champion.outputs["model"]).with_id("evaluate")
    verdict = judge.outputs["blessing"] if blessed else None
    pusher = Pusher(models, str(folder / "serving"), verdict).with_id("push")
    config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    nodes = [examples, selector, *steps, champion, judge, pusher]
    LocalDagRunner().run(
        Pipeline(
            "two", str(folder / "root"), components=nodes, metadata_connection_config=config, beam_pipeline_args=BEAM
        )
    )
    return metadata_store.MetadataStore(config)


def newest(store: metadata_store.MetadataStore, artifact_type: str) -> metadata_store_pb2.Artifact:
    return max(store.get_artifacts_by_type(artifact_type), key=lambda found: found.id)


def report_of(store: metadata_store.MetadataStore) -> dict:
    return json.loads(Path(newest(store, "ModelEvaluation").uri, "metrics.json").read_text())


def test_the_best_of_two_is_blessed_and_pushed_and_is_the_next_runs_champion(tmp_path: Path) -> None:
    store = run(tmp_path, {"poor": POOR, "good": GOOD}, RULES)
    report, verdict = report_of(store), newest(store, "ModelBlessing").custom_properties
    rows = report["candidates"]
    assert len(rows) == 2 and {row["family"] for row in rows} == {"xgboost"}
    assert [row["chosen"] for row in sorted(rows, key=lambda row: row["overall"]["test"]["auc"]["value"])] == [
        False,
        True,
    ]
    [chosen] = [row for row in rows if row["chosen"]]
    assert chosen["passed"] and chosen["overall"]["test"]["auc"] == report["splits"]["test"]["overall"]["auc"]
    assert report["decision"]["blessed"] and "There is none yet." in report["decision"]["reasons"][-1]
    good = next(one for one in store.get_artifacts_by_type("Model") if "/train_good/" in one.uri)
    assert verdict["current_model_id"].int_value == good.id and verdict["blessed"].int_value == 1
    served, best = load_scorer(str(tmp_path / "serving/current")), load_scorer(good.uri)
    rows = flights_like(500, 9).combine_chunks().to_batches()[0]
    assert (served.predict(rows) == best.predict(rows)).all()

    store = run(tmp_path, {"other": {**GOOD, "rounds": 12}, "poorest": {**POOR, "seed": 1}}, RULES)
    report, verdict = report_of(store), newest(store, "ModelBlessing").custom_properties
    assert verdict["baseline_model_id"].int_value == good.id
    assert report["splits"]["test"]["overall"]["champion"]["auc"] == chosen["overall"]["test"]["auc"]


def test_where_none_passes_the_best_is_spoken_of_and_nothing_is_pushed(tmp_path: Path) -> None:
    store = run(tmp_path, {"good": GOOD, "poor": POOR}, {"thresholds": {"auc": {"min": 0.999}}})
    report = report_of(store)
    assert [(row["chosen"], row["passed"]) for row in report["candidates"]] == [(True, False), (False, False)]
    assert not report["decision"]["blessed"] and "auc is" in report["candidates"][1]["reasons"][0]
    assert newest(store, "PushedModel").custom_properties["pushed"].int_value == 0
    assert not (tmp_path / "serving").exists()


def test_several_models_and_no_blessing_are_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="was given 2 models and no blessing that says which one to push"):
        run(tmp_path, {"good": GOOD, "poor": POOR}, RULES, blessed=False)
    assert not (tmp_path / "serving").exists()
