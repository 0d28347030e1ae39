"""The page's parts about metrics: the table of candidates, all rows, slices with their intervals, fairness gaps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.report import charts
from pipeline.report.charts import Dot
from pipeline.report.markup import Html, element, folded, items, join, section, table
from pipeline.report.words import NBSP, better, figure, metrics_of, number

_MOST_DOTS = 40
_MOST_ROWS = 500
_EMPTY = "(empty)"


def candidates(document: Mapping[str, Any]) -> Html:
    """All models that were judged on the same rows, the chosen one marked; of one alone the other parts tell all."""
    evaluation = document["evaluation"] or {}
    judged = evaluation.get("candidates", [])
    if len(judged) < 2:
        return Html("")
    split, metrics = _decisive(evaluation), metrics_of(evaluation.get("task", ""), describing=False)
    told = [metric for metric in metrics if any(metric in _overall(one, split) for one in judged)]
    rows = [
        (
            str(one.get("name", "")),
            str(one.get("family", "")),
            *(figure(_overall(one, split).get(metric)) for metric in told),
            f"✓{NBSP}passed" if one.get("passed") else f"✗{NBSP}failed",
            element("strong", f"★{NBSP}chosen") if one.get("chosen") else "",
        )
        for one in judged
    ]
    shown = table(("model", "family", *told, "", ""), rows, f"Candidates, judged on the same rows of '{split}'")
    reasons = [
        join([element("h3", str(one.get("name", ""))), items(str(reason) for reason in one["reasons"])])
        for one in judged
        if one.get("reasons")
    ]
    return section("candidates", "Candidates", shown, folded("Why", *reasons) if reasons else None)


def _overall(candidate: Mapping[str, Any], split: str) -> Mapping[str, Any]:
    found = (candidate.get("overall") or {}).get(split)
    return found if isinstance(found, dict) else {}


def _decisive(evaluation: Mapping[str, Any]) -> str:
    """The split that decides."""
    told = (evaluation.get("decision") or {}).get("decide_on")
    return str(told or next(reversed(evaluation.get("splits") or {"test": None})))


def overall(document: Mapping[str, Any]) -> Html:
    """Each metric on each split, with the champion's and their difference where there is one."""
    evaluation = document["evaluation"] or {}
    splits = evaluation.get("splits") or {}
    whole = {name: split["overall"] for name, split in splits.items()}
    metrics = [m for m in metrics_of(evaluation.get("task", "")) if any(m in found for found in whole.values())]
    if not metrics:
        return Html("")
    header, rows = ["metric"], [["rows"], *([metric] for metric in metrics)]
    for name, found in whole.items():
        header.append(name)
        _add(rows, f"{found.get('rows', 0):,}", (figure(found.get(metric)) for metric in metrics))
        for key in ("champion", "difference"):
            if key in found:
                header.append(f"{name}, {key}")
                _add(rows, "", (figure(found[key].get(metric)) for metric in metrics))
    rows = [[f"{row[0]} ({way})" if (way := better(evaluation["task"], row[0])) else row[0], *row[1:]] for row in rows]
    return section(
        "metrics", "Metrics", table(header, rows, f"All rows of each split, with 95% intervals{_whose(evaluation)}")
    )


def _whose(evaluation: Mapping[str, Any]) -> str:
    judged = evaluation.get("candidates", [])
    chosen = [f": {one['name']}, the chosen one" for one in judged if one.get("chosen")]
    return chosen[0] if len(judged) > 1 and chosen else ""


def _add(rows: list[list[str]], first: str, others: Iterator[str]) -> None:
    for row, cell in zip(rows, (first, *others), strict=True):
        row.append(cell)


