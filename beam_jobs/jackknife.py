"""Confidence intervals from statistics kept for twenty groups of rows: the delete-a-group jackknife.

Phillip S. Kott, "The Delete-a-Group Jackknife", Journal of Official Statistics 17 (2001), 521-526. A metric is
computed once for all rows and once without each group; the spread of the latter gives its standard error, and
Student's t with (groups - 1) degrees of freedom the interval. Groups come from a hash of `_row`, so two models
judged on the same rows share their groups and the interval of their difference is a paired one. Rows are taken
as independent: where they are not (many rows of one customer, one day), the intervals are too narrow.
"""

import numpy as np
import numpy.typing as npt

GROUPS = 20
T_QUANTILE = 2.0930240544082634
"""Student's t, 97.5%, 19 degrees of freedom."""
FEWEST_ROWS = 2 * GROUPS
"""With fewer rows no interval is given."""
SETS = np.vstack([np.ones((1, GROUPS)), 1 - np.eye(GROUPS)])
"""(1 + GROUPS, GROUPS): which groups are in; row 0 is all of them, row 1 + g all but g. `SETS @ sums` adds up."""


def groups(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The group of each row, 0..GROUPS-1: SplitMix64 of `_row` (Steele, Lea and Flood, OOPSLA 2014).

    Args:
      rows: (rows,) values of `_row`.
    """
    z = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) % np.uint64(GROUPS)).astype(np.int64)


def half_width(values: npt.NDArray[np.float64], rows: int) -> float | None:
    """Half the width of the 95% interval, or None when it cannot be told.

    Args:
      values: (1 + GROUPS,) the metric on each of `SETS`.
      rows: how many rows were judged.
    """
    replicates = values[1:]
    if rows < FEWEST_ROWS or not np.isfinite(replicates).all():
        return None
    spread = replicates - replicates.mean()
    return float(T_QUANTILE * np.sqrt((GROUPS - 1) / GROUPS * np.square(spread).sum()))
