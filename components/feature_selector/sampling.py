"""A sample of a split's labelled rows, spread evenly over all of them and the same every time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.table import Table, read_batches
from components import encoding
from components.target import Target

MOST_CELLS = 20_000_000


@dataclass(frozen=True)
class SampleSize:
    """How many rows to take.

    Attributes:
      labelled: the rows of the split that have a usable label.
      most: the most rows to take of them.
    """

    labelled: int
    most: int
    seed: int


def sample(
    table: Table, split: str, columns: list[str], target: Target, size: SampleSize
) -> tuple[pa.Table, encoding.Floats]:
    """Reads the split once and keeps so many of its labelled rows; fewer where the table is wide.

    Returns:
      The columns of the sampled rows, and their label codes, shape (rows,).
    """
    wanted = sample_places(size.labelled, min(size.most, max(1_000, MOST_CELLS // max(len(columns), 1))), size.seed)
    pieces, codes, passed = [], [], 0
    for batch in read_batches(table, split, [*columns, target.label]):
        batch_codes = encoding.label_codes(batch.column(len(columns)), target.classes)
        places = np.flatnonzero(np.isfinite(batch_codes))
        first, last = np.searchsorted(wanted, [passed, passed + len(places)])
        chosen = places[wanted[first:last] - passed]
        passed += len(places)
        pieces.append(batch.select(list(range(len(columns)))).take(pa.array(chosen)))
        codes.append(batch_codes[chosen])
    return pa.Table.from_batches(pieces).unify_dictionaries(), np.concatenate(codes)


def sample_places(rows: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of a sample of `most` of `rows` rows, ascending: one at random in each of `most` equal stretches."""
    if rows <= most:
        return np.arange(rows)
    jitter = np.random.default_rng(seed).random(most)
    places: npt.NDArray[np.int64] = np.unique(((np.arange(most) + jitter) * (rows / most)).astype(np.int64))
    return places[places < rows]
