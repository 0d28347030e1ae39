"""The FeatureSelector, the Trainer and the Pusher in TFX's own launcher, with a real store."""

import json
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.errors import StepError
from components.feature_selector.component import FeatureSelector
from components.pusher.component import Pusher
from components.scoring import load_scorer
from components.trainer.component import Trainer
from tests.components.examples_factory import flights_like, write_examples


def run(folder: Path, nodes: list[BaseComponent], cache: bool = False) -> metadata_store.MetadataStore:
    config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    pipeline = Pipeline(
        "ml", str(folder / "root"), components=nodes, metadata_connection_config=config, enable_cache=cache
    )
    LocalDagRunner().run(pipeline)
    return metadata_store.MetadataStore(config)


def strand(folder: Path, blessed: int, trainer_config: dict) -> list[BaseComponent]:
    write_examples(folder / "examples", {"train": flights_like(2_000, 1), "eval": flights_like(600, 2)})
    examples = Importer(str(folder / "examples"), standard_artifacts.Examples).with_id("examples")
    (folder / "blessing").mkdir()
    blessing = Importer(
        str(folder / "blessing"), standard_artifacts.ModelBlessing, custom_properties={"blessed": blessed}
    ).with_id("blessing")
    selector = FeatureSelector(examples.outputs["result"], json.dumps({"label": "late", "repeats": 2, "threads": 1}))
    trainer = Trainer(examples.outputs["result"], selector.outputs["importances"], json.dumps(trainer_config))
    pusher = Pusher(trainer.outputs["model"], str(folder / "serving"), blessing.outputs["result"])
    return [examples, blessing, selector, trainer, pusher]


def properties(store: metadata_store.MetadataStore, artifact_type: str) -> dict[str, object]:
    (artifact,) = store.get_artifacts_by_type(artifact_type)
    return {
        name: getattr(value, str(value.WhichOneof("value"))) for name, value in artifact.custom_properties.items()
    } | {"uri": artifact.uri}


def test_the_strand_selects_trains_and_pushes_and_records_what_came_of_it(tmp_path: Path) -> None:
    store = run(tmp_path, strand(tmp_path, 1, {"rounds": 20, "threads": 1}))
    chosen = properties(store, "FeatureImportances")
    assert (chosen["label"], chosen["task"], chosen["metric"]) == ("late", "binary", "auc")
    assert int(chosen["kept"]) >= 3
    model = properties(store, "Model")
    assert (model["train_rows"], model["eval_rows"], model["train_label_missing"]) == (2_000, 600, 0)
    assert json.loads(str(model["params"]))["objective"] == "binary:logistic"
    assert 0 <= int(model["best_iteration"]) < int(model["rounds"]) <= 20
    assert 0 < float(model["eval_score"]) < 0.7
    assert sorted(path.name for path in Path(str(model["uri"])).iterdir()) == ["contract.json", "model.ubj"]
    pushed = properties(store, "PushedModel")
    assert (pushed["pushed"], pushed["pushed_version"]) == (1, "00000001")
    served = load_scorer(str(tmp_path / "serving/current"))
    assert set(served.contract.names) == set(load_scorer(str(model["uri"])).contract.names)


def test_a_model_that_is_not_blessed_stays_home_and_the_run_ends_well(tmp_path: Path) -> None:
    store = run(tmp_path, strand(tmp_path, 0, {"rounds": 2}))
    pushed = properties(store, "PushedModel")
    assert pushed["pushed"] == 0
    assert "not blessed" in str(pushed["reason"])
    assert not (tmp_path / "serving").exists()


def test_a_users_mistake_reaches_the_caller_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="Did you mean 'max_depth'") as caught:
        run(tmp_path, strand(tmp_path, 1, {"params": {"max_dept": 3}}))
    assert caught.value.hint.startswith("Parameters: eta")
