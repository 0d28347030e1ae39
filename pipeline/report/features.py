"""The page's part about features: what each column is worth, and why it was kept or not."""

from collections.abc import Mapping
from typing import Any

from pipeline.report import charts
from pipeline.report.markup import Html, element, folded, section, table
from pipeline.report.words import number

_HEADER = ("feature", "rank", "gain", "", "permutation", "")


def features(importances: Mapping[str, Any] | None) -> Html:
    """Kept columns with their importances; the others on demand."""
    if not importances or not importances.get("features"):
        return Html("")
    found = importances["features"]
    gain = max((abs(one["gain"]) for one in found), default=0.0)
    worth = max((abs(one["permutation_mean"]) for one in found), default=0.0)
    kept = [_row(one, gain, worth) for one in found if one["kept"]]
    others = [(*_row(one, gain, worth), str(one["reason"])) for one in found if not one["kept"]]
    metric = importances.get("metric") or "the metric"
    words = (
        f"Gain is a column's share of all that the model's splits gained. Permutation is by how much {metric} gets worse "
        f"on held-out rows when the column is shuffled, ± its spread."
    )
    shown = table(_HEADER, kept, f"{len(kept)} of {len(found)} columns are kept", numbers=(1, 2, 4))
    content = [element("p", words), shown]
    if others:
        left_out = table((*_HEADER, "why"), others, "Columns that are not kept", numbers=(1, 2, 4))
        content.append(folded(f"{len(others)} columns are not kept", left_out))
    return section("features", "Features", *content)


def _row(one: Mapping[str, Any], gain: float, worth: float) -> tuple[Html | str, ...]:
    return (
        str(one["name"]),
        str(one["rank"] or "-"),
        number(one["gain"], 3),
        charts.bar(one["gain"], gain, 110),
        f"{number(one['permutation_mean'])} ± {number(one['permutation_std'])}",
        charts.bar(one["permutation_mean"], worth, 110),
    )
