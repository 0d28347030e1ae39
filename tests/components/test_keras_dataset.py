from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from beam_jobs.errors import DataError
from beam_jobs.table import Table
from components.errors import StepError
from components.keras_trainer.dataset import Rows, TransformedSplit
from components.keras_trainer.training_data import contract_of
from components.keras_trainer.transform_graph import TransformGraph
from tests.components import keras_factory
from tests.components.examples_factory import flights_like, write_examples


@pytest.fixture(scope="module")
def transform() -> TransformGraph:
    made = keras_factory.flights()
    return TransformGraph(made.transform, contract_of(made.table, made.importances).features)


def split(
    transform: TransformGraph, table: Table | None = None, cached: bool = True, pool_bytes: int = 1 << 20
) -> TransformedSplit:
    table = keras_factory.flights().table if table is None else table
    made = TransformedSplit(table, "train", contract_of(table, keras_factory.LATE), transform, cached, pool_bytes)
    for _ in made.in_order():
        pass
    return made


def marks(batches: list[Rows]) -> np.ndarray:
    """A number a row that tells it from all others: its wind, which is drawn from a continuous distribution."""
    return np.concatenate([rows.inputs["wind"] for rows in batches])


@pytest.mark.parametrize("cached", [True, False])
def test_an_epoch_gives_every_row_once_in_batches_in_an_order_that_the_seed_sets(
    transform: TransformGraph, cached: bool
) -> None:
    rows = split(transform, cached=cached)
    once, again, other = (list(rows.batches(256, seed)) for seed in (1, 1, 2))
    assert [len(batch) for batch in once] == [256] * 23 + [112]
    np.testing.assert_array_equal(marks(once), marks(again))
    assert not np.array_equal(marks(once), marks(other))
    np.testing.assert_array_equal(np.sort(marks(once)), np.sort(marks(list(rows.in_order()))))


@pytest.mark.parametrize("cached", [True, False])
def test_a_batch_mixes_rows_of_all_files_and_row_groups(
    transform: TransformGraph, tmp_path: Path, cached: bool
) -> None:
    rows = flights_like(24_000, 4)
    rows = rows.set_column(0, "wind", pa.array(np.arange(24_000, dtype=np.float64)))
    table = write_examples(tmp_path, {"train": rows}, parts=3, row_group_rows=500)
    first = next(iter(split(transform, table, cached).batches(512, 0)))
    at = np.sort(first.inputs["wind"])
    spread = (at - at.min()) / (at.max() - at.min())
    # Uniform over everything that the pool held; each sixteenth of the range is there.
    assert len(np.unique((spread * 15.99).astype(int))) == 16


def test_a_small_pool_gives_every_row_all_the_same(transform: TransformGraph, tmp_path: Path) -> None:
    table = write_examples(tmp_path, {"train": flights_like(70_000, 5)}, parts=2, row_group_rows=9_000)
    rows = split(transform, table, cached=False, pool_bytes=1)
    batches = list(rows.batches(1_000, 3))
    assert [len(batch) for batch in batches] == [1_000] * 70
    np.testing.assert_array_equal(np.sort(marks(batches)), np.sort(marks(list(rows.in_order()))))


def test_labels_stay_with_their_rows(transform: TransformGraph) -> None:
    rows = split(transform)
    ordered, shuffled = Rows.concat(list(rows.in_order())), Rows.concat(list(rows.batches(100, 9)))
    by_mark = dict(zip(ordered.inputs["wind"].tolist(), ordered.labels.tolist(), strict=True))
    assert [by_mark[mark] for mark in shuffled.inputs["wind"].tolist()] == shuffled.labels.tolist()


def test_rows_without_a_usable_label_are_left_out_and_counted(transform: TransformGraph, tmp_path: Path) -> None:
    rows = flights_like(100, 6)
    late = [None if n < 10 else value for n, value in enumerate(rows["late"].to_pylist())]
    table = write_examples(tmp_path, {"train": rows.set_column(rows.num_columns - 1, "late", pa.array(late))})
    found = split(transform, table)
    assert (found.counts.labelled, found.counts.missing) == (90, 10)
    assert sum(map(len, found.batches(32, 0))) == 90


def test_a_split_without_a_label_is_a_mistake(transform: TransformGraph, tmp_path: Path) -> None:
    rows = flights_like(50, 6)
    table = write_examples(tmp_path, {"train": rows.set_column(rows.num_columns - 1, "late", pa.nulls(50, pa.bool_()))})
    with pytest.raises(StepError, match="No row of the split 'train' has a usable label 'late'") as caught:
        split(transform, table)
    assert caught.value.hint.startswith("50 rows have none")


def test_tensorflow_gets_the_same_batches(transform: TransformGraph) -> None:
    rows = split(transform)
    for (inputs, labels), batch in zip(rows.dataset(512, 4).take(3), rows.batches(512, 4), strict=False):
        assert inputs["carrier"].dtype == tf.int64
        np.testing.assert_array_equal(labels, batch.labels)
        for name, values in batch.inputs.items():
            np.testing.assert_array_equal(inputs[name], values)


def test_a_file_that_goes_missing_while_tensorflow_reads_is_told_as_it_is(
    transform: TransformGraph, tmp_path: Path
) -> None:
    table = write_examples(tmp_path, {"train": flights_like(3_000, 6)})
    rows = split(transform, table, cached=False)
    for path in tmp_path.rglob("*.parquet"):
        path.unlink()
    with pytest.raises(tf.errors.OpError):
        list(rows.dataset(100, 0))
    assert isinstance(rows.failure, DataError)
    assert "part-00000" in str(rows.failure)


def test_a_transform_of_other_columns_is_refused() -> None:
    made = keras_factory.flights()
    other = contract_of(made.table, keras_factory.importances(["wind", "noise"], "late", "binary", (False, True)))
    with pytest.raises(StepError, match="made for other features than the model's: carrier, day, hour"):
        TransformGraph(made.transform, other.features)


def test_each_output_of_a_transform_is_traced_to_its_columns(transform: TransformGraph) -> None:
    sources = transform.raw_sources()
    assert sources["carrier"] == {"carrier"}
    assert sources["seats"] == sources["seats_missing"] == {"seats"}
    assert set(sources) == set(transform.columns)
    assert transform.columns["carrier"].ids == 6  # five carriers, and one id for all others
