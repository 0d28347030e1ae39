"""Small Examples folders for tests: Parquet parts by split, with their manifest."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from parquet_parts import pieces, write_part

from beam_jobs.ledger import Ledger
from beam_jobs.table import Table


def write_examples(
    folder: Path | str, splits: Mapping[str, pa.Table], parts: int = 2, row_group_rows: int = 1_000
) -> Table:
    """Writes each split's table as `parts` files, `_row` beside the user's columns; returns the saved manifest."""
    root = Path(folder)
    written = [
        write_part(root, f"Split-{split}/part-{chunk:06d}.parquet", piece, chunk, split, row_group_rows)
        for split, rows in splits.items()
        for chunk, (_, piece) in enumerate(pieces(rows, parts))
    ]
    rows = sum(part.rows for part in written)
    schema = next(iter(splits.values())).schema.remove_metadata()
    table = Table(str(root), schema, tuple(written), True, Ledger(read=rows, kept=rows, written=rows))
    table.save()
    return table


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
