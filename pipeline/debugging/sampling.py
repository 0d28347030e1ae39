"""Tables cut down for a replay: the first rows of each split, under the `_row` that they always had."""

import dataclasses
import os

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import storage
from beam_jobs.chunks import chunks_of, read_chunk
from beam_jobs.ledger import Ledger
from beam_jobs.table import MANIFEST, ROW, Part, Table


def is_table(uri: str) -> bool:
    """Whether a folder holds a table of Braid's."""
    return storage.exists(f"{uri.rstrip('/')}/{MANIFEST}")


def sample(uri: str, folder: str, rows: int, cut: bool) -> str:
    """Writes a table's first rows, up to so many of each split, as a table of its own; says how many it kept.

    Args:
      uri: the table.
      folder: where to.
      rows: of each split.
      cut: False copies the table whole.
    """
    table = Table.load(uri)
    most = rows if cut else table.rows
    parts = [_part(table, split, folder, most, number) for number, split in enumerate(table.splits)]
    kept = tuple(part for part in parts if part.rows)
    count = sum(part.rows for part in kept)
    ledger = Ledger(read=count, kept=count, written=count)
    dataclasses.replace(table, root=folder, parts=kept, stores_rows=True, ledger=ledger).save()
    return f"{count:,} of {table.rows:,} rows"


def _part(table: Table, split: str, folder: str, most: int, number: int) -> Part:
    """The rows of one split in one file."""
    path = f"Split-{split}/part-{number:06d}.parquet" if split else f"part-{number:06d}.parquet"
    schema = pa.schema([*table.schema, pa.field(ROW, pa.int64(), nullable=False)])
    whole = os.path.join(folder, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    written = 0
    groups: list[int] = []
    with pq.ParquetWriter(whole, schema, compression="zstd") as writer:
        for chunk in chunks_of(table, splits=[split]):
            for batch in read_chunk(chunk, schema.names) if written < most else ():
                taken = batch.slice(0, most - written)
                if taken.num_rows:
                    writer.write_table(pa.Table.from_batches([taken]).cast(schema))
                    groups.append(taken.num_rows)
                    written += taken.num_rows
    return Part(path, tuple(groups), number, split)
