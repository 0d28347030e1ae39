"""A function of the user's is looked at before anything runs."""

from pathlib import Path

import pytest

from pipeline import loading, user_code
from pipeline.errors import ConfigError

CONFIG = """\
name: p
sources: {t: {path: t.csv}}
examples: {table: t, label: y, split: {by: hash, columns: [k]}}
transform:
  module: features.py
"""


def loaded(folder: Path, text: str | None, *assignments: str) -> loading.Loaded:
    (folder / "p.yaml").write_text(CONFIG)
    if text is not None:
        (folder / "features.py").write_text(text)
    return loading.load(str(folder / "p.yaml"), (), assignments)


def found(configuration: loading.Loaded) -> user_code.UserCode:
    section = configuration.config.transform
    return user_code.find(configuration, ("transform",), section.module, section.function)


def test_the_file_is_resolved_and_its_text_counts(tmp_path: Path) -> None:
    before = found(loaded(tmp_path, "def preprocessing_fn(inputs):\n    return inputs\n"))
    assert before.module == str(tmp_path / "features.py")
    after = found(loaded(tmp_path, "def preprocessing_fn(inputs):\n    return dict(inputs)\n"))
    assert before.digest != after.digest
    assert after.parameters["function"] == "preprocessing_fn"


def test_nothing_of_it_runs(tmp_path: Path) -> None:
    assert found(loaded(tmp_path, "raise SystemExit\nfrom somewhere import preprocessing_fn\n")).digest


@pytest.mark.parametrize(
    ("text", "assignments", "told"),
    [
        (None, (), "p.yaml:5: transform.module: there is no file"),
        ("def preprocess_fn(inputs): ...", (), "has no function 'preprocessing_fn'. Did you mean 'preprocess_fn'?"),
        ("", (), "It defines nothing."),
        ("x = 1\ndef f(:\n", (), "features.py:2: invalid syntax"),
        ("f = 1", ("transform.function=g",), "--set transform.function: "),
    ],
)
def test_mistakes_are_told_with_their_line(
    tmp_path: Path, text: str | None, assignments: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        found(loaded(tmp_path, text, *assignments))
    assert told in f"{caught.value} {caught.value.hint}"
