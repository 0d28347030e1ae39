"""The label: which task it sets, its classes, and the rows that lack it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import listed, nearest
from beam_jobs.table import Table, read_batches
from components import encoding
from components.errors import StepError
from components.model_contract import ClassValue, Task

MOST_INTEGER_CLASSES = 20
MOST_CLASSES = 100
TASKS = ("auto", "binary", "multiclass", "regression")


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes:
      classes: the label's values in the order of their codes, sorted; empty for a regression.
    """

    label: str
    task: Task
    classes: tuple[ClassValue, ...]


@dataclass
class LabelCounts:
    """Rows of a split by their label.

    Attributes:
      labelled: rows that have a usable label.
      missing: rows whose label is null or not finite.
      unseen: rows whose label is a class that the train split does not have, by that class.
    """

    labelled: int = 0
    missing: int = 0
    unseen: Counter[str] = field(default_factory=Counter)

    def add(self, column: pa.Array, classes: tuple[ClassValue, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Counts a batch's labels and returns their codes: shape (rows,), NaN where there is none."""
        codes = encoding.label_codes(column, classes)
        labelled = int(np.isfinite(codes).sum())
        unseen = encoding.unseen_labels(column, classes) if labelled < len(codes) else {}
        self.labelled += labelled
        self.unseen.update(unseen)
        self.missing += len(codes) - labelled - sum(unseen.values())
        return codes

    @property
    def left_out(self) -> int:
        """Rows that cannot be learned from or judged."""
        return self.missing + self.unseen.total()

    def warnings(self, split: str, label: str) -> list[str]:
        """A sentence for each kind of row that is left out."""
        told = []
        if self.missing:
            told.append(f"{self.missing:,} rows of '{split}' have no '{label}' and are left out.")
        if self.unseen:
            values = listed(repr(value) for value in sorted(self.unseen))
            told.append(
                f"{self.unseen.total():,} rows of '{split}' hold a '{label}' that 'train' never does ({values}): left out."
            )
        return told


def count_labels(table: Table, split: str, target: Target) -> LabelCounts:
    """Counts the labels of a split, reading that column only."""
    counts = LabelCounts()
    for batch in read_batches(table, split, [target.label]):
        counts.add(batch.column(0), target.classes)
    return counts


def fit_target(table: Table, label: str, task: str = "auto", split: str = "train") -> Target:
    """Finds the task and the classes from the label's values in one split, all of its rows.

    `auto` takes booleans, and text or integers (or floats that are all 0 or 1) of two values, as binary; text of up to 100
    values and integers of up to 20 as multi-class; other numbers as a regression.

    Raises:
      StepError: the label's column is missing, null everywhere, constant, or does not fit the task.
    """
    if task not in TASKS:
        raise StepError(f"There is no task '{task}'.{nearest(task, TASKS)}", f"Tasks: {listed(TASKS)}.")
    if label not in table.schema.names:
        raise StepError(
            f"The examples have no column '{label}' to be the label.{nearest(label, table.schema.names)}",
            f"They have: {listed(table.schema.names)}.",
        )
    values = _distinct(table, label, split)
    if not values:
        raise StepError(
            f"The label '{label}' has no value in any row of '{split}'.",
            "Check the column's null spellings and the SQL that derives it.",
        )
    if len(values) == 1:
        raise StepError(
            f"The label '{label}' is constant: every row of '{split}' that has one holds {next(iter(values))!r}.",
            "A model needs two values to tell apart; check the SQL that derives the label, and the split.",
        )
    return target_of(label, table.schema.field(label).type, sorted(values), task)


def _distinct(table: Table, label: str, split: str) -> set[Any]:
    """The label's distinct values, in all or, where they are too many to be classes, only some of them."""
    values: set[Any] = set()
    for batch in read_batches(table, split, [label]):
        column = encoding.plain(batch.column(0)).drop_null()
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        if pa.types.is_floating(column.type):
            column = column.filter(pc.is_finite(column))
        values.update(pc.unique(column).slice(0, 10 * MOST_CLASSES).to_pylist())
        if len(values) > MOST_CLASSES:
            break
    return values


def target_of(label: str, column_type: pa.DataType, values: list[Any], asked: str = "auto") -> Target:
    """The task and the classes of a label whose distinct values, sorted, are known.

    Raises:
      StepError: they do not fit the task.
    """
    value_type = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    kind = encoding.kind_of(value_type)
    seen = f"'{label}' ({value_type}) holds {_shown(values)}"
    if kind in ("time", None):
        raise StepError(
            f"A label of this type cannot be learned: {seen}.", "Derive a number, a boolean or a text from it in SQL."
        )
    task = cast(
        Task, _natural_task(kind == "numeric", pa.types.is_integer(value_type), values) if asked == "auto" else asked
    )
    if task == "regression":
        if kind != "numeric":
            raise StepError(f"The task 'regression' needs numbers: {seen}.", "Use task: auto, or another label.")
        return Target(label, task, ())
    if task == "binary" and len(values) != 2:
        raise StepError(f"The task 'binary' needs a label of two values: {seen}.", "Use task: auto, or derive a label.")
    if len(values) > MOST_CLASSES:
        raise StepError(
            f"These are too many classes, {MOST_CLASSES} is the most: {seen}.",
            "Group the values in SQL, or choose another label.",
        )
    return Target(label, task, tuple(values))


def _shown(values: list[Any]) -> str:
    if len(values) <= MOST_CLASSES:
        return listed(map(repr, values), 8)
    return f"more than {MOST_CLASSES} different values, such as {values[0]!r} and {values[1]!r}"


def _natural_task(numeric: bool, integer: bool, values: list[Any]) -> str:
    if not numeric or (integer and len(values) <= MOST_INTEGER_CLASSES):
        return "binary" if len(values) == 2 else "multiclass"
    return "binary" if values == [0.0, 1.0] else "regression"
