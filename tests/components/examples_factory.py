"""Small Examples folders for tests: Parquet parts by split, with their manifest."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.ledger import Ledger
from beam_jobs.table import ROW, Part, Table, row_id


def write_examples(
    folder: Path | str, splits: Mapping[str, pa.Table], parts: int = 2, row_group_rows: int = 1_000
) -> Table:
    """Writes each split's table as `parts` files, `_row` beside the user's columns; returns the saved manifest."""
    root = Path(folder)
    written = [
        part for split, rows in splits.items() for part in _write_split(root, split, rows, parts, row_group_rows)
    ]
    rows = sum(part.rows for part in written)
    schema = next(iter(splits.values())).schema.remove_metadata()
    table = Table(str(root), schema, tuple(written), True, Ledger(read=rows, kept=rows, written=rows))
    table.save()
    return table


def _write_split(root: Path, split: str, rows: pa.Table, parts: int, row_group_rows: int) -> list[Part]:
    size = -(-rows.num_rows // parts) if rows.num_rows else 1
    written = []
    for chunk, start in enumerate(range(0, rows.num_rows, size)):
        piece = rows.slice(start, size)
        ids = np.arange(piece.num_rows, dtype=np.int64) + row_id(chunk, 0)
        relative = f"Split-{split}/part-{chunk:06d}.parquet"
        (root / relative).parent.mkdir(parents=True, exist_ok=True)
        with_rows = piece.append_column(ROW, pa.array(ids))
        pq.write_table(with_rows, root / relative, compression="zstd", row_group_size=row_group_rows)
        groups = pq.ParquetFile(root / relative).metadata
        counts = tuple(groups.row_group(i).num_rows for i in range(groups.num_row_groups))
        written.append(Part(relative, counts, chunk, split))
    return written


def flights_like(rows: int, seed: int = 0) -> pa.Table:
    """A binary task: `late` depends on `wind`, `hour` and `carrier`; the other columns are noise, null or constant."""
    rng = np.random.default_rng(seed)
    wind, hour = rng.gamma(2.0, 5.0, rows), rng.integers(5, 24, rows)
    carrier = rng.choice(["UA", "AA", "DL", "EV", "F9"], rows, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    logit = 0.12 * (wind - 10) + 0.15 * (hour - 14) + np.where(carrier == "EV", 1.5, 0.0) - 1.0
    late = rng.random(rows) < 1 / (1 + np.exp(-logit))
    seats = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(150, 40, rows))
    return pa.table(
        {
            "wind": pa.array(wind),
            "hour": pa.array(hour, pa.int32()),
            "carrier": pa.array(carrier).dictionary_encode(),
            "seats": pa.array(seats, from_pandas=True),
            "noise": pa.array(rng.normal(size=rows), pa.float32()),
            "year": pa.array(np.full(rows, 2013), pa.int16()),
            "tail": pa.array([f"N{value:08d}" for value in rng.permutation(rows)]),
            "day": pa.array(np.arange(rows) % 365, pa.int32()).cast(pa.date32()),
            "weekend": pa.array(rng.random(rows) < 2 / 7),
            "gate": pa.nulls(rows),
            "late": pa.array(late),
        }
    )
