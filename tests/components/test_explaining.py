"""Explanations: whose they are, that they sum to the margin, that they are the same every time."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import xgboost
from ml_metadata.metadata_store import metadata_store
from parquet_parts import write_part

from beam_jobs import row_groups
from beam_jobs.hashing import hash_rows
from beam_jobs.ledger import Ledger
from beam_jobs.table import ROW, Table, row_id
from components import encoding
from components.errors import StepError
from components.explainer import explaining, sampling
from components.explainer.explaining import ExplanationConfig, explain
from components.explanations import EXPLANATIONS, GLOBAL, Summary
from components.importances import FeatureImportance, Importances
from components.model_contract import Task
from components.scoring import load_scorer
from components.trainer.training import TrainingConfig, train
from tests.components.examples_factory import flights_like, write_examples

KEPT = ["wind", "hour", "carrier", "seats", "weekend", "day"]
ROWS = 500


def of_many_kinds(rows: int, seed: int) -> pa.Table:
    flights = flights_like(rows, seed)
    hour = flights["hour"].to_numpy()
    part = np.select([hour < 11, hour < 17], ["morning", "noon"], "night")
    delay = flights["wind"].to_numpy() * 2 + hour
    return flights.append_column("part", pa.array(part)).append_column("delay", pa.array(delay))


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Table:
    splits = {"train": of_many_kinds(3_000, 1), "eval": of_many_kinds(1_000, 2), "test": of_many_kinds(4_000, 3)}
    return write_examples(tmp_path_factory.mktemp("flights"), splits, parts=3)


def model(folder: Path, table: Table, task: Task, label: str, classes: tuple, kept: list[str] = KEPT) -> str:
    features = tuple(FeatureImportance(name, 0.1, 0.1, 0.0, rank, True, "") for rank, name in enumerate(kept, 1))
    config = TrainingConfig(threads=1, rounds=15, early_stopping_rounds=0)
    folder.mkdir()
    train(table, Importances(label, task, classes, features), config, str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def models(flights: Table, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "binary": model(folder / "binary", flights, "binary", "late", (False, True)),
        "multiclass": model(
            folder / "multiclass", flights, "multiclass", "part", ("morning", "night", "noon"), ["wind", "carrier", "day", "hour"]
        ),
        "regression": model(folder / "regression", flights, "regression", "delay", ()),
    }  # fmt: skip


def margins(model_uri: str, rows: pa.Table) -> np.ndarray:
    """XGBoost's own margins of rows that have the feature's own names."""
    scorer = load_scorer(model_uri, 1)
    matrix = xgboost.DMatrix(
        encoding.matrix(rows, scorer.contract), feature_types=scorer.contract.feature_types, enable_categorical=True
    )
    return scorer.booster.predict(matrix, output_margin=True).reshape(-1)


def with_own_names(found: pa.Table) -> pa.Table:
    """The values of the features, under the features' names."""
    values = [name for name in found.column_names if name.startswith("value_")]
    return found.select(values).rename_columns([name.removeprefix("value_") for name in values])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_contributions_sum_to_the_margin_that_xgboost_gives(
    flights: Table, models: dict[str, str], task: str, tmp_path: Path
) -> None:
    summary = explain(flights, models[task], ExplanationConfig(rows=ROWS, threads=1), str(tmp_path))
    found = pq.read_table(tmp_path / EXPLANATIONS)
    names = load_scorer(models[task], 1).contract.names
    sums = found["bias"].to_numpy() + sum(found[f"contribution_{name}"].to_numpy() for name in names)
    every = max(1, len(summary.classes))
    assert found.num_rows == ROWS * every
    assert np.abs(sums - margins(models[task], with_own_names(found)[::every])).max() < 1e-4
    assert np.abs(sums).max() > 0.1


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_contributions_are_xgboosts_own_for_the_very_rows(
    flights: Table, models: dict[str, str], task: str, tmp_path: Path
) -> None:
    explain(flights, models[task], ExplanationConfig(rows=50, threads=1), str(tmp_path))
    found = pq.read_table(tmp_path / EXPLANATIONS)
    scorer = load_scorer(models[task], 1)
    contract = scorer.contract
    every = max(1, len(contract.classes[1:] if task == "binary" else contract.classes))
    kept = with_own_names(found).take(list(range(0, found.num_rows, every)))
    rows = xgboost.DMatrix(
        encoding.matrix(kept, contract), feature_types=contract.feature_types, enable_categorical=True
    )
    theirs = scorer.booster.predict(rows, pred_contribs=True).reshape(found.num_rows, -1)
    ours = np.column_stack([found[f"contribution_{name}"] for name in contract.names] + [found["bias"]])
    assert np.array_equal(ours, theirs)
    assert np.allclose(found["prediction"], scorer.predict(kept.to_batches()[0]).reshape(-1), atol=0)


