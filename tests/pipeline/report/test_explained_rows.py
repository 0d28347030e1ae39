"""The explained rows that a page holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.explanations import Summary
from pipeline.report import explained_rows
from tests.pipeline.report.report_world import Texts, write_explanations


def rows_of(folder: Path, **wishes: Any) -> dict[str, Any]:
    write_explanations(folder / "explained", Texts(), **wishes)
    return explained_rows.read(str(folder / "explained"), Summary.load(str(folder / "explained")))


def test_rows_are_those_of_the_table(tmp_path: Path) -> None:
    found = rows_of(tmp_path, rows=4)
    assert found["id"] == [str(2**40 + row) for row in range(4)]  # whole, where JavaScript's numbers would end
    assert found["label"] == ["True", "False", None, "True"]
    assert found["values"] == [[None, "0", "0"], ["EWR", "1.5", "1.5"], ["EWR", "3", "3"], ["EWR", "4.5", "4.5"]]
    assert found["contributions"][0] == [[-2.0, -1.0, -0.66667, 0.0]]
    assert found["bias"] == [[-0.5]] * 4
    assert (found["features"], found["others"], found["of_rows"]) == (["wind", "f1", "f2"], 0, 4)


@pytest.mark.parametrize(
    ("task", "errors"),
    [
        ("binary", [0.9, 0.2, None]),  # of True with 0.1, of False with 0.2, without a label
        ("multiclass", [0.9, 0.7, None]),  # 'low' with 0.1, 'mid' with 0.3, a class that the model does not know
        ("regression", [0.1, 0.8, 1.7]),
    ],
)
def test_the_error_is_the_distance_from_the_label(tmp_path: Path, task: str, errors: list[float | None]) -> None:
    assert rows_of(tmp_path, rows=3, task=task)["error"] == [
        None if error is None else pytest.approx(error, abs=1e-4) for error in errors
    ]


def test_every_class_has_its_contributions(tmp_path: Path) -> None:
    found = rows_of(tmp_path, rows=3, task="multiclass")
    assert np.shape(found["contributions"]) == (3, 3, 4)
    assert [contributions[0] for contributions in found["contributions"][1]] == [-1.0, 0.0, 1.0]
    assert found["classes"] == ["low", "mid", "high"]


def test_a_page_holds_so_many_rows_spread_over_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explained_rows, "MOST_CELLS", 40)
    found = rows_of(tmp_path, rows=100)
    assert [int(id_) - 2**40 for id_ in found["id"]] == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert found["of_rows"] == 100


def test_features_that_matter_little_are_one_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = rows_of(tmp_path, rows=5, features=6)
    monkeypatch.setattr(explained_rows, "MOST_FEATURES", 2)
    found = rows_of(tmp_path, rows=5, features=6)
    assert (found["features"], found["others"]) == (["wind", "f1"], 4)
    assert np.sum(found["contributions"], axis=2) == pytest.approx(np.sum(every["contributions"], axis=2), abs=1e-3)
    assert found["contributions"][4][0][2] == pytest.approx(sum(every["contributions"][4][0][2:]), abs=1e-3)


def test_no_rows_at_all(tmp_path: Path) -> None:
    found = rows_of(tmp_path, rows=0)
    assert (found["id"], found["contributions"], found["error"]) == ([], [], [])
