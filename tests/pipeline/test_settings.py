"""Layers of settings and where each value comes from."""

from pathlib import Path

import pytest

from pipeline import settings
from pipeline.errors import ConfigError


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_overlay_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "name: a\ntrain: {rounds: 10, seed: 1}\nkeep: [a, b]\n")
    over = write(tmp_path / "over.yaml", "train:\n  rounds: 20\nkeep: [c]\n")
    merged = settings.load(base, [over])
    assert merged.values == {"name": "a", "train": {"rounds": 20, "seed": 1}, "keep": ["c"]}
    assert merged.origin(("train", "rounds")) == f"{over}:2"
    assert merged.origin(("train", "seed")) == f"{base}:2"


def test_assignment_sets_a_typed_value_and_is_its_own_origin(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "name: a\n")
    merged = settings.load(base, [], ["train.rounds=200", "select.exclude=[x, y]"])
    assert merged.values["train"] == {"rounds": 200}
    assert merged.values["select"]["exclude"] == ["x", "y"]
    assert merged.origin(("train", "rounds")) == "--set train.rounds"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2\n", ":2: this is not valid YAML"),
        ("", "holds no settings"),
        ("- a\n- b\n", "holds no settings"),
        ("a: !!python/object/apply:os.system [ls]\n", ":1: could not determine a constructor"),
        ("a: \x00\n", "not a YAML text file"),
    ],
)
def test_files_that_are_no_settings(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        settings.load(write(tmp_path / "bad.yaml", text))


def test_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file '.*nothing\.yaml'"):
        settings.load(str(tmp_path / "nothing.yaml"))


@pytest.mark.parametrize("assignment", ["rounds", "=3", "a..b=1", "name.x=1"])
def test_wrong_assignments(tmp_path: Path, assignment: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        settings.load(write(tmp_path / "base.yaml", "name: a\n"), [], [assignment])


@pytest.mark.parametrize(
    ("text", "assignments", "where"),
    [
        ("sources:\n  a: {path: 's3://key:secret@bucket/a.csv'}\n", [], ":2: 'sources.a.path'"),
        ("list: [x, ' https://ann:secret/with@host/']\n", [], ":1: 'list.1'"),
        ("name: a\n", ["root=gs://ann:secret@b"], "--set root: 'root'"),
    ],
)
def test_an_address_with_a_password_is_refused(tmp_path: Path, text: str, assignments: list[str], where: str) -> None:
    base = write(tmp_path / "base.yaml", text)
    with pytest.raises(ConfigError) as caught:
        settings.load(base, [], assignments)
    assert where in str(caught.value) and "password" in str(caught.value)
    assert "secret" not in f"{caught.value}{caught.value.hint}"
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.hint


def test_a_password_behind_a_layer_that_replaces_it_is_no_matter(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "path: s3://key:secret@bucket/a.csv\n")
    assert settings.load(base, [], ["path=s3://bucket/a.csv"]).values == {"path": "s3://bucket/a.csv"}
