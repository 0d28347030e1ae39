"""Examples, a transform and a Keras model that several test modules share, made once a process."""

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from beam_jobs.table import Table
from components.importances import FeatureImportance, Importances
from components.keras_trainer.training import TrainingConfig, TrainingReport, train
from components.model_contract import Task
from tests.components.examples_factory import flights_like, write_examples
from tests.components.transform_factory import write_transform

KEPT = ["wind", "hour", "carrier", "seats", "weekend", "day"]
"""A skewed number, another one, a text, a number with missing values, a flag and a date."""
QUICK = TrainingConfig(threads=2, epochs=4, parameters={"batch_rows": 256, "learning_rate": 0.01, "hidden": [16]})
_made = tempfile.TemporaryDirectory(prefix="keras-tests-")


def importances(kept: list[str], label: str, task: Task, classes: tuple = ()) -> Importances:
    features = tuple(FeatureImportance(name, 0.1, 0.1, 0.0, rank, True, "") for rank, name in enumerate(kept, 1))
    return Importances(label, task, classes, features)


LATE = importances(KEPT, "late", "binary", (False, True))


@dataclass(frozen=True)
class Prepared:
    """Examples with the transform of their kept columns."""

    table: Table
    transform: str
    importances: Importances

    def train(self, folder: Path, config: TrainingConfig = QUICK, **more: object) -> TrainingReport:
        return train(self.table, self.importances, self.transform, config, str(folder), **more)


def prepared(name: str, splits: dict[str, pa.Table], of: Importances, row_group_rows: int = 1_000) -> Prepared:
    folder = Path(_made.name) / name
    table = write_examples(folder / "examples", splits, row_group_rows=row_group_rows)
    return Prepared(table, write_transform(folder / "transform", table, of), of)


@functools.cache
def flights() -> Prepared:
    """A binary task, with missing numbers, and dates."""
    rows = {"train": flights_like(6_000, 1), "eval": flights_like(2_000, 2), "test": with_oddities(10_000)}
    return prepared("flights", rows, LATE)


@functools.cache
def flights_model() -> str:
    """The folder of a model of `flights`."""
    folder = Path(_made.name) / "flights-model"
    flights().train(folder)
    return str(folder)


def with_oddities(rows: int) -> pa.Table:
    """Rows with missing values in every column, categories that training never saw, and dates far off."""
    table, rng = flights_like(rows, 3), np.random.default_rng(7)
    for name in ("wind", "hour", "weekend", "day"):
        kept = pa.array(rng.random(rows) > 0.1)
        column = table[name].combine_chunks()
        table = table.set_column(
            table.schema.get_field_index(name),
            name,
            pa.array(
                [v if k else None for v, k in zip(column.to_pylist(), kept.to_pylist(), strict=True)], column.type
            ),
        )
    carriers = rng.choice(["UA", "AA", "EV", "ZZ", "", "Ünknown"], rows)
    texts = pa.array([None if miss else str(text) for text, miss in zip(carriers, rng.random(rows) < 0.1, strict=True)])
    return table.set_column(table.schema.get_field_index("carrier"), "carrier", texts.dictionary_encode())
