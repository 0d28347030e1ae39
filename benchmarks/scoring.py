"""Bulk scoring of flights, against reading the same columns with pyarrow and calling the booster in a bare loop.

The bare loop reads prepared rows, encodes them, predicts and drops the answers. Braid's job reads the same rows through
its fused function and writes predictions with their `_row`; once more it reads raw flights and runs the SQL, joins with
weather and planes included, on the way. Memory is that of the whole process at 1 and at 10 times the rows.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import flights_rows
from benchmarks.measure import CACHE, compare, run_once, table, work

MODULE = "benchmarks.scoring"
ROUNDS, SAMPLE_ROWS, WORKERS = 400, 300_000, 2
PARAMETERS = {"eta": 0.1, "max_depth": 7, "min_child_weight": 20, "objective": "binary:logistic", "tree_method": "hist"}
QUERY = """
SELECT
  f.carrier, f.origin, f.dest, f.distance, f.hour, f.minute, f.sched_dep_time, f.sched_arr_time,
  isodow(make_date(f.year, f.month, f.day)) AS weekday,
  w.temp, w.dewp, w.humid, w.wind_dir, w.wind_speed, w.wind_gust, w.precip, w.pressure, w.visib,
  p.year AS built, p.seats, p.engines, p.manufacturer,
  f.arr_delay > 15 AS late
FROM flights f
LEFT JOIN weather w ON f.origin = w.origin AND f.time_hour = w.time_hour
LEFT JOIN planes p ON f.tailnum = p.tailnum
WHERE f.arr_delay IS NOT NULL
"""
LABEL = "late"


def sources(times: int) -> dict[str, Any]:
    """The three tables as Ingest registers them."""
    from beam_jobs import ingest
    from beam_jobs.sources import SourceConfig

    found = {}
    for name, path in flights_rows.tables(times).items():
        root = os.path.join(CACHE, f"flights-x{times}", f"table-{name}")
        found[name] = ingest.parquet_table(SourceConfig(name, path), root)
    return found


def examples(times: int) -> Any:
    """The prepared rows, without splits; made once."""
    import apache_beam as beam

    from beam_jobs.prepare import Prepare, PrepareConfig
    from beam_jobs.sql import check_query
    from beam_jobs.table import Table

    root = os.path.join(CACHE, f"flights-x{times}", "examples")
    if not os.path.exists(os.path.join(root, "table.json")):
        tables = sources(times)
        query = check_query("examples", QUERY, "flights", {name: found.schema for name, found in tables.items()})
        with beam.Pipeline(options=options()) as pipeline:
            _ = pipeline | Prepare(PrepareConfig("examples", query, root), tables["flights"], tables)
    return Table.load(root)


def options() -> Any:
    """Beam's options, as a run of Braid has them."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(
        ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", f"--direct_num_workers={WORKERS}"]
    )


def model() -> str:
    """A folder with a booster of 400 rounds and its contract; made once."""
    import xgboost

    from beam_jobs.table import read_table
    from components import encoding
    from components.model_contract import MODEL, ModelContract

    folder = os.path.join(CACHE, "flights-model")
    if os.path.exists(os.path.join(folder, MODEL)):
        return folder
    rows = read_table(examples(1)).slice(0, SAMPLE_ROWS)
    names = [name for name in rows.schema.names if name != LABEL]
    texts = [name for name in names if encoding.kind_of(rows.schema.field(name).type) == "category"]
    features = encoding.features_of(rows.schema, names, encoding.fit_vocabularies(rows.to_batches(), texts))
    contract = ModelContract("binary", LABEL, (False, True), features)
    data = xgboost.QuantileDMatrix(
        encoding.matrix(rows, contract),
        encoding.labels(rows, contract),
        feature_types=contract.feature_types,
        enable_categorical=True,
    )
    booster = xgboost.train({**PARAMETERS, "nthread": 2, "seed": 0}, data, ROUNDS)
    os.makedirs(folder, exist_ok=True)
    contract.save(folder)
    booster.save_model(os.path.join(folder, MODEL))
    return folder


