"""Confidence intervals by the Poisson bootstrap: each resample counts a row as often as a Poisson variable of mean 1 says.

Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", Computer Methods and
Programs in Biomedicine 83 (2006), 57-62. How often a row counts in a resample is a hash of its `_row` and the
resample's number: the same however rows are batched, and the same for every model judged on them, so that the
interval of a difference is a paired one. The interval's ends are the 2.5% and 97.5% quantiles of the resamples around
their mean, set around the metric on all rows. As with `jackknife`, rows are taken as independent.
"""

import math

import numpy as np
import numpy.typing as npt

from beam_jobs.hashing import splitmix64

FEWEST_ROWS = 40
"""With fewer rows no interval is given."""
FEWEST_RESAMPLES, MOST_RESAMPLES = 40, 1_000
QUANTILES = (0.025, 0.975)
_BLOCK = 4_096
_LANES = 4
"""Resamples a hash serves: 16 bits each."""


def _poisson() -> npt.NDArray[np.uint8]:
    """The value of a Poisson variable of mean 1 for each 16 bits, by its distribution function."""
    shares = np.cumsum([math.exp(-1) / math.factorial(value) for value in range(10)])
    values: npt.NDArray[np.uint8] = np.searchsorted(np.round(shares * 65_536), np.arange(65_536), "right").astype(
        np.uint8
    )
    return values


_POISSON = _poisson()


def weights(rows: npt.NDArray[np.int64], resamples: int) -> npt.NDArray[np.uint8]:
    """How often each row counts: (rows, 1 + resamples); once in column 0, which stands for all rows.

    Args:
      rows: (rows,) values of `_row`.
    """
    counts = np.ones((len(rows), 1 + resamples), np.uint8)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        counts[block, 1:] = _drawn(rows[block], resamples)
    return counts


def _drawn(rows: npt.NDArray[np.int64], resamples: int) -> npt.NDArray[np.uint8]:
    numbers = np.arange(-(-resamples // _LANES), dtype=np.uint64)
    hashes = splitmix64(splitmix64(rows.astype(np.uint64))[:, None] ^ numbers)
    bits = hashes.astype("<u8", copy=False).view("<u2")
    drawn: npt.NDArray[np.uint8] = _POISSON[bits[:, :resamples]]
    return drawn


def offsets(values: npt.NDArray[np.float64], rows: int) -> tuple[float, float] | None:
    """How far below and above the metric its 95% interval reaches, or None when it cannot be told.

    Args:
      values: (1 + resamples,) the metric on all rows and on each resample.
      rows: how many rows were judged.
    """
    resampled = values[1:]
    if rows < FEWEST_ROWS or not np.isfinite(resampled).all():
        return None
    low, high = np.quantile(resampled - resampled.mean(), QUANTILES)
    return float(low), float(high)