def slices(document: Mapping[str, Any]) -> Html:
    """A picture and a table for each column, metric and split; the page's script shows one metric and split at a time."""
    evaluation = document["evaluation"] or {}
    cuts = {name: _cuts(split) for name, split in (evaluation.get("splits") or {}).items()}
    if not any(cuts.values()):
        return Html("")
    metrics, first = metrics_of(evaluation.get("task", "")), _decisive(evaluation)
    chosen = f"{first} {metrics[0]}" if metrics else ""
    parts = []
    for split, found in cuts.items():
        whole = evaluation["splits"][split]["overall"]
        for metric in (metric for metric in metrics if metric in whole):
            charts_of = [_chart(column, nodes, whole, metric, split) for column, nodes in found.items()]
            place = f"{split} {metric}"
            parts.append(element("div", *charts_of, class_="cut", data_cut=place, hidden=place != chosen))
    options = [element("option", name, value=name, selected=name == first) for name in cuts]
    choices = [
        element("label", "Split ", element("select", *options, id="split")),
        element("label", "Metric ", element("select", *(element("option", m, value=m) for m in metrics), id="metric")),
    ]
    words = "A dot is a slice's figure, its line the 95% interval, the dashed line the figure over all rows, a hollow dot the champion's."
    tools = element("p", *choices, class_="tools")
    return section("slices", "Slices", element("p", words), tools, *parts, _slice_tables(evaluation, cuts, metrics))


def _cuts(split: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Nodes by value, by column or cross of columns."""
    found = {
        column: {value or _EMPTY: node for value, node in nodes.items()}
        for column, nodes in (split.get("slices") or {}).items()
        if nodes
    }
    for cross in split.get("crosses") or []:
        nodes = {", ".join(_named(node["values"])): node for node in cross["slices"]}
        if nodes:
            found[" x ".join(map(str, cross["columns"]))] = nodes
    return found


def _named(values: Sequence[Any]) -> list[str]:
    return [str(value) or _EMPTY for value in values]


def _chart(column: str, nodes: Mapping[str, Any], whole: Mapping[str, Any], metric: str, split: str) -> Html:
    largest = sorted(nodes, key=lambda value: -nodes[value].get("rows", 0))[:_MOST_DOTS]
    found = [_dot(value, nodes[value], metric) for value in nodes if value in set(largest)]
    picture = charts.dots(found, (whole.get(metric) or {}).get("value"), f"{metric} on '{split}' by {column}")
    more = len(nodes) - len(found)
    note = f" The {len(found)} largest of {len(nodes)} slices." if more else ""
    return element("figure", element("figcaption", f"{metric} on '{split}' by {column}.{note}"), picture)


def _dot(value: str, node: Mapping[str, Any], metric: str) -> Dot:
    found = node.get(metric) or {}
    other = ((node.get("champion") or {}).get(metric) or {}).get("value")
    note = str(found.get("reason") or "")
    return Dot(f"{value} ({node.get('rows', 0):,})", found.get("value"), found.get("low"), found.get("high"), note, other)  # fmt: skip


def _slice_tables(evaluation: Mapping[str, Any], cuts: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> Html:
    """The same figures as text."""
    tables = []
    for split, found in cuts.items():
        for column, nodes in found.items():
            rows = [
                (value, f"{node.get('rows', 0):,}", *(figure(node.get(metric)) for metric in metrics))
                for value, node in list(nodes.items())[:_MOST_ROWS]
            ]
            caption = f"'{split}' by {column}"
            if len(nodes) > _MOST_ROWS:
                caption += f": the first {_MOST_ROWS} of {len(nodes):,}"
            tables.append(table((column, "rows", *metrics), rows, caption, numbers=(1,)))
    return folded("All figures of all slices", *tables)


def fairness(document: Mapping[str, Any]) -> Html:
    """How far apart slices are."""
    evaluation = document["evaluation"] or {}
    rows = [
        (
            f"{split}: {gap.get('metric', '')} by {' x '.join(map(str, gap.get('columns', [])))}",
            figure(gap.get("gap")),
            _end(gap.get("highest")),
            _end(gap.get("lowest")),
            f"{gap.get('slices', 0)} compared, {gap.get('left_out', 0)} too small",
        )
        for split, found in (evaluation.get("splits") or {}).items()
        for gap in found.get("fairness") or []
    ]
    if not rows:
        return Html("")
    header = ("", "gap", "highest", "lowest", "slices")
    return section("fairness", "Gaps between slices", table(header, rows, "Gaps, with 95% intervals"))


def _end(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "-"
    return f"{', '.join(_named(found.get('values', [])))}: {number(found.get('value'))}"
