"""What the evaluator is asked: its configuration, checked."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.bootstrap import FEWEST_RESAMPLES, MOST_RESAMPLES
from beam_jobs.errors import DataError, listed
from beam_jobs.intervals import BOOTSTRAP, JACKKNIFE, Intervals
from beam_jobs.judgement import Gap
from beam_jobs.metrics import METRICS, Metric, metric_of
from beam_jobs.slicing import Columns
from components.errors import StepError
from components.evaluator import given
from components.evaluator.given import STEP
from components.step_config import one_of

BRAID, TFMA = "braid", "tfma"


@dataclass(frozen=True)
class Bound:
    """What a metric must keep to, all ends included.

    Attributes:
      at_most_worse: than the champion's on the same rows, in the metric's own unit.
    """

    min: float | None = None
    max: float | None = None
    at_most_worse: float | None = None


@dataclass(frozen=True)
class ChampionRule:
    """How a model must stand against the last blessed one, on the same rows.

    Attributes:
      metric: '' for the task's main one. Several candidates are ranked by it.
      at_most_worse: by how much it may be worse, in the metric's own unit.
    """

    metric: str = ""
    at_most_worse: float = 0.0


@dataclass(frozen=True)
class FairnessRule:
    """How far apart a metric may be between the slices of a column.

    Attributes:
      column: or several that are crossed, 'origin, carrier'.
      metric: '' for the task's main one.
    """

    column: str
    metric: str = ""
    max_gap: float = 0.0


@dataclass(frozen=True)
class Rules:
    """The configuration.

    Attributes:
      slices: columns by whose values the metrics are also told; they decide nothing.
      crosses: columns by whose combined values the metrics are also told.
      thresholds: bounds on all rows, by metric.
      slice_thresholds: bounds on every slice of a column, or of crossed ones ('origin, carrier'), by column and metric.
      fairness: bounds on the distance between slices.
      slice_rows: the fewest rows of a slice that `slice_thresholds` and `fairness` speak of.
      champion: None compares with none.
      intervals: `jackknife` or `bootstrap`.
      resamples: of the bootstrap.
      engine: `braid`, or `tfma` for tensorflow-model-analysis itself.
      tfma: whether the results are also written as tensorflow-model-analysis writes them.
      decide_on: the split whose metrics decide.
    """

    slices: tuple[str, ...] = ()
    crosses: tuple[Columns, ...] = ()
    thresholds: Mapping[str, Bound] = field(default_factory=dict)
    slice_thresholds: Mapping[str, Mapping[str, Bound]] = field(default_factory=dict)
    fairness: tuple[FairnessRule, ...] = ()
    slice_rows: int = 100
    champion: ChampionRule | None = ChampionRule()
    intervals: str = JACKKNIFE
    resamples: int = 200
    engine: str = BRAID
    tfma: bool = True
    splits: tuple[str, ...] = ("eval", "test")
    decide_on: str = "test"

    @classmethod
    def parse(cls, text: str) -> "Rules":
        """Reads the component's parameter, JSON; '' stands for the defaults. `champion: null` compares with none.

        Raises:
          StepError: an unknown key, or a value that is not allowed.
        """
        told = given.mapping(json.loads(text or "{}"), cls.__dataclass_fields__, "the configuration")
        readers: dict[str, Callable[[Any, str], Any]] = {
            "slices": given.names,
            "crosses": _crosses,
            "thresholds": _bounds,
            "slice_thresholds": _slice_bounds,
            "fairness": _fairness,
            "champion": _champion,
            "splits": given.names,
            "tfma": given.truth,
            "slice_rows": given.whole_number,
            "resamples": given.whole_number,
            "intervals": given.text,
            "engine": given.text,
            "decide_on": given.text,
        }
        values = {key: readers[key](value, key) for key, value in told.items()}
        return cls(**values)._consistent()

    def _consistent(self) -> "Rules":
        if self.decide_on not in self.splits:
            raise StepError(
                f"{STEP}: decide_on is '{self.decide_on}', which is not among the splits that are judged.",
                f"Judged splits: {listed(self.splits)}.",
            )
        one_of(self.intervals, (JACKKNIFE, BOOTSTRAP), f"{STEP}: intervals")
        one_of(self.engine, (BRAID, TFMA), f"{STEP}: engine")
        given.within(self.slice_rows, 1, None, "slice_rows")
        given.within(self.resamples, FEWEST_RESAMPLES, MOST_RESAMPLES, "resamples")
        for where, name, bound in self.bounds():
            if bound.at_most_worse is not None and self.champion is None:
                raise StepError(
                    f"{STEP}: {where}: {name}: at_most_worse compares with the champion, and champion is null.",
                    "Take one of them out.",
                )
        return self

    def bounds(self) -> Iterator[tuple[str, str, Bound]]:
        """Every bound: where it is set, its metric, itself."""
        for name, bound in self.thresholds.items():
            yield "thresholds", name, bound
        for column, bounds in self.slice_thresholds.items():
            for name, bound in bounds.items():
                yield f"slice_thresholds: {column}", name, bound

    def all_slices(self) -> tuple[Columns, ...]:
        """What is sliced by: what is to be shown, and what some rule needs."""
        asked = [self.columns(column) for column in (*self.slice_thresholds, *(rule.column for rule in self.fairness))]
        return tuple(dict.fromkeys([*((name,) for name in self.slices), *self.crosses, *asked]))

    def columns(self, text: str) -> Columns:
        """The columns that a rule's `origin` or `origin, carrier` means."""
        if text in self.slices:
            return (text,)
        return tuple(part.strip() for part in text.split(","))

    def gaps(self, task: str) -> tuple[Gap, ...]:
        """The questions of fairness."""
        return tuple(Gap(self.columns(rule.column), rule.metric or METRICS[task][0].name) for rule in self.fairness)

    def interval_method(self) -> Intervals:
        """How intervals are made."""
        return Intervals(self.intervals, self.resamples)

    def check(self, task: str) -> "Rules":
        """Returns itself when its metrics are the task's.

        Raises:
          StepError: a metric is unknown, or no better one way than the other where that matters.
        """
        for where, name, bound in self.bounds():
            metric = _metric(task, name, where)
            if bound.at_most_worse is not None:
                _directed(metric, task, f"{where}: at_most_worse")
        for rule in self.fairness:
            _metric(task, rule.metric or METRICS[task][0].name, "fairness")
        if self.champion:
            _directed(self.champion_metric(task), task, "champion")
        return self

    def champion_metric(self, task: str) -> Metric:
        """The metric by which the champion is compared and candidates are ranked."""
        name = self.champion.metric if self.champion else ""
        return _metric(task, name, "champion") if name else METRICS[task][0]


