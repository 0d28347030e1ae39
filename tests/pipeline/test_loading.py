"""Mistakes in a configuration are told with file, line, nearest key and what is allowed."""

from pathlib import Path

import pytest

from pipeline import loading
from pipeline.errors import ConfigError

GOOD = """\
name: demo
sources:
  rows: {path: rows.csv}
prepare:
  clean:
    stream: rows
    sql: SELECT * FROM rows
examples:
  table: clean
  label: y
  split: {by: hash, columns: [id]}
"""


def load(tmp_path: Path, text: str) -> loading.Loaded:
    path = tmp_path / "demo.yaml"
    path.write_text(text)
    return loading.load(str(path))


def test_a_good_configuration_loads_with_defaults(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD)
    assert loaded.config.sources["rows"].max_reject_fraction == 0.01
    assert loaded.config.select.keep.share == 0.99
    assert loaded.path_of("rows") == str(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "path: rows.csv",
            "path: rows.csv, formt: csv",
            "demo.yaml:3: unknown key 'formt' in 'sources.rows'. Did you mean 'format'?",
        ),
        ("name: demo", "name: demo\nsorces: {}", "unknown key 'sorces' at the top level. Did you mean 'sources'?"),
        ("label: y", "lable: y", "the key 'examples.label' is missing"),
        (
            "columns: [id]",
            "colum: [id]",
            "demo.yaml:11: unknown key 'colum' in 'examples.split'. Did you mean 'columns'?",
        ),
        ("by: hash, ", "", "'examples.split' needs the key `by`"),
        ("name: demo", "name: 7demo", "'name' is no valid name: '7demo'"),
        (
            "name: demo",
            "name: demo\ntrain: {rounds: many}",
            "'train.rounds' must be a whole number; found 'many' (text)",
        ),
        ("name: demo", "name: demo\nselect: {keep: {top: 3, share: 0.5}}", "give either `top` or `share`"),
        (
            "stream: rows",
            "stream: row",
            "step 'clean' streams 'row', which is no table at that point. Did you mean 'rows'?",
        ),
        ("table: clean", "table: clan", "there is no table 'clan'. Did you mean 'clean'?"),
        ("  clean:", "  train:", "'train' cannot name a table"),
        ("  clean:", "  rows:", "'rows' is already the name of a source"),
    ],
)
def test_mistakes_are_told_with_place_and_nearest(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as error:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert words in str(error.value)
    assert "Traceback" not in str(error.value)


def trained_by(tmp_path: Path, train: str, *assignments: str) -> loading.Loaded:
    (tmp_path / "p.yaml").write_text(
        "name: p\nsources: {t: {path: t.csv}}\nexamples: {table: t, label: y, split: {by: hash, columns: [k]}}\n"
        + train
    )
    return loading.load(str(tmp_path / "p.yaml"), (), assignments)


def test_one_trainer_is_a_mapping_several_are_a_list(tmp_path: Path) -> None:
    one = trained_by(tmp_path, "train: {rounds: 7}\n", "train.seed=3").config
    assert [(t.train_step, t.rounds, t.seed) for t in one.train if t.family == "xgboost"] == [("train", 7, 3)]
    assert one.model_dump()["train"]["rounds"] == 7
    listed = "train:\n- {name: a, rounds: 7}\n- {name: b, family: keras}\n"
    two = trained_by(tmp_path, listed, "train.b.epochs=2").config
    assert [(t.train_step, t.tune_step, t.family) for t in two.train] == [
        ("train_a", "tune_a", "xgboost"),
        ("train_b", "tune_b", "keras"),
    ]
    assert two.model_dump()["train"][1]["epochs"] == 2


@pytest.mark.parametrize(
    ("train", "assignments", "told"),
    [
        ("train: {rouds: 7}", (), "p.yaml:4: unknown key 'rouds' in 'train'. Did you mean 'rounds'?"),
        ("train:\n- {name: a}\n- {name: b, family: keras, epoch: 2}", (), "p.yaml:6: unknown key 'epoch' in 'train.1'"),
        ("train: {family: kears}", (), "'train.family' is 'kears'. Did you mean 'keras'?"),
        ("train: [fast]", (), "p.yaml:4: 'train.0' must be a group of"),
        ("train: fast", (), "p.yaml:4: 'train' must be a group of"),
        ("train: []", (), "p.yaml:4: 'train' is wrong"),
        ("train:\n- {rounds: 1}\n- {name: b}", (), "p.yaml:5: this trainer has no name"),
        ("train:\n- {name: b}\n- {name: b}", (), "p.yaml:6: another trainer has the name 'b'"),
        ("train:\n- {name: boosted}", ("train.bosted.rounds=1",), "no item named 'bosted'. Did you mean 'boosted'?"),
        ("train:\n- {name: boosted}", ("train.boosted=1",), "'train' is a list"),
        ("train: {rounds: 0}", (), "p.yaml:4: 'train.rounds' must be at least 1"),
    ],
)
def test_mistakes_in_trainers_are_told_where_they_stand(
    tmp_path: Path, train: str, assignments: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        trained_by(tmp_path, train + "\n", *assignments)
    assert told in str(caught.value)
