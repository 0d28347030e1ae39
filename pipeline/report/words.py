"""Numbers and times as people read them."""

import datetime
from collections.abc import Mapping
from typing import Any

from beam_jobs.metrics import METRICS

NBSP = "\u00a0"
"""A blank that no line is broken at."""


def moment(milliseconds: int) -> str:
    """A time since 1970, to the second, in UTC."""
    found = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    return f"{found:%Y-%m-%d %H:%M:%S} UTC"


def number(value: float | None, digits: int = 4) -> str:
    """A figure; `-` for none."""
    if value is None:
        return "-"
    return f"{value:,.{digits}f}" if abs(value) < 1_000 else f"{value:,.1f}"


def figure(found: Mapping[str, Any] | None) -> str:
    """A metric with its interval."""
    if not found or found.get("value") is None:
        return "-"
    low, high = found.get("low"), found.get("high")
    interval = "" if low is None or high is None else f" [{number(low)},{NBSP}{number(high)}]"
    return number(found["value"]) + interval


def metrics_of(task: str, describing: bool = True) -> list[str]:
    """The metrics of a task, those that judge first; `describing` says whether those that do not are told, too."""
    found = sorted(METRICS.get(task, ()), key=lambda metric: not metric.better)
    return [metric.name for metric in found if metric.better or describing]


def better(task: str, metric: str) -> str:
    """Which way is better, in words; '' where neither is."""
    signs = {one.name: one.better for one in METRICS.get(task, ())}
    return {1: "more is better", -1: "less is better"}.get(signs.get(metric, 0), "")
