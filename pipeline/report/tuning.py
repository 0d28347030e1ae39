"""The page's part about searches for parameters: the trials of each, as a picture and a table."""

from collections.abc import Mapping
from typing import Any

from pipeline.report import charts
from pipeline.report.markup import Html, element, join, section, table
from pipeline.report.words import number


def tuning(searches: list[dict[str, Any]]) -> Html:
    """All searches of the run."""
    return section("tuning", "Tuning", *(_search(search) for search in searches)) if searches else Html("")


def _search(search: Mapping[str, Any]) -> Html:
    metric, best = search["metric"], search["trial"]
    title = element("h3", f"{search['step']}: {search['family']}")
    words = element("p", f"Trial {best} is the best: {metric} {number(search['value'], 5)} on eval.")
    trials = search["trials"]
    if not trials:
        return join([title, words, element("p", "Its trials are not on record.")])
    names = list(dict.fromkeys(name for trial in trials for name in trial["parameters"]))
    rows = [
        (
            f"{trial['number']} ★" if trial["number"] == best else str(trial["number"]),
            str(trial["state"]),
            number(trial["value"], 5),
            str(trial.get("rounds", "")),
            *(_value(trial["parameters"].get(name)) for name in names),
        )
        for trial in trials
    ]
    values = [(trial["number"], trial["value"], trial["state"]) for trial in trials]
    picture = charts.trials(values, best, f"{metric} of {len(trials)} trials")
    figure = (
        element("figure", element("figcaption", f"{metric} by trial; hollow: pruned"), picture) if picture else None
    )
    header = ("trial", "state", metric, "rounds", *names)
    return join([title, words, figure, table(header, rows, f"Trials of {search['step']}", numbers=(3,))])


def _value(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
