"""What each rule says of a candidate's figures: whether it is kept, in a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beam_jobs.judgement import nodes_of
from beam_jobs.metrics import Metric, metric_of
from components.evaluator.rules import Bound, ChampionRule, FairnessRule, Rules

Figures = dict[str, Any]
GUESSING = {"binary": ("auc", 0.5), "multiclass": ("macro_auc", 0.5), "regression": ("r2", 0.0)}
"""What a model reaches that always gives the same answer."""


@dataclass(frozen=True)
class Check:
    """The outcome of one rule."""

    passed: bool
    sentence: str


def threshold(of: str, name: str, figure: Figures, bound: Bound) -> Check:
    """An absolute bound on a metric; one that cannot be told keeps none.

    Args:
      of: what the metric is of, such as "On 'test', auc".
    """
    asked = _asked(bound)
    value = figure["value"]
    if value is None:
        return Check(False, f"{of} cannot be told ({figure['reason']}); it must be {asked}.")
    passed = (bound.max is None or value <= bound.max) and (bound.min is None or value >= bound.min)
    return Check(passed, f"{of} is {_shown(figure)}; it {'had to' if passed else 'must'} be {asked}.")


def _asked(bound: Bound) -> str:
    least = "" if bound.min is None else f"at least {bound.min:g}"
    most = "" if bound.max is None else f"at most {bound.max:g}"
    return " and ".join(words for words in (least, most) if words)


def against_champion(of: str, metric: Metric, node: Figures, at_most_worse: float) -> Check:
    """A bound on how much worse than the champion a metric may be; there must be one."""
    ours, theirs, difference = (found[metric.name] for found in (node, node["champion"], node["difference"]))
    if difference["value"] is None:
        reason = ours.get("reason") or theirs.get("reason")
        return Check(False, f"{of} cannot be compared with the champion's ({reason}).")
    worse = -metric.better * difference["value"]
    return Check(
        worse <= at_most_worse,
        f"{of} is {_shown(ours)}, the champion's on the same rows {theirs['value']:.4g}: "
        f"{_verdict(worse, difference)}; it may be worse by at most {at_most_worse:g}.",
    )


def _verdict(worse: float, difference: Figures) -> str:
    if worse == 0:
        return "no difference"
    return f"{'worse' if worse > 0 else 'better'} by {abs(worse):.3g} (difference {_interval(difference)})"


def champion_rule(on: str, metric: Metric, overall: Figures, rule: ChampionRule, no_champion: str) -> Check:
    """The comparison with the champion, where there is one."""
    if "champion" not in overall:
        return Check(True, f"Not compared with a champion: {no_champion}")
    return against_champion(f"{on}, {metric.name}", metric, overall, rule.at_most_worse)


def better_than_guessing(on: str, task: str, overall: Figures) -> Check:
    """What is asked where nothing else is."""
    name, guessing = GUESSING[task]
    if overall[name]["value"] is None:
        return Check(False, f"{on}, {name} cannot be told ({overall[name]['reason']}).")
    better = overall[name]["value"] > guessing
    return Check(better, f"{on}, {name} is {_shown(overall[name])}; guessing has {guessing:g}.")


def bound_checks(of: str, metric: Metric, node: Figures, bound: Bound) -> Iterator[Check]:
    """A bound's absolute part, and its part against the champion where there is one."""
    if bound.min is not None or bound.max is not None:
        yield threshold(of, metric.name, node[metric.name], bound)
    if bound.at_most_worse is not None and "champion" in node:
        yield against_champion(of, metric, node, bound.at_most_worse)


def slice_checks(on: str, task: str, split: Figures, rules: Rules) -> Iterator[Check]:
    """Each slice that breaks a bound; one sentence of those that keep it."""
    for column, bounds in rules.slice_thresholds.items():
        columns = rules.columns(column)
        nodes = nodes_of(split, columns)
        large = {values: node for values, node in nodes.items() if node["rows"] >= rules.slice_rows}
        if bounds and not large:
            yield Check(
                False, f"{on}, no slice of {_named(columns)} has {rules.slice_rows:,} rows to hold to its bounds."
            )
        for name, bound in bounds.items():
            checks = [
                check
                for values, node in large.items()
                for check in bound_checks(
                    f"{on}, where {_slice(columns, values)}, {name}", metric_of(task, name), node, bound
                )
            ]
            yield from (check for check in checks if not check.passed)
            if checks and all(check.passed for check in checks):
                yield Check(True, _kept(on, name, columns, len(large), len(nodes) - len(large)))


def _kept(on: str, name: str, columns: tuple[str, ...], kept: int, left_out: int) -> str:
    small = f" ({left_out:,} more have too few rows)" if left_out else ""
    return f"{on}, {name} keeps its bounds in {kept:,} slices of {_named(columns)}{small}."


def fairness_checks(on: str, split: Figures, rules: Rules) -> Iterator[Check]:
    """Whether each gap is small enough."""
    for rule, told in zip(rules.fairness, split.get("fairness", ()), strict=True):
        yield _fair(f"{on}, {told['metric']}", rule, told, rules.slice_rows)


def _fair(of: str, rule: FairnessRule, told: Figures, fewest: int) -> Check:
    columns, gap = tuple(told["columns"]), told["gap"]
    if gap["value"] is None:
        return Check(
            False,
            f"{of} cannot be compared between the slices of {_named(columns)}: {told['slices']} of "
            f"{told['slices'] + told['left_out']} have {fewest:,} rows and can be told.",
        )
    passed = gap["value"] <= rule.max_gap
    high, low = told["highest"], told["lowest"]
    return Check(
        passed,
        f"{of} is {high['value']:.4g} where {_slice(columns, high['values'])} and {low['value']:.4g} where "
        f"{_slice(columns, low['values'])}: a gap of {_shown(gap)}; it {'had to' if passed else 'must'} be at most "
        f"{rule.max_gap:g}.",
    )


def _named(columns: tuple[str, ...]) -> str:
    return " x ".join(columns)


def _slice(columns: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ", ".join(f"{column} is {value}" for column, value in zip(columns, values, strict=True))


def _shown(figure: Figures) -> str:
    return f"{figure['value']:.4g} ({_interval(figure)})"


def _interval(figure: Figures) -> str:
    if figure["low"] is None:
        return str(figure.get("no_interval", "too few rows for an interval"))
    return f"95% interval {figure['low']:.4g} to {figure['high']:.4g}"
