"""What a gate found, and what it looked at when it did."""

from dataclasses import dataclass
from typing import Any

from beam_jobs.table import Table
from components.data_gate.offending_rows import Fits, Offenders, column_values, offenders

NO_VALUE = "no value"
"""The kind of finding that is about what can be learned, not about the schema."""


@dataclass(frozen=True)
class Finding:
    """One anomaly of one column in one split.

    Attributes:
      column: '' where the whole split is meant.
      kind: in two or three words.
      text: what was found, in how many rows, and what is allowed.
      stops: whether it ends the run (unless the gate only warns).
    """

    split: str
    column: str
    kind: str
    text: str
    stops: bool

    def __str__(self) -> str:
        of_column = f", column '{self.column}'" if self.column else ""
        return f"split '{self.split}'{of_column}: {self.text}"


@dataclass(frozen=True)
class Baseline:
    """What a distribution is compared with.

    Attributes:
      name: for messages, for example `split 'train'`.
      statistics: a `DatasetFeatureStatisticsList`.
    """

    name: str
    statistics: Any


@dataclass(frozen=True)
class Case:
    """A split under validation.

    Attributes:
      statistics: its `DatasetFeatureStatistics`.
      schema: what it was validated against.
      columns: Arrow types by column, as far as known.
      table: the examples, or None.
      baseline: where drift was looked for, what it was compared with.
    """

    split: str
    statistics: Any
    schema: Any
    columns: Any
    table: Table | None
    baseline: Baseline | None = None

    @property
    def rows(self) -> int:
        """Rows of the split that the statistics counted."""
        return int(self.statistics.num_examples)

    def offending(self, column: str, fits: Fits) -> Offenders | None:
        """Counts the column's rows that do not fit, or None without examples that hold the column."""
        if self.table is None or column not in self.table.schema.names:
            return None
        return offenders(column_values(self.table, self.split, column), fits)

    def share(self, rows: int) -> str:
        """Words `12 of 30,000 rows (0.04%)`."""
        total = self.rows if self.table is None else self.table.splits.get(self.split, self.rows)
        return f"{rows:,} of {total:,} rows ({percent(rows / total if total else 0.0)})"


def percent(share: float) -> str:
    """A share as percent, never rounded to 0% when it is not 0."""
    return f"{share:.2%}" if share == 0 or share >= 0.0001 else "under 0.01%"