def test_every_column_says_what_it_holds(flights: Table, models: dict[str, str], tmp_path: Path) -> None:
    explain(flights, models["multiclass"], ExplanationConfig(rows=20), str(tmp_path))
    found = pq.read_table(tmp_path / EXPLANATIONS)
    features = [f"{kind}_{name}" for name in ("wind", "carrier", "day", "hour") for kind in ("value", "contribution")]
    assert found.column_names == [ROW, "class", "label", "prediction", "bias", *features]
    assert found["class"].to_pylist() == ["morning", "night", "noon"] * 20
    assert found.schema.field("value_day").type == pa.date32()
    assert found.schema.field("value_carrier").type == pa.string()
    ids = found[ROW].to_pylist()
    assert ids == sorted(ids)
    assert np.allclose(np.add.reduceat(found["prediction"].to_numpy(), np.arange(0, 60, 3)), 1, atol=1e-5)


def test_labels_and_values_are_those_of_the_row(flights: Table, models: dict[str, str], tmp_path: Path) -> None:
    explain(flights, models["binary"], ExplanationConfig(rows=100), str(tmp_path))
    found = pq.read_table(tmp_path / EXPLANATIONS)
    files = [pq.read_table(flights.path(part)) for part in flights.in_split("test")]
    whole = pa.concat_tables(files)
    place = pc.index_in(found[ROW], value_set=whole[ROW].combine_chunks())
    for column, feature in (("label", "late"), ("value_wind", "wind"), ("value_seats", "seats"), ("value_day", "day")):
        assert found[column].to_pylist() == whole[feature].take(place).to_pylist()
    assert found["class"].to_pylist() == [True] * 100


def test_the_summary_tells_sizes_and_directions(flights: Table, models: dict[str, str], tmp_path: Path) -> None:
    explain(flights, models["binary"], ExplanationConfig(rows=ROWS), str(tmp_path))
    found, summary = pq.read_table(tmp_path / EXPLANATIONS), Summary.load(str(tmp_path))
    effects = {feature.name: feature for feature in summary.features}
    assert [feature.mean_absolute for feature in summary.features] == sorted(
        (feature.mean_absolute for feature in summary.features), reverse=True
    )
    wind = found["contribution_wind"].to_numpy().astype(float)
    assert effects["wind"].effects[0].mean_absolute == pytest.approx(np.abs(wind).mean(), rel=1e-6)
    assert effects["wind"].effects[0].mean_signed == pytest.approx(wind.mean(), rel=1e-6)
    correlation = np.corrcoef(found["value_wind"].to_numpy(), wind)[0, 1]
    assert effects["wind"].effects[0].correlation == pytest.approx(correlation, rel=1e-5)
    assert correlation > 0.5  # more wind, more delay: so the data were made
    assert effects["carrier"].effects[0].correlation is None
    assert (summary.rows, summary.of_rows, summary.split, summary.classes) == (ROWS, 4_000, "test", (True,))


