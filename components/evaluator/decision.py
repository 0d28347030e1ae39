"""Blessed or not: a pure function of the figures and the rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beam_jobs.metrics import Metric
from components.evaluator.rules import Bound, ChampionRule, Rules

Figures = dict[str, Any]
GUESSING = {"binary": ("auc", 0.5), "multiclass": ("macro_auc", 0.5), "regression": ("r2", 0.0)}
"""What a model reaches that always gives the same answer."""


@dataclass(frozen=True)
class Decision:
    """The outcome.

    Attributes:
      reasons: why the model is not blessed or, when it is, what it passed; whole sentences.
    """

    blessed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Check:
    passed: bool
    sentence: str


def decide(report: Figures, rules: Rules, no_champion: str) -> Decision:
    """Holds the figures of the deciding split against thresholds and champion.

    As in TFX's Evaluator, a model that nothing was asked of is not blessed, and one that has no champion to be compared
    with is judged by the thresholds alone. Where there are none either, it must be better than guessing.

    Args:
      report: see `beam_jobs.judgement`.
      no_champion: why no champion was judged; not read where one was.
    """
    overall = report["splits"][rules.decide_on]["overall"]
    on = f"On '{rules.decide_on}'"
    checks = [_threshold(on, name, overall[name], bound) for name, bound in _set(rules)]
    if rules.champion:
        metric = rules.champion_metric(report["task"])
        checks.append(_champion(on, metric, overall, rules.champion, no_champion))
        if len(checks) == 1 and "champion" not in overall:
            checks.append(_better_than_guessing(on, report["task"], overall))
    if not checks:
        return Decision(
            False, ("Neither a threshold nor a comparison with the champion is asked for: nothing to bless by.",)
        )
    failed = tuple(check.sentence for check in checks if not check.passed)
    return Decision(not failed, failed or tuple(check.sentence for check in checks))


def _set(rules: Rules) -> Iterator[tuple[str, Bound]]:
    return ((name, bound) for name, bound in rules.thresholds.items() if bound != Bound())


def _threshold(on: str, name: str, figure: Figures, bound: Bound) -> _Check:
    asked = _asked(bound)
    value = figure["value"]
    if value is None:
        return _Check(False, f"{on}, {name} cannot be told ({figure['reason']}); it must be {asked}.")
    low_enough = bound.max is None or value <= bound.max
    high_enough = bound.min is None or value >= bound.min
    passed = low_enough and high_enough
    return _Check(passed, f"{on}, {name} is {_shown(figure)}; it {'had to' if passed else 'must'} be {asked}.")


def _asked(bound: Bound) -> str:
    least = "" if bound.min is None else f"at least {bound.min:g}"
    most = "" if bound.max is None else f"at most {bound.max:g}"
    return " and ".join(words for words in (least, most) if words)


def _champion(on: str, metric: Metric, overall: Figures, rule: ChampionRule, no_champion: str) -> _Check:
    name = metric.name
    if "champion" not in overall:
        return _Check(True, f"Not compared with a champion: {no_champion}")
    ours, theirs, difference = overall[name], overall["champion"][name], overall["difference"][name]
    if difference["value"] is None:
        reason = ours.get("reason") or theirs.get("reason")
        return _Check(False, f"{on}, {name} cannot be compared with the champion's ({reason}).")
    worse = -metric.better * difference["value"]
    return _Check(
        worse <= rule.at_most_worse,
        f"{on}, {name} is {_shown(ours)}, the champion's on the same rows {theirs['value']:.4g}: "
        f"{_verdict(worse, difference)}; it may be worse by at most {rule.at_most_worse:g}.",
    )


def _better_than_guessing(on: str, task: str, overall: Figures) -> _Check:
    name, guessing = GUESSING[task]
    if overall[name]["value"] is None:
        return _Check(False, f"{on}, {name} cannot be told ({overall[name]['reason']}).")
    better = overall[name]["value"] > guessing
    return _Check(better, f"{on}, {name} is {_shown(overall[name])}; guessing has {guessing:g}.")


def _verdict(worse: float, difference: Figures) -> str:
    if worse == 0:
        return "no difference"
    return f"{'worse' if worse > 0 else 'better'} by {abs(worse):.3g} (difference {_interval(difference)})"


def _shown(figure: Figures) -> str:
    return f"{figure['value']:.4g} ({_interval(figure)})"


def _interval(figure: Figures) -> str:
    if figure["low"] is None:
        return "too few rows for an interval"
    return f"95% interval {figure['low']:.4g} to {figure['high']:.4g}"
