"""The page's part about explanations: which features matter, and a frame in which the script explains a row."""

from collections.abc import Mapping
from typing import Any

from pipeline.report import charts
from pipeline.report.explained_rows import MOST_FEATURES
from pipeline.report.markup import Html, element, folded, section, table
from pipeline.report.words import NBSP, number

_STRONG = 0.3


def explanations(found: Mapping[str, Any] | None) -> Html:
    """Global bars, and the view of single rows."""
    if not found or not found["summary"].get("features"):
        return Html("")
    summary, rows = found["summary"], found["rows"]
    if not summary["rows"]:
        return Html("")
    words = (
        f"{summary['rows']:,} of {summary['of_rows']:,} rows of '{summary['split']}' are explained. A contribution is what a "
        f"feature adds to the model's {_margin_word(summary)}; a row's contributions and the bias sum to it."
    )
    return section("explanations", "Explanations", element("p", words), _global(summary), _by_row(summary, rows))


def _margin_word(summary: Mapping[str, Any]) -> str:
    if summary["task"] == "regression":
        return f"prediction of '{summary['label']}'"
    if summary["task"] == "binary":
        return f"log odds of '{summary['label']}' being {summary['classes'][0]}"
    return "score of a class, before softmax"


def _global(summary: Mapping[str, Any]) -> Html:
    features = summary["features"]
    most = max(feature["mean_absolute"] for feature in features)
    single = len(features[0]["effects"]) == 1
    header = (
        ("feature", "mean |contribution|", "", "mean", "larger values")
        if single
        else ("feature", "mean |contribution|", "")
    )
    rows = [_row(feature, most, single) for feature in features]
    shown = table(header, rows[:MOST_FEATURES], "Which features matter most", numbers=(1, 3))
    others = rows[MOST_FEATURES:]
    more = folded(f"{len(others)} more", table(header, others, "The other features", (1, 3))) if others else None
    return element("div", shown, more, None if single else _by_class(summary))


def _row(feature: Mapping[str, Any], most: float, single: bool) -> tuple[Html | str, ...]:
    size = feature["mean_absolute"]
    shown: tuple[Html | str, ...] = (str(feature["name"]), number(size), charts.bar(size, most, 180))
    effect = feature["effects"][0]
    return (*shown, number(effect["mean_signed"]), _direction(effect, feature["kind"])) if single else shown


def _direction(effect: Mapping[str, Any], kind: str) -> str:
    correlation = effect["correlation"]
    if kind == "category":
        return "text"
    if correlation is None:
        return "no direction"
    way = "push up" if correlation > 0 else "push down"
    told = f"{way} ({correlation:+.2f})" if abs(correlation) >= _STRONG else f"up and down ({correlation:+.2f})"
    return told.replace(" ", NBSP)


def _by_class(summary: Mapping[str, Any]) -> Html:
    classes = [str(effect["class_value"]) for effect in summary["features"][0]["effects"]]
    rows = [
        (str(feature["name"]), *(number(effect["mean_absolute"]) for effect in feature["effects"]))
        for feature in summary["features"][:MOST_FEATURES]
    ]
    shown = table(("feature", *classes), rows, "Mean |contribution| by class", tuple(range(1, len(classes) + 1)))
    return folded("By class", shown)


def _by_row(summary: Mapping[str, Any], rows: Mapping[str, Any]) -> Html:
    """What the script fills; `explanations.parquet` says the same without it."""
    count = len(rows["id"])
    orders = [
        ("error", "worst predicted first"),
        ("high", "highest prediction first"),
        ("low", "lowest prediction first"),
    ]
    options = [element("option", words, value=order) for order, words in (*orders, ("id", "by _row"))]
    classes = [element("option", name, value=str(place)) for place, name in enumerate(rows["classes"])]
    tools = [
        element("label", "Order ", element("select", *options, id="order")),
        element("label", "Row ", element("select", id="row")),
        element("button", "Previous", type="button", id="previous"),
        element("button", "Next", type="button", id="next"),
    ]
    if len(classes) > 1:
        tools.append(element("label", "Class ", element("select", *classes, id="class")))
    left_out = "" if count == rows["of_rows"] else f" The page holds {count:,} of them; the artifact's table has all."
    words = f"How a prediction comes about: from the bias, feature by feature, the largest first.{left_out}"
    frame = element("div", id="waterfall", aria_live="polite")
    without = element("noscript", element("p", "Single rows are drawn with JavaScript."))
    return element(
        "div", element("h3", "Row by row"), element("p", words), element("p", *tools, class_="tools"), frame, without,
        data_task=summary["task"], id="rows",
    )  # fmt: skip
