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
    metric, best = search.get("metric") or "metric", search.get("trial")
    best = best if isinstance(best, int) else -1
    title = element("h3", f"{search['step']}: {search.get('family', '')}")
    words = element("p", f"Trial {best} is the best: {metric} {number(search.get('value'), 5)} on eval.")
    trials = search["trials"]
    if not trials:
        return join([title, words, element("p", "Its trials are not on record.")])
    names = list(dict.fromkeys(name for trial in trials for name in _parameters(trial)))
    rows = [
        (
            f"{_number(trial, place)}{' ★' if _number(trial, place) == best else ''}",
            str(trial.get("state", "")),
            number(trial.get("value"), 5),
            *(_value(_parameters(trial).get(name)) for name in names),
            number(trial.get("seconds"), 1),
        )
        for place, trial in enumerate(trials)
    ]
    values = [
        (_number(trial, place), trial.get("value"), str(trial.get("state", "")).lower())
        for place, trial in enumerate(trials)
    ]
    picture = element(
        "figure", element("figcaption", f"{metric} by trial"), charts.trials(values, best, f"{metric} of {len(trials)} trials")
    )  # fmt: skip
    header = ("trial", "state", metric, *names, "seconds")
    return join([title, words, picture, table(header, rows, f"Trials of {search['step']}")])


def _number(trial: Mapping[str, Any], place: int) -> int:
    return int(trial.get("number", trial.get("trial", place)))


def _parameters(trial: Mapping[str, Any]) -> Mapping[str, Any]:
    found = trial.get("parameters") or trial.get("params")
    return found if isinstance(found, dict) else {}


def _value(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
