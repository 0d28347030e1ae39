"""What a judging job found: tallies by slice, and the report on each candidate that is made of them.

A report, as JSON:

    {"task", "label", "classes",
     "splits": {"test": {"overall": SLICE, "slices": {"carrier": {"AA": SLICE}},
                         "crosses": [{"columns": ["origin", "carrier"],
                                      "slices": [{"values": ["EWR", "AA"], ...SLICE}]}],
                         "fairness": [GAP]}},
     "notes": ["..."]}
    SLICE: {"rows", "unlabelled", "auc": FIGURE, ..., "champion": {"auc": FIGURE, ...}, "difference": {the same},
            "tfma": {what TFMA tells besides: FIGURE}}
    FIGURE: {"value", "low", "high"}
    GAP: {"columns", "metric", "gap": FIGURE, "highest": {"values", "value"}, "lowest": {the same},
          "slices": how many were compared, "left_out": how many had too few rows}

`rows` are those that were judged; `unlabelled` those left out because their label is missing or none of the model's
classes. A FIGURE holds the candidate's metric and its 95% interval (see `intervals`), null where it cannot be told;
`reason` where the value itself is null; `max_error` where scores were so many that they had to be binned.
`champion`, and `difference` (candidate less champion, on the same rows) are there when a champion was judged too.
`crosses`, `fairness` and `tfma` are there when they were asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from beam_jobs.errors import DataError
from beam_jobs.intervals import Intervals
from beam_jobs.metric_statistics import ClassificationStatistics, SliceStatistics
from beam_jobs.metrics import METRICS, TFMA_METRICS, Metric, metric_of
from beam_jobs.score_histogram import Floats
from beam_jobs.slicing import Columns, Slices, Values

CANDIDATE, CHAMPION = "candidate", "champion"
"""The champion's name among a job's models; all others are candidates, of which a single one needs no other name."""
_DIGITS = 12
"""Significant digits of a figure; fewer than a float's, so that the order of merging does not show."""


class SliceKey(NamedTuple):
    """A slice of a split; without columns and values it is the whole split."""

    split: str
    columns: Columns = ()
    values: Values = ()


@dataclass(frozen=True)
class Tally:
    """What was counted of a slice.

    Attributes:
      unlabelled: rows left out because their label is missing or none of the classes.
      models: each model's statistics of the labelled rows.
    """

    unlabelled: int
    models: Mapping[str, SliceStatistics]

    @property
    def rows(self) -> int:
        """Labelled rows, which are the same for every model."""
        return next(iter(self.models.values())).rows

    def merge(self, other: "Tally") -> "Tally":
        """The tally of both sets of rows."""
        merged = {name: _merged(mine, other.models[name]) for name, mine in self.models.items()}
        return Tally(self.unlabelled + other.unlabelled, merged)


def _merged(one: SliceStatistics, other: SliceStatistics) -> SliceStatistics:
    if isinstance(one, ClassificationStatistics):
        assert isinstance(other, ClassificationStatistics)
        return one.merge(other)
    assert not isinstance(other, ClassificationStatistics)
    return one.merge(other)


Tallies = Mapping[SliceKey, Tally]


def merge_tallies(parts: Iterable[Tallies]) -> Tallies:
    """The tallies of all parts' rows together."""
    merged: dict[SliceKey, Tally] = {}
    for part in parts:
        for key, tally in part.items():
            merged[key] = merged[key].merge(tally) if key in merged else tally
    return merged


class Gap(NamedTuple):
    """A question of fairness: how far apart a metric is between the slices of a column."""

    columns: Columns
    metric: str


@dataclass(frozen=True)
class Question:
    """What the models answer, and what is asked of their answers.

    Attributes:
      task: see `metrics`.
      classes: the classes in the order of their codes, for a binary task (negative, positive), else ().
      splits: the splits to judge, in the order of the report.
      intervals: how intervals are made.
      gaps: the questions of fairness.
      fewest_rows: of a slice that fairness speaks of.
      tfma: whether the report tells what TFMA tells besides.
    """

    task: str
    label: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    intervals: Intervals = field(default_factory=Intervals)
    gaps: tuple[Gap, ...] = ()
    fewest_rows: int = 100
    tfma: bool = False


def report(tallies: Tallies, slices: Slices, question: Question, candidate: str) -> dict[str, Any]:
    """Turns the statistics of one candidate, and of the champion where there is one, into figures.

    Raises:
      DataError: a split has no labelled row.
    """
    splits: dict[str, Any] = {}
    for split in question.splits:
        whole = tallies.get(SliceKey(split))
        if whole is None or not whole.rows:
            raise nothing_judged(split, question.label, whole.unlabelled if whole else 0)
        splits[split] = {
            "overall": _node(whole, question, candidate),
            **_slices(tallies, split, slices, question, candidate),
        }
        if question.gaps:
            splits[split]["fairness"] = [_gap(gap, tallies, split, question, candidate) for gap in question.gaps]
    return {
        "task": question.task,
        "label": question.label,
        "classes": list(question.classes),
        "splits": splits,
        "notes": [_shared(columns, *others) for columns, others in slices.others.items()],
    }


def _shared(columns: Columns, values: int, rows: int) -> str:
    if len(columns) == 1:
        return f"Slice column '{columns[0]}': {values:,} rarer values ({rows:,} rows) share one slice, '(other)'."
    crossed = " x ".join(columns)
    return f"Slices by {crossed}: {values:,} rarer combinations ({rows:,} rows) share one slice, '(other)'."


def nothing_judged(split: str, label: str, unlabelled: int) -> DataError:
    """The error that a split has no labelled row."""
    return DataError(
        f"Split '{split}' has no row to judge a model on: {unlabelled:,} rows, none with a value in the label '{label}'.",
        "Check the split's bounds and the query that makes the label, or leave the split out of the evaluator's `splits`.",
    )


