"""Jobs over tables of a few thousand rows, here and in a bucket, to be run by any runner."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from bucket import Bucket
from parquet_parts import pieces, write_part

from beam_jobs.folder_digest import folder_digest
from beam_jobs.ledger import Ledger
from beam_jobs.prepare import Prepare, PrepareConfig
from beam_jobs.splits import Split, SplitByHash
from beam_jobs.sql import check_query
from beam_jobs.table import Table

ROWS = 4_000
FLIGHTS = pa.table(
    {
        "day": [datetime.date(2013, 1, 1) + datetime.timedelta(n % 365) for n in range(ROWS)],
        "flight": [str(n) for n in range(ROWS)],
        "tail": [f"N{n % 7}" if n % 11 else None for n in range(ROWS)],
        "delay": [n % 60 - 10 if n % 13 else None for n in range(ROWS)],
    }
)
PLANES = pa.table({"tail": [f"N{n}" for n in range(5)], "seats": [100 + n for n in range(5)]})
JOIN = "SELECT f.*, p.seats, delay > 15 AS late FROM flights f LEFT JOIN planes p USING (tail) WHERE delay IS NOT NULL"
DELAYS = "SELECT tail, day, avg(delay) AS mean_delay, count(*) AS flights FROM flights GROUP BY tail, day"
FAILING = "SELECT CAST(replace(flight, '3210', 'x') AS BIGINT) AS number, delay FROM flights"
SPLIT = SplitByHash(("flight",), {"train": 0.8, "eval": 0.2})
LOCAL = ("--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=2")


def write_tables(folder: Path) -> dict[str, Table]:
    """Flights in two files of ten row groups each, and planes."""
    return {"flights": _written(folder / "flights", FLIGHTS, 2), "planes": _written(folder / "planes", PLANES, 1)}


def _written(folder: Path, rows: pa.Table, parts: int) -> Table:
    written = [
        write_part(folder, f"part-{chunk:06d}.parquet", piece, chunk, "", 200, stores_rows=False)
        for chunk, (_, piece) in enumerate(pieces(rows, parts))
    ]
    ledger = Ledger(read=rows.num_rows, kept=rows.num_rows, written=rows.num_rows)
    return Table(str(folder), rows.schema, tuple(written), False, ledger)


def uploaded(bucket: Bucket, tables: Mapping[str, Table]) -> dict[str, Table]:
    """The same tables in the bucket."""
    for name, table in tables.items():
        for part in table.parts:
            bucket.put(f"{name}/{part.path}", Path(table.path(part)).read_bytes())
    return {name: dataclasses.replace(table, root=f"{bucket.url}/{name}") for name, table in tables.items()}


def prepare_job(
    tables: Mapping[str, Table],
    root: str,
    sql: str = JOIN,
    partition_by: Sequence[str] = (),
    split: Split | None = None,
) -> Prepare:
    """A prepare step named 'step' whose stream is the first table."""
    stream, *others = tables
    query = check_query("step", sql, stream, {name: table.schema for name, table in tables.items()}, partition_by)
    config = PrepareConfig("step", query, root, split=split, chunk_rows=400, partition_rows=500)
    return Prepare(config, tables[stream], {name: tables[name] for name in others})


def downloaded(bucket: Bucket, folder: str, to: Path) -> Path:
    """A folder of the bucket as files."""
    for name in bucket.names:
        if name.startswith(f"{folder}/"):
            path = to / name.removeprefix(f"{folder}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bucket.get(name))
    return to


def digest(folder: Path | str) -> str:
    """Of all that the folder holds."""
    return folder_digest(str(folder)).digest
