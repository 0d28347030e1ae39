import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, r2_score, roc_auc_score

from beam_jobs.table import Table
from components.errors import StepError
from components.feature_selector import leaks, metrics
from components.feature_selector.sampling import sample_places
from components.feature_selector.selection import SelectionConfig, select_features
from components.importances import Importances
from components.step_config import parse
from tests.components.examples_factory import flights_like, write_examples


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Table:
    splits = {"train": flights_like(6_000, 1), "eval": flights_like(2_000, 2)}
    leaky = {name: rows.append_column("arrived", rows["late"].cast(pa.int32())) for name, rows in splits.items()}
    return write_examples(tmp_path_factory.mktemp("flights"), leaky)


def test_planted_signal_is_kept_and_the_useless_is_dropped_with_its_reason(flights: Table, tmp_path: Path) -> None:
    chosen = select_features(flights, SelectionConfig(threads=1, label="late", keep={"share": 0.9}))
    reasons = {feature.name: feature.reason for feature in chosen.features if not feature.kept}
    assert set(chosen.kept[:3]) == {"wind", "hour", "carrier"}
    assert reasons["year"] == "constant: every row holds 2013"
    assert reasons["gate"].startswith("no value in any of 6,000 rows")
    assert reasons["tail"] == "identifier-like text: 6,000 different values in 6,000 rows"
    assert reasons["arrived"] == "leak: it alone predicts the label (AUC 1.0000)"
    assert any("'arrived' alone predicts 'late'" in warning for warning in chosen.warnings)
    assert {feature.name for feature in chosen.features} == set(flights.schema.names) - {"late"}
    assert [feature.rank for feature in chosen.features[:7]] == [1, 2, 3, 4, 5, 6, 7]
    chosen.save(str(tmp_path))
    assert Importances.load(str(tmp_path)) == chosen


def test_the_same_rows_give_the_same_list(flights: Table, tmp_path: Path) -> None:
    config = SelectionConfig(threads=1, label="late", max_train_rows=3_000, max_eval_rows=1_000, repeats=2)
    assert select_features(flights, config) == select_features(flights, config)


def test_the_user_decides_on_top_always_exclude_and_allowed_leaks(flights: Table) -> None:
    config = SelectionConfig(
        threads=1, label="late", keep={"top": 2}, always=("year", "noise"), exclude=("wind",), allow_leaks=("arrived",)
    )
    chosen = select_features(flights, config)
    assert set(chosen.kept) >= {"arrived", "year", "noise"}
    assert "wind" not in chosen.kept
    assert chosen.features[0].name == "arrived"
    assert any("'allow_leaks' names it" in warning for warning in chosen.warnings)


def test_no_signal_at_all_is_said_and_still_leaves_a_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {split: pa.table({"x": rng.normal(size=400), "y": rng.random(400) < 0.5}) for split in ("train", "eval")}
    for seed in range(20):
        table = write_examples(tmp_path / str(seed), rows)
        chosen = select_features(table, SelectionConfig(threads=1, label="y", seed=seed, repeats=1))
        assert chosen.kept == ("x",)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_signal_and_leak_are_found_for_other_tasks(tmp_path: Path, task: str) -> None:
    rng = np.random.default_rng(0)

    def rows(count: int) -> pa.Table:
        signal = rng.normal(size=count)
        value = np.exp(2 * (signal + rng.normal(size=count)))
        label = np.digitize(np.log(value), [-1, 1]) if task == "multiclass" else value
        copy = pa.array(label.astype(str)) if task == "multiclass" else pa.array(label * 2 + 1)
        return pa.table({"signal": signal, "noise": rng.normal(size=count), "copy": copy, "y": label})

    table = write_examples(tmp_path, {"train": rows(5_000), "eval": rows(2_000)})
    chosen = select_features(table, SelectionConfig(threads=1, label="y", keep={"top": 1}))
    assert chosen.task == task
    assert chosen.kept == ("signal",)
    assert "leak" in next(feature.reason for feature in chosen.features if feature.name == "copy")


def test_a_leak_is_not_claimed_from_a_handful_of_rows(tmp_path: Path) -> None:
    rows = pa.table({"x": np.arange(60.0), "y": np.arange(60) >= 30})
    table = write_examples(tmp_path, {"train": rows, "eval": rows})
    chosen = select_features(table, SelectionConfig(threads=1, label="y"))
    assert chosen.kept == ("x",)
    assert any("too few labelled rows (60)" in warning for warning in chosen.warnings)