def _metric(task: str, name: str, where: str) -> Metric:
    try:
        return metric_of(task, name)
    except DataError as error:
        raise StepError(f"{STEP}: {where}: {error}", error.hint) from None


def _directed(metric: Metric, task: str, where: str) -> None:
    if not metric.better:
        raise StepError(
            f"{STEP}: {where}: of '{metric.name}' neither more nor less is better.",
            f"Compare by one of: {listed(metric.name for metric in METRICS[task] if metric.better)}.",
        )


def _bounds(value: Any, where: str) -> dict[str, Bound]:
    return {name: _bound(bound, f"{where}: {name}") for name, bound in given.mapping(value, None, where).items()}


def _bound(value: Any, where: str) -> Bound:
    bound = Bound(**given.numbers(value, Bound.__dataclass_fields__, where))
    if bound.at_most_worse is not None:
        given.within(bound.at_most_worse, 0, None, f"{where}: at_most_worse")
    return bound


def _slice_bounds(value: Any, where: str) -> dict[str, dict[str, Bound]]:
    return {
        column: _bounds(bounds, f"{where}: {column}") for column, bounds in given.mapping(value, None, where).items()
    }


def _crosses(value: Any, where: str) -> tuple[Columns, ...]:
    crosses = [given.names(cross, f"each of {where}") for cross in given.items(value, where)]
    for cross in crosses:
        if len(cross) < 2:
            raise StepError(
                f"{STEP}: {where}: {json.dumps(list(cross))} names fewer than two columns.",
                "One column belongs into `slices`; a cross is written [[origin, carrier]].",
            )
    return tuple(dict.fromkeys(crosses))


def _fairness(value: Any, where: str) -> tuple[FairnessRule, ...]:
    return tuple(_fairness_rule(rule, where) for rule in given.items(value, where))


def _fairness_rule(value: Any, where: str) -> FairnessRule:
    told = given.mapping(value, FairnessRule.__dataclass_fields__, where)
    if not told.get("column") or told.get("max_gap") is None:
        raise StepError(
            f"{STEP}: {where}: {json.dumps(value)} lacks {'column' if not told.get('column') else 'max_gap'}.",
            "For example: {column: origin, metric: auc, max_gap: 0.05}.",
        )
    gap = given.numbers({"max_gap": told["max_gap"]}, ("max_gap",), where)["max_gap"]
    given.within(gap, 0, None, f"{where}: max_gap")
    return FairnessRule(given.text(told["column"], where), given.text(told.get("metric") or "", where), gap)


def _champion(value: Any, where: str) -> ChampionRule | None:
    if value is None:
        return None
    told = given.mapping(value, ChampionRule.__dataclass_fields__, where)
    worse = given.numbers({"at_most_worse": told.get("at_most_worse", 0.0)}, ("at_most_worse",), where)
    given.within(worse["at_most_worse"], 0, None, f"{where}: at_most_worse")
    return ChampionRule(str(told.get("metric") or ""), worse["at_most_worse"])
