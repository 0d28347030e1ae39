from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from components.errors import StepError
from components.target import count_labels, fit_target
from tests.components.examples_factory import write_examples


@pytest.mark.parametrize(
    ("values", "asked", "task", "classes"),
    [
        ([True, False, None] * 3, "auto", "binary", (False, True)),
        (["yes", "no"] * 3, "auto", "binary", ("no", "yes")),
        ([4, 2] * 3, "auto", "binary", (2, 4)),
        ([0.0, 1.0, float("nan")] * 3, "auto", "binary", (0.0, 1.0)),
        (["c", "a", "b"] * 3, "auto", "multiclass", ("a", "b", "c")),
        (list(range(20)), "auto", "multiclass", tuple(range(20))),
        (list(range(21)), "auto", "regression", ()),
        ([0.5, 1.0] * 3, "auto", "regression", ()),
        ([Decimal("1.5"), Decimal("2.5")], "auto", "regression", ()),
        ([1, 2, 3], "regression", "regression", ()),
        ([1.0, 2.0, 3.0], "multiclass", "multiclass", (1.0, 2.0, 3.0)),
    ],
)
def test_the_task_follows_from_the_labels(tmp_path: Path, values: list, asked: str, task: str, classes: tuple) -> None:
    table = write_examples(tmp_path, {"train": pa.table({"y": pa.array(values)})})
    target = fit_target(table, "y", asked)
    assert (target.task, target.classes) == (task, classes)


@pytest.mark.parametrize(
    ("values", "asked", "message"),
    [
        (pa.array([None, None], pa.int64()), "auto", "no value in any row of 'train'"),
        (pa.array([float("nan")] * 3), "auto", "no value in any row of 'train'"),
        (pa.array([3, 3, None]), "auto", "constant: every row of 'train' that has one holds 3"),
        (pa.array(["a", "b", "c"]), "binary", r"needs a label of two values: 'y' \(string\) holds 'a', 'b', 'c'"),
        (pa.array(["a", "b"]), "regression", "needs numbers"),
        (pa.array([f"n{i}" for i in range(101)]), "auto", "too many classes, 100 is the most"),
        (pa.array([1, 2], pa.date32()), "auto", "cannot be learned"),
        (pa.array([1, 2]), "binray", "no task 'binray'. Did you mean 'binary'"),
    ],
)
def test_a_label_that_cannot_be_learned_is_explained(
    tmp_path: Path, values: pa.Array, asked: str, message: str
) -> None:
    table = write_examples(tmp_path, {"train": pa.table({"y": values})})
    with pytest.raises(StepError, match=message):
        fit_target(table, "y", asked)


def test_a_misspelt_label_is_named(tmp_path: Path) -> None:
    table = write_examples(tmp_path, {"train": pa.table({"late": [True, False]})})
    with pytest.raises(StepError, match=r"no column 'lat' to be the label. Did you mean 'late'"):
        fit_target(table, "lat")


def test_rows_without_a_usable_label_are_counted(tmp_path: Path) -> None:
    train = pa.table({"y": ["a", "b", "a", None]})
    evaluation = pa.table({"y": ["a", "q", None, "q"]})
    table = write_examples(tmp_path, {"train": train, "eval": evaluation})
    counts = count_labels(table, "eval", fit_target(table, "y"))
    assert (counts.labelled, counts.missing, dict(counts.unseen), counts.left_out) == (1, 1, {"q": 2}, 3)
    first, second = counts.warnings("eval", "y")
    assert first == "1 rows of 'eval' have no 'y' and are left out."
    assert "2 rows of 'eval' hold a 'y' that 'train' never does ('q')" in second
