"""What a scoring step is told."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from beam_jobs.kernel import PrepareConfig
from beam_jobs.sql import check_query
from components.prediction_columns import Wanted


@dataclass(frozen=True)
class ScoringConfig:
    """One scoring step.

    Attributes:
      folder: where the model is, if not in its artifact's own folder.
      stream: the table whose rows are scored.
      sql: what makes the model's features of it, row by row.
      fan_out: whether a join may multiply rows of the stream.
      passed: columns of the query that are handed on.
      contributions: whether each feature's contribution is told.
      label: the label's column, where the query returns it; else ''.
    """

    folder: str = ""
    stream: str = ""
    sql: str = ""
    fan_out: bool = False
    passed: tuple[str, ...] = ()
    contributions: bool = False
    label: str = ""

    @property
    def wanted(self) -> Wanted:
        """What the predictions hold."""
        return Wanted(self.passed, self.contributions, bool(self.label))

    def step(self, name: str, schemas: Mapping[str, pa.Schema], root: str = "") -> PrepareConfig:
        """The query as the job runs it, checked against the tables.

        Raises:
          SqlError: the query is refused.
        """
        return PrepareConfig(name, check_query(name, self.sql, self.stream, schemas), root, fan_out=self.fan_out)