def _slices(tallies: Tallies, split: str, slices: Slices, question: Question, candidate: str) -> dict[str, Any]:
    found: dict[str, Any] = {"slices": {}}
    for columns in slices.values:
        nodes = {
            values: _node(tallies[SliceKey(split, columns, values)], question, candidate)
            for values in slices.names(columns)
            if SliceKey(split, columns, values) in tallies
        }
        if len(columns) == 1:
            found["slices"][columns[0]] = {values[0]: node for values, node in nodes.items()}
        else:
            crossed = [{"values": list(values), **node} for values, node in nodes.items()]
            found.setdefault("crosses", []).append({"columns": list(columns), "slices": crossed})
    return found


def nodes_of(split: Mapping[str, Any], columns: Columns) -> dict[Values, dict[str, Any]]:
    """The slices by a column, or a cross of columns, in a split of a report."""
    if len(columns) == 1:
        return {(value,): node for value, node in split["slices"].get(columns[0], {}).items()}
    crossed = [cross for cross in split.get("crosses", ()) if tuple(cross["columns"]) == columns]
    return {tuple(node["values"]): node for cross in crossed for node in cross["slices"]}


def _node(tally: Tally, question: Question, name: str) -> dict[str, Any]:
    candidate, champion = tally.models[name], tally.models.get(CHAMPION)
    metrics = METRICS[question.task]
    node = {
        "rows": tally.rows,
        "unlabelled": tally.unlabelled,
        **_compared(candidate, champion, question, metrics),
    }
    if question.tfma:
        node["tfma"] = _compared(candidate, champion, question, TFMA_METRICS[question.task])
    return node


def _compared(
    candidate: SliceStatistics, champion: SliceStatistics | None, question: Question, metrics: Sequence[Metric]
) -> dict[str, Any]:
    """The candidate's figures, the champion's and their differences."""
    ours, found = candidate.values(question.intervals.sets), {}
    found.update(_figures(candidate, ours, question, metrics))
    if champion is not None:
        theirs = champion.values(question.intervals.sets)
        found["champion"] = _figures(champion, theirs, question, metrics)
        found["difference"] = {
            metric.name: _difference(ours[metric.name] - theirs[metric.name], candidate.rows, question.intervals)
            for metric in metrics
        }
    return found


def _figures(
    statistics: SliceStatistics, values: Mapping[str, Floats], question: Question, metrics: Sequence[Metric]
) -> dict[str, Any]:
    errors = statistics.errors()
    figures: dict[str, Any] = {}
    for metric in metrics:
        figure = _figure(values[metric.name], statistics.rows, metric, question.intervals)
        if metric.name in errors and figure["value"] is not None:
            figure["max_error"] = _rounded(errors[metric.name])
        if figure["value"] is None:
            figure["reason"] = _why_undefined(statistics, question)
        figures[metric.name] = figure
    return figures


def _figure(values: Floats, rows: int, metric: Metric, intervals: Intervals) -> dict[str, Any]:
    """An interval within the metric's range around the value on all rows."""
    value, offsets = float(values[0]), intervals.offsets(values, rows)
    if not np.isfinite(value):
        return {"value": None, "low": None, "high": None}
    if offsets is None:
        return {"value": _rounded(value), "low": None, "high": None}
    low, high = max(value + offsets[0], metric.least), min(value + offsets[1], metric.most)
    return {"value": _rounded(value), "low": _rounded(low), "high": _rounded(high)}


def _difference(values: Floats, rows: int, intervals: Intervals) -> dict[str, Any]:
    return _figure(values, rows, Metric("difference", 0, -np.inf, np.inf), intervals)


def _gap(gap: Gap, tallies: Tallies, split: str, question: Question, candidate: str) -> dict[str, Any]:
    """The distance between the slices in which the metric is highest and lowest.

    Its interval is that of these two slices' difference, as they were found: not of the largest of many differences.
    """
    slices = {key.values: tally for key, tally in tallies.items() if key[:2] == (split, gap.columns)}
    large = {values: tally for values, tally in slices.items() if tally.rows >= question.fewest_rows}
    measured = {
        values: tally.models[candidate].values(question.intervals.sets)[gap.metric] for values, tally in large.items()
    }
    told = {values: metric for values, metric in measured.items() if np.isfinite(metric[0])}
    counts = {"slices": len(told), "left_out": len(slices) - len(told)}
    asked = {"columns": list(gap.columns), "metric": gap.metric}
    if len(told) < 2:
        return {**asked, "gap": {"value": None, "low": None, "high": None}, **counts}
    highest, lowest = (pick(sorted(told), key=lambda values: told[values][0]) for pick in (max, min))
    reach = metric_of(question.task, gap.metric)
    apart = told[highest] - told[lowest]
    figure = _figure(apart, large[highest].rows, Metric("gap", 0, 0, reach.most - reach.least), question.intervals)
    ends = {
        end: {"values": list(values), "value": _rounded(float(told[values][0]))}
        for end, values in (("highest", highest), ("lowest", lowest))
    }
    return {**asked, "gap": figure, **ends, **counts}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _why_undefined(statistics: SliceStatistics, question: Question) -> str:
    if not statistics.rows:
        return "no row has a label"
    if isinstance(statistics, ClassificationStatistics):
        absent = _absent(statistics, question.classes)
        return f"no row has the label {' or '.join(absent)}"
    return "all labels are equal"


def _absent(statistics: ClassificationStatistics, classes: Sequence[str]) -> list[str]:
    """The classes without a row among all rows: the sets' first."""
    actual = statistics.classes[:, :, 2].sum(axis=0)
    return [f"'{name}'" for name, rows in zip(classes, actual, strict=True) if not rows]
