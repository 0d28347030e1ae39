"""The scoring job: predictions with the rows' identity, what is counted on the way, and samples of a table."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from small_tables import TWO_THREADS, stored, write_source

from beam_jobs import progress
from beam_jobs.errors import DataError
from beam_jobs.kernel import PrepareConfig
from beam_jobs.score import SAMPLED_PLACES, Score, sampled, tallied
from beam_jobs.sql import check_query
from beam_jobs.table import Table

SCHEMA = pa.schema([("prediction", pa.float64())])


@dataclass(frozen=True)
class Linear:
    """A model of one weight; counts negative answers."""

    weight: float
    schema: pa.Schema = SCHEMA

    def __call__(self, batch: pa.RecordBatch, tally: Counter[str]) -> pa.RecordBatch:
        answers = pc.multiply(batch.column("x"), self.weight)
        tally["negative"] += pc.sum(pc.less(answers, 0)).as_py() or 0
        return pa.RecordBatch.from_arrays([answers], schema=self.schema)


def job(root: Path | str, sql: str, tables: Mapping[str, Table], **settings: Any) -> PrepareConfig:
    stream = next(iter(tables))
    query = check_query("score", sql, stream, {name: table.schema for name, table in tables.items()})
    return PrepareConfig("score", query, str(root), **settings)


def score(root: Path, sql: str, tables: Mapping[str, Table]) -> Table:
    config, stream = job(root, sql, tables), next(iter(tables))
    options = PipelineOptions(["--runner=FnApiRunner", *TWO_THREADS])
    with progress.original_errors(), beam.Pipeline(options=options) as pipeline:
        _ = pipeline | Score(config, tables[stream], tables, functools.partial(Linear, 2.0), SCHEMA)
    return Table.load(str(root))


def numbers(rows: int) -> pa.Table:
    values = np.arange(rows) - 10.0
    return pa.table({"id": np.arange(rows), "x": values, "other": [f"v{i}" for i in range(rows)]})


@pytest.mark.parametrize("stores_rows", [False, True])
def test_each_row_that_the_query_keeps_has_its_prediction(tmp_path: Path, stores_rows: bool) -> None:
    source = write_source(tmp_path / "in", numbers(500), parts=3, stores_rows=stores_rows)
    written = score(tmp_path / "out", "SELECT x FROM t WHERE id % 5 <> 0", {"t": source})
    assert written.schema == SCHEMA
    assert written.ledger.to_dict() | {"merged": 0} == {
        "read": 500, "rejected": 0, "filtered": 100, "merged": 0, "kept": 400, "multiplied": 0, "written": 400,
    }  # fmt: skip
    rows = stored(written)
    chunks = np.asarray(rows["_row"]) >> 32
    assert np.bincount(chunks).sum() == 400
    expected = numbers(500).filter(pc.not_equal(pc.bit_wise_and(pa.array(np.arange(500) % 5), 7), 0))["x"]
    assert rows["prediction"].to_pylist() == pc.multiply(expected, 2.0).to_pylist()


def test_what_is_counted_is_summed_over_the_chunks(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", numbers(300), parts=4)
    assert tallied(score(tmp_path / "out", "SELECT x FROM t", {"t": source})) == {"negative": 10}


def test_a_value_that_the_query_refuses_is_told_by_its_row(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", numbers(200), parts=2)
    with pytest.raises(DataError, match=r"Step 'score' failed on row 38 of .*part-000001.parquet"):
        score(
            tmp_path / "out",
            "SELECT CASE WHEN id = 137 THEN CAST(other AS DOUBLE) ELSE x END AS x FROM t",
            {"t": source},
        )
    assert not (tmp_path / "out" / "table.json").exists()


def test_a_sample_is_taken_from_places_all_over_the_table(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", numbers(10_000), parts=50, row_group_rows=200)
    config = job("", "SELECT id FROM t", {"t": source})
    batches = list(sampled(config, source, {"t": source}, 480))
    ids = np.concatenate([batch.column(0).to_numpy() for batch in batches])
    assert len(ids) == len(set(ids.tolist())) == 480
    assert len({int(value) // 200 for value in ids}) == SAMPLED_PLACES
    assert ids.max() > 9_000


def test_a_sample_of_a_small_table_is_all_of_it(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", numbers(70), parts=2, stores_rows=True)
    config = job("", "SELECT id FROM t WHERE id >= 20", {"t": source})
    assert sum(batch.num_rows for batch in sampled(config, source, {"t": source}, 1_000)) == 50


def test_a_sample_that_the_query_refuses_tells_the_row(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", numbers(70))
    config = job("", "SELECT CAST(other AS DOUBLE) AS x FROM t", {"t": source})
    with pytest.raises(DataError, match="Step 'score' failed on row 1 of"):
        list(sampled(config, source, {"t": source}, 10))
