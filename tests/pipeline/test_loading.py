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
