"""Outputs held against each other: the same bytes, the same values, or how they differ."""

import json
from pathlib import Path

import pytest

from pipeline.debugging.comparison import DIFFERS, NO_ORIGINAL, SAME, SAME_VALUES, Comparison, compare


def folder(root: Path, name: str, **files: object) -> str:
    made = root / name
    made.mkdir()
    for file, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (made / file).write_text(text)
    return str(made)


def test_bytes_then_values(tmp_path: Path) -> None:
    one = folder(tmp_path, "one", a={"x": 0.1, "n": 1, "l": [1.0, float("nan")]})
    assert compare("k", one, one) == Comparison("k", SAME)
    close = folder(tmp_path, "close", a={"x": 0.1 + 1e-12, "n": 1, "l": [1, float("nan")]})
    assert compare("k", one, close) == Comparison("k", SAME_VALUES)
    other = folder(tmp_path, "other", a={"x": 0.1001, "n": True, "l": [1.0], "m": None}, b="new")
    found = compare("k", one, other)
    assert found.verdict == DIFFERS and not found.same
    assert found.differences == (
        "'b' was not written, and is now",
        "'a' x: 0.1 was, 0.1001 is",
        "'a' l: [1.0, NaN] was, [1.0] is",
    )


def test_names_of_places_are_not_differences(tmp_path: Path) -> None:
    one = folder(tmp_path, "one", a={"path": "/serving/1"})
    other = folder(tmp_path, "other", a={"path": "/replay/1"})
    assert compare("k", one, other).verdict == DIFFERS
    assert compare("k", one, other, {"/replay": "/serving"}).verdict == SAME


def test_other_files_are_counted_in_bytes_and_many_values_cut_short(tmp_path: Path) -> None:
    one = folder(tmp_path, "one", a="not json", b={str(n): n for n in range(9)})
    other = folder(tmp_path, "other", a="nor this one", b={str(n): n + 1 for n in range(9)})
    first, *values, last = compare("k", one, other).differences
    assert first == "'a' differs: 8 bytes were, 12 are"
    assert values[0] == "'b' 0: 0 was, 1 is" and len(values) == 5
    assert last == "'b': and 4 more values"


@pytest.mark.parametrize("gone", [True, False])
def test_an_original_that_is_not_there(tmp_path: Path, gone: bool) -> None:
    one = folder(tmp_path, "one", a="x")
    original = str(tmp_path / "gone") if gone else folder(tmp_path, "empty")
    found = compare("k", original, one)
    assert found.verdict == NO_ORIGINAL and not found.same
    assert original in found.differences[0]