def test_the_same_bytes_every_time_however_many_threads(flights: Table, models: dict[str, str], tmp_path: Path) -> None:
    for folder, threads in (("one", 1), ("two", 2)):
        explain(flights, models["multiclass"], ExplanationConfig(rows=300, threads=threads), str(tmp_path / folder))
    for file in (EXPLANATIONS, GLOBAL):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_seed_draws_other_rows(flights: Table, models: dict[str, str], tmp_path: Path) -> None:
    for seed in (0, 1):
        explain(flights, models["binary"], ExplanationConfig(rows=50, seed=seed), str(tmp_path / str(seed)))
    first, second = (pq.read_table(tmp_path / seed / EXPLANATIONS)[ROW].to_pylist() for seed in ("0", "1"))
    assert len(set(first) & set(second)) < 10


@pytest.mark.parametrize("stores_rows", [True, False])
def test_the_sample_is_that_of_the_smallest_hashes_wherever_rows_lie(tmp_path: Path, stores_rows: bool) -> None:
    rows = pa.table({"x": np.arange(5_000)})
    parts = tuple(
        write_part(tmp_path, f"part-{chunk}.parquet", rows.slice(start, 1_700), chunk, "test", 300, stores_rows)
        for chunk, start in enumerate(range(0, 5_000, 1_700))
    )
    table = Table(str(tmp_path), rows.schema, parts, stores_rows, Ledger(read=5_000, kept=5_000, written=5_000))
    drawn = sampling.sample(table, "test", ["x"], 400)
    ids = np.concatenate([row_id(part.chunk, 0) + np.arange(part.rows) for part in parts])
    smallest = np.sort(np.argsort(hash_rows([pa.array(ids)]))[:400])
    assert drawn["x"].to_pylist() == smallest.tolist()
    assert drawn[ROW].to_pylist() == ids[smallest].tolist()


def test_only_row_groups_that_hold_a_drawn_row_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_examples(tmp_path, {"test": flights_like(20_000)}, parts=2, row_group_rows=100)
    asked: list[tuple[list[str], int]] = []

    def reading(path: str, columns: list[str], batch_rows: int, groups: list[int] | None = None):
        asked.append((columns, len(groups) if groups else 0))
        return row_groups.read_row_groups(path, columns, batch_rows, groups)

    monkeypatch.setattr(sampling, "read_row_groups", reading)
    assert sampling.sample(table, "test", ["wind"], 20).num_rows == 20
    assert [columns for columns, _ in asked] == [[ROW], [ROW], ["wind"], ["wind"]]
    assert 2 <= sum(groups for _, groups in asked) <= 20


