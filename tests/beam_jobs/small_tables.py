"""Small Parquet tables for the prepare job's tests, and the job itself run on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from parquet_parts import pieces, write_part

from beam_jobs import progress
from beam_jobs.ledger import Ledger
from beam_jobs.prepare import Prepare, PrepareConfig
from beam_jobs.sql import check_query
from beam_jobs.table import ROW, Origin, Table

TWO_THREADS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
IN_MEMORY = ("--direct_running_mode=in_memory",)


def write_source(
    folder: Path, rows: pa.Table, parts: int = 1, row_group_rows: int = 50, stores_rows: bool = False
) -> Table:
    """Writes `rows` as Parquet files; with `stores_rows` they carry `_row`, as what ingest writes does."""
    written, origins = [], []
    for chunk, (start, piece) in enumerate(pieces(rows, parts)):
        path = str(folder / f"part-{chunk:06d}.parquet")
        written.append(write_part(folder, path, piece, chunk, "", row_group_rows, stores_rows))
        origins.append(Origin(chunk, "source.csv", start, start + piece.num_rows, "rows"))
    ledger = Ledger(read=rows.num_rows, kept=rows.num_rows, written=rows.num_rows)
    return Table(str(folder), rows.schema, tuple(written), stores_rows, ledger, tuple(origins))


def prepare(
    root: Path | str,
    sql: str,
    tables: Mapping[str, Table],
    partition_by: Sequence[str] = (),
    running: Sequence[str] = TWO_THREADS,
    **settings: Any,
) -> Table:
    """Runs a step named 'step' whose stream is the first table; returns what it published."""
    stream, *others = tables
    schemas = {name: table.schema for name, table in tables.items()}
    query = check_query("step", sql, stream, schemas, partition_by)
    config = PrepareConfig("step", query, str(root), **settings)
    options = PipelineOptions(["--runner=FnApiRunner", *running])
    with progress.original_errors(), beam.Pipeline(options=options) as pipeline:
        _ = pipeline | Prepare(config, tables[stream], {name: tables[name] for name in others})
    return Table.load(str(root))


def stored(table: Table, split: str | None = None) -> pa.Table:
    """All rows of a table (or of one split), `_row` last, sorted by it."""
    parts = [part for part in table.parts if split is None or part.split == split]
    whole = pa.concat_tables([pq.ParquetFile(table.path(part)).read() for part in parts])
    return whole.sort_by(ROW)
