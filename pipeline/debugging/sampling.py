"""Tables cut down for a replay: rows of each split, evenly spread, under the `_row` that they always had.

Spread, as the first rows of a table that is sorted by time are no sample of it.
"""

import dataclasses
import os

import numpy as np
import numpy.typing as npt
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
    """Writes rows of a table, up to so many of each split, as a table of its own; says how many it kept.

    Args:
      uri: the table.
      folder: where to.
      rows: of each split.
      cut: False copies the table whole.
    """
    table = Table.load(uri)
    wanted = {split: _spread(count, rows if cut else count) for split, count in table.splits.items()}
    parts = [_part(table, split, folder, places, number) for number, (split, places) in enumerate(wanted.items())]
    kept = tuple(part for part in parts if part.rows)
    count = sum(part.rows for part in kept)
    ledger = Ledger(read=count, kept=count, written=count)
    dataclasses.replace(table, root=folder, parts=kept, stores_rows=True, ledger=ledger).save()
    return f"{count:,} of {table.rows:,} rows"


def _spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """Places of up to `most` of `count` rows, evenly spread, ascending."""
    taken = min(count, most)
    return np.arange(taken, dtype=np.int64) * count // max(taken, 1)


def _part(table: Table, split: str, folder: str, places: npt.NDArray[np.int64], number: int) -> Part:
    """The rows of one split at some places, in one file."""
    path = f"Split-{split}/part-{number:06d}.parquet" if split else f"part-{number:06d}.parquet"
    schema = pa.schema([*table.schema, pa.field(ROW, pa.int64(), nullable=False)])
    whole = os.path.join(folder, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    seen = 0
    groups: list[int] = []
    with pq.ParquetWriter(whole, schema, compression="zstd") as writer:
        for chunk in chunks_of(table, splits=[split]):
            if not len(_within(places, seen, chunk.rows)):  # then it need not be read
                seen += chunk.rows
                continue
            for batch in read_chunk(chunk, schema.names):
                taken = _within(places, seen, batch.num_rows)
                if len(taken):
                    writer.write_table(pa.Table.from_batches([batch]).take(taken).cast(schema))
                    groups.append(len(taken))
                seen += batch.num_rows
    return Part(path, tuple(groups), number, split)


def _within(places: npt.NDArray[np.int64], start: int, rows: int) -> npt.NDArray[np.int64]:
    """The places in a stretch, counted from its start."""
    first, last = np.searchsorted(places, [start, start + rows])
    return places[first:last] - start