def test_a_wide_model_is_explained_for_fewer_rows(
    flights: Table, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MOST_CELLS", 120)
    summary = explain(flights, models["multiclass"], ExplanationConfig(), str(tmp_path))
    assert summary.rows == 10
    assert summary.notes == ("10 rows are explained, not 1,000: each has 12 contributions.",)


def test_fewer_rows_than_asked_for_are_all_explained(models: dict[str, str], tmp_path: Path) -> None:
    table = write_examples(tmp_path / "examples", {"test": of_many_kinds(7, 3)})
    assert explain(table, models["binary"], ExplanationConfig(), str(tmp_path / "out")).rows == 7


def test_a_split_without_rows_is_said(flights: Table, models: dict[str, str], tmp_path: Path) -> None:
    summary = explain(flights, models["binary"], ExplanationConfig(split="nightly"), str(tmp_path))
    assert (summary.rows, summary.features[0].mean_absolute) == (0, 0.0)
    assert summary.notes == ("The split 'nightly' has no rows: nothing is explained.",)
    assert pq.read_table(tmp_path / EXPLANATIONS).num_rows == 0


def test_a_row_without_a_label_is_explained_too(models: dict[str, str], tmp_path: Path) -> None:
    rows = of_many_kinds(30, 3)
    unlabelled = rows.set_column(rows.column_names.index("late"), "late", pa.nulls(30, pa.bool_()))
    table = write_examples(tmp_path / "examples", {"test": unlabelled})
    explain(table, models["binary"], ExplanationConfig(), str(tmp_path / "out"))
    assert pq.read_table(tmp_path / "out" / EXPLANATIONS)["label"].null_count == 30
    table = write_examples(tmp_path / "without", {"test": rows.drop_columns(["late"])})
    explain(table, models["binary"], ExplanationConfig(), str(tmp_path / "none"))
    assert pq.read_table(tmp_path / "none" / EXPLANATIONS)["label"].null_count == 30


def test_a_model_that_tells_no_contributions_is_left_unexplained(
    flights: Table, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(scorer: object, batch: pa.RecordBatch) -> None:
        raise StepError("This model cannot tell.", "Build another.")

    monkeypatch.setattr(type(load_scorer(models["binary"], 1)), "contributions", refuse)
    summary = explain(flights, models["binary"], ExplanationConfig(), str(tmp_path))
    assert summary.notes == ("Nothing is explained. This model cannot tell. Build another.",)
    assert (summary.rows, pq.read_table(tmp_path / EXPLANATIONS).num_rows) == (0, 0)


def test_a_column_that_is_not_there_is_named(models: dict[str, str], tmp_path: Path) -> None:
    rows = of_many_kinds(30, 3)
    table = write_examples(tmp_path / "examples", {"test": rows.rename_columns(["winds", *rows.column_names[1:]])})
    with pytest.raises(StepError, match=r"lack the model's column 'wind'. Did you mean 'winds'"):
        explain(table, models["binary"], ExplanationConfig(), str(tmp_path / "out"))


def test_no_rows_at_all_may_not_be_asked_for(flights: Table, models: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(StepError, match="rows must be at least 1, not 0"):
        explain(flights, models["binary"], ExplanationConfig(rows=0), str(tmp_path))


def launched(folder: Path, flights: Table, models: dict[str, str], spoken_of: int) -> dict[str, object]:
    """What the launcher records of the explanations of the first model, or of the one that a blessing speaks of."""
    from tfx.dsl.components.common.importer import Importer
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline
    from tfx.types import channel_utils, standard_artifacts

    from components.explainer.component import Explainer

    (folder / "blessing").mkdir()
    examples = Importer(flights.root, standard_artifacts.Examples).with_id("examples")
    made = [
        Importer(
            models[name], standard_artifacts.Model, custom_properties={"tree_digest": f"digest of {name}"}
        ).with_id(name)
        for name in ("binary", "regression")
    ]
    told = {"blessed": 0, "current_model_id": 10_000, "current_model_digest": ["", "digest of regression"][spoken_of]}
    blessing = Importer(
        str(folder / "blessing"), standard_artifacts.ModelBlessing, custom_properties=told
    ).with_id("blessing")  # fmt: skip
    explainer = Explainer(
        examples.outputs["result"],
        channel_utils.union([one.outputs["result"] for one in made]),
        json.dumps({"rows": 40}),
        blessing=blessing.outputs["result"],
    ).with_id("explain")
    config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    LocalDagRunner().run(
        Pipeline(
            "ml",
            str(folder / "root"),
            components=[examples, *made, blessing, explainer],
            metadata_connection_config=config,
        )
    )
    (artifact,) = metadata_store.MetadataStore(config).get_artifacts_by_type("Explanations")
    properties = {**artifact.properties, **artifact.custom_properties}
    return {key: getattr(value, str(value.WhichOneof("value"))) for key, value in properties.items()} | {
        "uri": artifact.uri
    }


@pytest.mark.parametrize(("spoken_of", "expected"), [(0, "binary"), (1, "regression")])
def test_the_launcher_explains_the_chosen_model(
    flights: Table, models: dict[str, str], tmp_path: Path, spoken_of: int, expected: str
) -> None:
    found = launched(tmp_path, flights, models, spoken_of)
    assert Summary.load(str(found["uri"])).task == expected
    assert (found["model"], found["rows"], found["split"]) == (models[expected], 40, "test")
    assert found["model_digest"] == f"digest of {expected}"
