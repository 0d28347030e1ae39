"""Searches for a trainer's parameters, and writes the best ones and the table of all trials."""

import dataclasses
import importlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beam_jobs import progress, storage
from beam_jobs.table import Table
from components.errors import StepError
from components.hyperparameters import HyperParameters
from components.importances import Importances
from components.step_config import one_of
from components.tuner import study
from components.tuner.families import Task, Trials
from components.tuner.study import Search, Trial, best_of

TRIALS = "trials.json"
FAMILIES = {"xgboost": "components.tuner.xgboost_trials", "keras": "components.tuner.keras_trials"}
"""For each family the module whose `prepare(task, space)` gives its trials."""
SPARED_SHARE = 0.2
"""A trial is not pruned within this share of the most rounds: what learns slowly may end better."""


@dataclass(frozen=True)
class TuningConfig:
    """What the user may set of a search.

    Attributes:
      family: of the trainer.
      trainer: its own configuration, under whose settings all trials run.
      trials: how many sets of parameters are tried; the first one is the trainer's own where the space holds it.
      space: by parameter `{low, high, log}` or a list; Braid's own space when empty.
      metric: on `eval`, that decides; the trainer's unless given.
      jobs: trials at a time; with more than one the result depends on which ends first.
      prune: end trials that fall behind the median of the others.
      sample_rows: the most rows of `train` that trials learn from, drawn by lot; 0 for all.
    """

    family: str = "xgboost"
    trainer: dict[str, Any] = field(default_factory=dict)
    trials: int = 20
    space: dict[str, Any] = field(default_factory=dict)
    metric: str = ""
    jobs: int = 1
    prune: bool = True
    seed: int = 0
    sample_rows: int = 0

    def __post_init__(self) -> None:
        one_of(self.family, tuple(FAMILIES), "Tuner: family")
        for name, least in (("trials", 1), ("jobs", 1), ("seed", 0), ("sample_rows", 0)):
            if getattr(self, name) < least:
                raise StepError(f"Tuner: {name} is {getattr(self, name)}; {least} is the least.")


@dataclass(frozen=True)
class TuningReport:
    """What came of a search.

    Attributes:
      resumed: trials that an execution which was cut off had ended.
    """

    best: HyperParameters
    trials: tuple[Trial, ...]
    resumed: int


def tune(
    table: Table,
    importances: Importances,
    config: TuningConfig,
    output_uri: str,
    transform_graph: str = "",
    checkpoints: str = "",
) -> TuningReport:
    """Tries parameters on `train`, compares them on `eval`, and writes `hyperparameters.json` and `trials.json`.

    Args:
      table: the examples.
      importances: which columns, and what the label means.
      config: what the user has set.
      output_uri: where the files go.
      transform_graph: the Transform's folder, for a family that needs it.
      checkpoints: the folder of the study's file, where a search that was cut off may have left it; '' for none.

    Raises:
      StepError: the space or the trainer's configuration does not fit, or no trial came to a value.
    """
    task = Task(
        table, importances, config.trainer, config.metric, config.jobs, config.sample_rows, transform_graph, output_uri
    )
    trials: Trials = importlib.import_module(FAMILIES[config.family]).prepare(task, config.space)
    search = Search(
        space=trials.space,
        trials=config.trials,
        jobs=trials.jobs,
        seed=config.seed,
        prune=config.prune,
        greater_is_better=trials.greater_is_better,
        first=trials.own,
        spared_steps=int(SPARED_SHARE * trials.most_steps),
    )
    watch = _Watch(config.trials, trials)
    with trials.opened() as objective:
        ended = study.run(search, objective, checkpoints, watch)
    best = study.require(best_of(ended, trials.greater_is_better), ended)
    found = HyperParameters(config.family, best.parameters, trials.metric, float(best.value or 0.0), best.number)
    found.save(output_uri)
    storage.write_text(f"{output_uri.rstrip('/')}/{TRIALS}", f"{json.dumps(_rows(ended), indent=1)}\n")
    return TuningReport(found, tuple(ended), watch.resumed or 0)


def _rows(trials: Sequence[Trial]) -> list[Mapping[str, Any]]:
    """Without the seconds, which differ each time: the same search writes the same bytes."""
    rows = [dataclasses.asdict(trial) for trial in trials]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class _Watch:
    """Tells the listeners how far the search is."""

    def __init__(self, most: int, trials: Trials) -> None:
        self.most, self.trials = most, trials
        self.began, self.resumed = time.monotonic(), None if most else 0

    def __call__(self, ended: Sequence[Trial], number: int, step: int, value: float | None) -> None:
        """Called by the search."""
        if self.resumed is None:
            self.resumed = len(ended)
        at = f", {self.trials.unit} {step}, {self.trials.metric} {value:.4f}" if value is not None else ""
        best = best_of(ended, self.trials.greater_is_better)
        so_far = f"; best so far {best.value:.4f}" if best else ""
        progress.note(f"trial {number + 1} of {self.most}{at}{so_far}{self._left(len(ended))}")

    def _left(self, ended: int) -> str:
        done = ended - (self.resumed or 0)
        if not done:
            return ""
        seconds = (time.monotonic() - self.began) / done * (self.most - ended)
        return f"; about {seconds / 60:.0f} min left" if seconds >= 90 else f"; about {seconds:.0f} s left"


def to_properties(report: TuningReport) -> dict[str, int | float | str]:
    """The report as custom properties of the HyperParameters artifact."""
    states = [trial.state for trial in report.trials]
    return {
        "family": report.best.family,
        "parameters": json.dumps(report.best.parameters, sort_keys=True),
        "eval_metric": report.best.metric,
        "eval_score": report.best.value,
        "trial": report.best.trial,
        "trials": len(states),
        "trials_pruned": states.count("pruned"),
        "trials_diverged": states.count("diverged"),
    }
