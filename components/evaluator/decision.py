"""Blessed or not, and which of several: pure functions of the figures and the rules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from beam_jobs.metrics import metric_of
from components.evaluator import checks
from components.evaluator.checks import Check, Figures
from components.evaluator.rules import Rules

__all__ = ["Decision", "Figures", "choose", "decide"]


@dataclass(frozen=True)
class Decision:
    """The outcome.

    Attributes:
      reasons: why the model is not blessed or, when it is, what it passed; whole sentences.
    """

    blessed: bool
    reasons: tuple[str, ...]


def decide(report: Figures, rules: Rules, no_champion: str) -> Decision:
    """Holds the figures of the deciding split against thresholds, champion and fairness.

    As in TFX's Evaluator, a model that nothing was asked of is not blessed, and one that has no champion to be compared
    with is judged by the other rules alone. Where there are none either, it must be better than guessing.

    Args:
      report: see `beam_jobs.judgement`.
      no_champion: why no champion was judged; not read where one was.
    """
    split = report["splits"][rules.decide_on]
    task, overall, on = report["task"], split["overall"], f"On '{rules.decide_on}'"
    found = [*_overall(on, task, overall, rules)]
    found += [*checks.slice_checks(on, task, split, rules), *checks.fairness_checks(on, split, rules)]
    if rules.champion:
        alone = not found and "champion" not in overall
        found.append(checks.champion_rule(on, rules.champion_metric(task), overall, rules.champion, no_champion))
        if alone:
            found.append(checks.better_than_guessing(on, task, overall))
    if not found:
        return Decision(
            False, ("Neither a threshold nor a comparison with the champion is asked for: nothing to bless by.",)
        )
    failed = tuple(check.sentence for check in found if not check.passed)
    return Decision(not failed, failed or tuple(check.sentence for check in found))


def _overall(on: str, task: str, overall: Figures, rules: Rules) -> Iterator[Check]:
    for name, bound in rules.thresholds.items():
        yield from checks.bound_checks(f"{on}, {name}", metric_of(task, name), overall, bound)


def choose(reports: Mapping[str, Figures], decisions: Mapping[str, Decision], rules: Rules) -> str:
    """The best by the champion's metric of the candidates that pass or, where none does, of all; of equals the first."""
    passing = [name for name, decision in decisions.items() if decision.blessed] or list(decisions)
    return max(passing, key=lambda name: _merit(reports[name], rules))


def _merit(report: Figures, rules: Rules) -> float:
    """The more, the better; least where it cannot be told."""
    metric = rules.champion_metric(report["task"])
    value = report["splits"][rules.decide_on]["overall"][metric.name]["value"]
    return float("-inf") if value is None else metric.better * float(value)
