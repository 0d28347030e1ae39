"""What a search must know of a family of models: its parameters, the space that Braid searches, and how a trial is run."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from beam_jobs.table import Table
from components.importances import Importances
from components.tuner.spaces import Space
from components.tuner.study import Objective


@dataclass(frozen=True)
class Task:
    """What trials learn from.

    Attributes:
      trainer: the trainer's own configuration.
      metric: on `eval`, that decides; '' for the trainer's.
      jobs: trials at a time.
      rows: the most rows of `train`; 0 for all.
      transform_graph: the Transform's folder; '' where the family needs none.
      folder: of the output, beside which files may lie while trials run.
    """

    table: Table
    importances: Importances
    trainer: Mapping[str, Any]
    metric: str
    jobs: int
    rows: int
    transform_graph: str
    folder: str


@dataclass(frozen=True)
class Trials:
    """Trials of one family, ready to run.

    Attributes:
      own: the parameters that the trainer has without a search.
      unit: what a step of a trial is, for the watcher.
      most_steps: that a trial may run.
      jobs: trials at a time that the family allows.
      opened: around all trials, what they share; gives the objective.
    """

    space: Space
    own: Mapping[str, Any]
    metric: str
    greater_is_better: bool
    unit: str
    most_steps: int
    jobs: int
    opened: Callable[[], AbstractContextManager[Objective]]


Prepare = Callable[[Task, Mapping[str, Any]], Trials]
"""Checks the configuration and the user's space, before any row is read."""
