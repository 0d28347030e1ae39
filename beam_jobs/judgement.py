"""What a judging job found: tallies by slice, and the report that is made of them.

The report, as JSON:

    {"task", "label", "classes",
     "splits": {"test": {"overall": SLICE, "slices": {"carrier": {"AA": SLICE}}}},
     "notes": ["..."]}
    SLICE: {"rows", "unlabelled", "auc": FIGURE, ..., "champion": {"auc": FIGURE, ...}, "difference": {the same}}
    FIGURE: {"value", "low", "high"}

`rows` are those that were judged; `unlabelled` those left out because their label is missing or none of the model's
classes. A FIGURE holds the candidate's metric and its 95% interval (see `jackknife`), null where it cannot be told;
`reason` where the value itself is null; `max_error` where scores were so many that they had to be binned.
`champion`, and `difference` (candidate less champion, on the same rows) are there when a champion was judged too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from beam_jobs import jackknife
from beam_jobs.errors import DataError
from beam_jobs.metric_statistics import ClassificationStatistics, SliceStatistics
from beam_jobs.metrics import METRICS, Metric
from beam_jobs.score_histogram import Floats
from beam_jobs.slicing import Slices

CANDIDATE, CHAMPION = "candidate", "champion"
_DIGITS = 12
"""Significant digits of a figure; fewer than a float's, so that the order of merging does not show."""


class SliceKey(NamedTuple):
    """A slice of a split; column and value are '' for the whole split."""

    split: str
    column: str = ""
    value: str = ""


@dataclass(frozen=True)
class Tally:
    """What was counted of a slice.

    Attributes:
      unlabelled: rows left out because their label is missing or none of the classes.
      models: each model's statistics of the labelled rows.
    """

    unlabelled: int
    models: Mapping[str, SliceStatistics]

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


@dataclass(frozen=True)
class Question:
    """What the models answer.

    Attributes:
      task: see `metrics`.
      classes: the classes in the order of their codes, for a binary task (negative, positive), else ().
      splits: the splits to judge, in the order of the report.
    """

    task: str
    label: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]


def report(tallies: Tallies, slices: Slices, question: Question) -> dict[str, Any]:
    """Turns statistics into figures.

    Raises:
      DataError: a split has no labelled row.
    """
    splits: dict[str, Any] = {}
    for split in question.splits:
        whole = tallies.get(SliceKey(split))
        if whole is None or not whole.models[CANDIDATE].rows:
            raise _nothing_judged(split, question.label, whole.unlabelled if whole else 0)
        splits[split] = {"overall": _node(whole, question), "slices": _slices(tallies, split, slices, question)}
    return {
        "task": question.task,
        "label": question.label,
        "classes": list(question.classes),
        "splits": splits,
        "notes": [
            f"Slice column '{column}': {values:,} rarer values ({rows:,} rows) share one slice, '(other)'."
            for column, (values, rows) in slices.others.items()
        ],
    }


def _nothing_judged(split: str, label: str, unlabelled: int) -> DataError:
    return DataError(
        f"Split '{split}' has no row to judge a model on: {unlabelled:,} rows, none with a value in the label '{label}'.",
        "Check the split's bounds and the query that makes the label, or leave the split out of the evaluator's `splits`.",
    )


def _slices(tallies: Tallies, split: str, slices: Slices, question: Question) -> dict[str, Any]:
    return {
        column: {
            value: _node(tallies[SliceKey(split, column, value)], question)
            for value in slices.names(column)
            if SliceKey(split, column, value) in tallies
        }
        for column in slices.values
    }


def _node(tally: Tally, question: Question) -> dict[str, Any]:
    candidate = tally.models[CANDIDATE]
    node = {"rows": candidate.rows, "unlabelled": tally.unlabelled, **_figures(candidate, question)}
    if CHAMPION in tally.models:
        champion = tally.models[CHAMPION]
        node["champion"] = _figures(champion, question)
        ours, theirs = candidate.values(), champion.values()
        node["difference"] = {
            metric.name: _difference(ours[metric.name] - theirs[metric.name], candidate.rows)
            for metric in METRICS[question.task]
        }
    return node


def _figures(statistics: SliceStatistics, question: Question) -> dict[str, Any]:
    values, errors = statistics.values(), statistics.errors()
    figures: dict[str, Any] = {}
    for metric in METRICS[question.task]:
        figure = _figure(values[metric.name], statistics.rows, metric)
        if metric.name in errors and figure["value"] is not None:
            figure["max_error"] = _rounded(errors[metric.name])
        if figure["value"] is None:
            figure["reason"] = _why_undefined(statistics, question)
        figures[metric.name] = figure
    return figures


def _figure(values: Floats, rows: int, metric: Metric) -> dict[str, Any]:
    """An interval within the metric's range around the value on all rows."""
    value, half = float(values[0]), jackknife.half_width(values, rows)
    if not np.isfinite(value):
        return {"value": None, "low": None, "high": None}
    if half is None:
        return {"value": _rounded(value), "low": None, "high": None}
    low, high = max(value - half, metric.least), min(value + half, metric.most)
    return {"value": _rounded(value), "low": _rounded(low), "high": _rounded(high)}


def _difference(values: Floats, rows: int) -> dict[str, Any]:
    return _figure(values, rows, Metric("difference", 0, -np.inf, np.inf))


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
    actual = statistics.classes[:, :, 2].sum(axis=0)
    return [f"'{name}'" for name, rows in zip(classes, actual, strict=True) if not rows]