def test_a_strong_but_honest_column_is_no_leak() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000).astype(np.float32)
    y = (x + 0.5 * rng.normal(size=20_000) > 0).astype(np.float32)
    assert leaks.leak("binary", 2, (x[:10_000], y[:10_000]), (x[10_000:], y[10_000:]), False) == ""


def test_telling_zero_from_not_zero_is_no_leak_of_an_amount() -> None:
    rng = np.random.default_rng(0)
    amount = np.where(rng.random(20_000) < 0.95, 0, rng.exponential(size=20_000)).astype(np.float32)
    insured = (amount > 0).astype(np.float32)
    for column, found in ((insured, False), (np.sqrt(amount), True)):
        proof = leaks.leak(
            "regression", 0, (column[:10_000], amount[:10_000]), (column[10_000:], amount[10_000:]), False
        )
        assert bool(proof) == found


def test_missingness_alone_can_be_a_leak() -> None:
    y = (np.arange(4_000) % 5 == 0).astype(np.float32)
    x = np.where(y == 1, np.nan, np.random.default_rng(0).normal(size=4_000)).astype(np.float32)
    assert leaks.leak("binary", 2, (x[:2_000], y[:2_000]), (x[2_000:], y[2_000:]), False).startswith("AUC 1.0")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exclude": ["wnd"]}, r"exclude names a column 'wnd'.*Did you mean 'wind'"),
        ({"always": ["late"]}, "always names 'late', which is the label"),
        ({"always": ["wind"], "exclude": ["wind"]}, "also in 'exclude'"),
        ({"always": ["gate"]}, "'always' names 'gate', which has no value"),
        ({"keep": {"best": 3}}, "keep is {'best': 3}"),
        ({"keep": {"share": 1.5}}, "above 0 and at most 1"),
        ({"keep": {"top": "ten"}}, "which is no number"),
        ({"kep": {"top": 3}}, r"no setting 'kep'. Did you mean 'keep'"),
        ({"repeats": "many"}, "repeats must be a whole number"),
        ({"repeats": 0}, "1 is the least"),
        ({"exclude": "wind"}, "must be a list of names"),
    ],
)
def test_a_wrong_setting_is_explained(flights: Table, settings: dict, message: str) -> None:
    with pytest.raises(StepError, match=message):
        select_features(flights, parse(SelectionConfig, json.dumps({"label": "late", **settings}), "FeatureSelector"))


def test_an_empty_eval_split_is_explained(tmp_path: Path) -> None:
    table = write_examples(tmp_path, {"train": flights_like(100)})
    with pytest.raises(StepError, match=r"'eval' has no row with a usable label 'late'. Splits: train \(100 rows\)"):
        select_features(table, SelectionConfig(threads=1, label="late"))


def test_nothing_left_to_learn_from_is_explained(tmp_path: Path) -> None:
    rows = pa.table({"x": np.ones(50), "y": np.arange(50) % 2})
    with pytest.raises(StepError, match=r"No column is left to learn from: x \(constant: every row holds 1.0\)"):
        select_features(write_examples(tmp_path, {"train": rows, "eval": rows}), SelectionConfig(threads=1, label="y"))


def test_scores_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y, p = (rng.random(500) < 0.3).astype(np.float32), np.round(rng.random(500), 1).astype(np.float32)
    assert metrics.auc(y, p) == pytest.approx(roc_auc_score(y, p))
    many = rng.dirichlet([1, 1, 1], 500)
    classes = rng.integers(0, 3, 500).astype(np.float32)
    assert metrics.score("log loss", classes, many) == pytest.approx(-log_loss(classes, many), rel=1e-5)
    assert metrics.r_squared(p, p + y) == pytest.approx(r2_score(p, p + y), rel=1e-5)


@pytest.mark.parametrize(("rows", "most"), [(10, 20), (20, 20), (21, 20), (1_000, 7), (999_999, 1_000)])
def test_a_sample_is_spread_over_all_rows(rows: int, most: int) -> None:
    places = sample_places(rows, most, seed=3)
    assert np.all(np.diff(places) > 0)
    assert places[0] >= 0
    assert places[-1] < rows
    assert len(places) <= most
    assert np.diff(places, prepend=0, append=rows).max() <= 2 * rows / min(rows, most) + 1