def bare(times: str) -> None:
    """pyarrow and xgboost alone, over prepared rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import xgboost

    from components.model_contract import MODEL, ModelContract

    folder, read = model(), examples(int(times))
    features = ModelContract.load(folder).features
    booster = xgboost.Booster(params={"nthread": 1})
    booster.load_model(os.path.join(folder, MODEL))
    texts = [feature.name for feature in features if feature.kind == "category"]
    codes = {f.name: {value: code for code, value in enumerate(f.vocabulary)} for f in features}

    def encoded(column: pa.Array, name: str) -> Any:
        if name not in texts:
            return column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
        values = np.array([codes[name].get(v, np.nan) for v in column.dictionary.to_pylist()] + [np.nan], np.float32)
        return values[column.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)]

    with work() as facts:
        total, rows = 0.0, 0
        for part in read.parts:
            file = pq.ParquetFile(read.path(part), read_dictionary=texts)
            for batch in file.iter_batches(131_072, columns=[f.name for f in features]):
                x = np.empty((len(batch), len(features)), np.float32, "F")
                for place, feature in enumerate(features):
                    x[:, place] = encoded(batch.column(feature.name), feature.name)
                total += float(booster.inplace_predict(x).sum(dtype=np.float64))
                rows += len(batch)
        facts |= {"rows": rows, "mean": round(total / rows, 9)}


def braid(times: str, what: str) -> None:
    """Braid's job, over prepared rows or over raw flights."""
    import functools

    import apache_beam as beam
    import numpy as np

    from beam_jobs.score import Score
    from beam_jobs.sql_narrowing import projected
    from beam_jobs.table import Table, read_batches
    from components.model_contract import ModelContract
    from components.prediction_columns import Wanted, schema_of
    from components.scorer.predictions import predicting
    from components.scorer.scoring_config import ScoringConfig

    folder = model()
    tables = sources(int(times)) if what == "sql" else {"examples": examples(int(times))}
    contract = ModelContract.load(folder)
    query = QUERY if what == "sql" else "SELECT * FROM examples"
    config = ScoringConfig(stream="flights" if what == "sql" else "examples", sql=projected(query, contract.names))
    output = tempfile.mkdtemp()
    try:
        with work() as facts:
            job = config.step("score", {name: found.schema for name, found in tables.items()}, output)
            schema = schema_of(contract, Wanted(), job.query.output)
            finishing = functools.partial(predicting, folder, Wanted(), schema)
            with beam.Pipeline(options=options()) as pipeline:
                _ = pipeline | Score(job, tables[config.stream], tables, finishing, schema)
        written = Table.load(output)
        total = sum(
            float(np.asarray(b.column(0)).sum(dtype=np.float64)) for b in read_batches(written, columns=["prediction"])
        )
        print(json.dumps({"rows": written.rows, "mean": round(total / written.rows, 9)}), file=sys.stderr)
        facts |= {"rows": written.rows}
    finally:
        shutil.rmtree(output)


def main() -> None:
    """Prints CPU and wall time at ten times the flights, and memory at one and at ten times."""
    for times in (1, 10):
        examples(times)
    model()
    contenders: dict[str, Sequence[str]] = {
        "bare loop, prepared rows": ("bare", "10"),
        "Braid, prepared rows": ("braid", "10", "prepared"),
        "Braid, raw rows and SQL": ("braid", "10", "sql"),
    }
    measured = compare(MODULE, contenders, 3)
    rows = measured["bare loop, prepared rows"].facts["rows"]
    table(f"Scoring {rows:,} flights, {ROUNDS} trees (medians of 3)", measured, "bare loop, prepared rows")
    print("\npeak memory of the process, MB")
    for name, (kind, _, *what) in contenders.items():
        once = run_once(MODULE, (kind, "1", *what))
        print(f"  {name:28} 1x {once.peak_mb:6.0f}   10x {measured[name].peak_mb:6.0f}")


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(sys.argv[2])
    else:
        braid(sys.argv[2], sys.argv[3])
