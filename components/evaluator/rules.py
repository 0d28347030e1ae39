"""What the evaluator is asked: its configuration, checked."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.metrics import METRICS, Metric, metric_of
from components.errors import StepError

_STEP = "The evaluator"


@dataclass(frozen=True)
class Bound:
    """What a metric must keep to, both ends included."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class ChampionRule:
    """How a model must stand against the last blessed one, on the same rows.

    Attributes:
      metric: '' for the task's main one.
      at_most_worse: by how much it may be worse, in the metric's own unit.
    """

    metric: str = ""
    at_most_worse: float = 0.0


@dataclass(frozen=True)
class Rules:
    """The configuration.

    Attributes:
      slices: columns by whose values the metrics are also told; they decide nothing.
      decide_on: the split whose metrics decide.
    """

    slices: tuple[str, ...] = ()
    thresholds: Mapping[str, Bound] = field(default_factory=dict)
    champion: ChampionRule | None = ChampionRule()
    splits: tuple[str, ...] = ("eval", "test")
    decide_on: str = "test"

    @classmethod
    def parse(cls, text: str) -> "Rules":
        """Reads the component's parameter, JSON; '' stands for the defaults. `champion: null` compares with none.

        Raises:
          StepError: an unknown key, or a value of the wrong type.
        """
        given = _mapping(json.loads(text or "{}"), cls.__dataclass_fields__, "the configuration")
        rules = cls(
            slices=_names(given.get("slices", []), "slices"),
            thresholds={
                name: Bound(**_numbers(bound, ("min", "max"), f"thresholds: {name}"))
                for name, bound in _mapping(given.get("thresholds", {}), None, "thresholds").items()
            },
            champion=_champion(given.get("champion", {})),
            splits=_names(given.get("splits", list(cls.splits)), "splits"),
            decide_on=given.get("decide_on", cls.decide_on),
        )
        if rules.decide_on not in rules.splits:
            raise StepError(
                f"{_STEP}: decide_on is '{rules.decide_on}', which is not among the splits that are judged.",
                f"Judged splits: {listed(rules.splits)}.",
            )
        return rules

    def check(self, task: str) -> "Rules":
        """Returns itself when its metrics are the task's.

        Raises:
          StepError: a metric is unknown, or no better one way than the other where that matters.
        """
        for name in self.thresholds:
            _metric(task, name, "thresholds")
        if self.champion and not self.champion_metric(task).better:
            raise StepError(
                f"{_STEP}: champion: of '{self.champion.metric}' neither more nor less is better.",
                f"Compare by one of: {listed(metric.name for metric in METRICS[task] if metric.better)}.",
            )
        return self

    def champion_metric(self, task: str) -> Metric:
        """The metric by which the champion is compared."""
        name = self.champion.metric if self.champion else ""
        return _metric(task, name, "champion") if name else METRICS[task][0]


def _metric(task: str, name: str, where: str) -> Metric:
    try:
        return metric_of(task, name)
    except DataError as error:
        raise StepError(f"{_STEP}: {where}: {error}", error.hint) from None


def _champion(value: Any) -> ChampionRule | None:
    if value is None:
        return None
    given = _mapping(value, ("metric", "at_most_worse"), "champion")
    worse = _numbers({"at_most_worse": given.get("at_most_worse", 0.0)}, ("at_most_worse",), "champion")
    if worse["at_most_worse"] < 0:
        raise StepError(f"{_STEP}: champion: at_most_worse is {worse['at_most_worse']:g}; it must be 0 or more.")
    return ChampionRule(str(given.get("metric") or ""), worse["at_most_worse"])


def _mapping(value: Any, allowed: Iterable[str] | None, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StepError(f"{_STEP}: {where} must be a mapping, not {json.dumps(value)}.")
    known = list(value if allowed is None else allowed)
    for key in value:
        if key not in known:
            raise StepError(
                f"{_STEP}: {where} has no setting '{key}'.{nearest(key, known)}", f"Settings: {listed(known)}."
            )
    return value


def _numbers(value: Any, allowed: Iterable[str], where: str) -> dict[str, float]:
    given = {name: number for name, number in _mapping(value, allowed, where).items() if number is not None}
    for name, number in given.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise StepError(f"{_STEP}: {where}: {name} must be a number, not {json.dumps(number)}.")
    return {name: float(number) for name, number in given.items()}


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise StepError(f"{_STEP}: {where} must be a list of names, not {json.dumps(value)}.")
    return tuple(dict.fromkeys(value))
