"""The two ways to a confidence interval: what is kept of rows for it, and how it is told from that."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from beam_jobs import bootstrap, jackknife

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

JACKKNIFE, BOOTSTRAP = "jackknife", "bootstrap"
_BLOCK = 2_048
"""Rows whose weights are multiplied at a time, few enough for the processor's cache."""


@dataclass(frozen=True)
class Groups:
    """Rows that are each in one group of the jackknife.

    Attributes:
      numbers: (rows,) the group.
    """

    numbers: Ints

    @property
    def width(self) -> int:
        """How many sums are kept."""
        return jackknife.GROUPS

    def take(self, order: Ints) -> "Groups":
        """The rows of these places."""
        return Groups(self.numbers[order])

    def sums(self, cells: Ints, length: int, *weights: Floats) -> Floats:
        """Adds up weights by cell and group: (length, width, weights); without weights, counts rows."""
        places, size = cells * self.width + self.numbers, length * self.width
        added = [np.bincount(places, weight, minlength=size) for weight in weights or (None,)]
        return np.stack(added, axis=-1).astype(np.float64, copy=False).reshape(length, self.width, len(added))


@dataclass(frozen=True)
class Resamples:
    """Rows that count so many times in each resample of the bootstrap.

    Attributes:
      counts: (rows, width), see `bootstrap.weights`.
    """

    counts: npt.NDArray[np.uint8]

    @property
    def width(self) -> int:
        """How many sums are kept."""
        return int(self.counts.shape[1])

    def take(self, order: Ints) -> "Resamples":
        """The rows of these places."""
        return Resamples(self.counts[order])

    def sums(self, cells: Ints, length: int, *weights: Floats) -> Floats:
        """As `Groups.sums`, by cell and resample."""
        added = np.zeros((length, self.width, len(weights) or 1))
        order = np.argsort(cells, kind="stable")
        cells = cells[order]
        for start, end in pairwise([*range(0, len(cells), _BLOCK), len(cells)]):
            rows, here = order[start:end], cells[start:end]
            firsts = np.flatnonzero(np.diff(here, prepend=-1))
            counts = self.counts[rows].astype(np.float64)
            for number, weight in enumerate(weights or (None,)):
                weighted = counts if weight is None else counts * weight[rows, None]
                added[here[firsts], :, number] += np.add.reduceat(weighted, firsts, axis=0)
        return added


Replicates = Groups | Resamples


@dataclass(frozen=True)
class Intervals:
    """How intervals are made.

    Attributes:
      method: `jackknife`, of twenty groups of rows, or `bootstrap`.
      resamples: of the bootstrap.
    """

    method: str = JACKKNIFE
    resamples: int = 200

    @cached_property
    def sets(self) -> Floats:
        """(1 + replicates, width): which sums make up all rows, then each replicate. `sets @ sums` adds up."""
        return np.eye(1 + self.resamples) if self.method == BOOTSTRAP else jackknife.SETS

    def replicates(self, rows: Ints) -> Replicates:
        """What is kept of rows with these values of `_row`."""
        if self.method == BOOTSTRAP:
            return Resamples(bootstrap.weights(rows, self.resamples))
        return Groups(jackknife.groups(rows))

    def offsets(self, values: Floats, rows: int) -> tuple[float, float] | None:
        """How far below and above the metric its 95% interval reaches, or None when it cannot be told.

        Args:
          values: (1 + replicates,) the metric on each of `sets`.
          rows: how many rows were judged.
        """
        if self.method == BOOTSTRAP:
            return bootstrap.offsets(values, rows)
        half = jackknife.half_width(values, rows)
        return None if half is None else (-half, half)
