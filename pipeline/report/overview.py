"""The page's first parts: the run, what came of it, its steps and their ledgers, warnings; and its last, the places."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.report import charts
from pipeline.report.markup import Html, element, folded, items, section, table
from pipeline.report.words import moment, number
from pipeline.terminal import ledger_words

_MARKS = {"COMPLETE": "✓", "CACHED": "=", "FAILED": "✗", "CANCELED": "✗", "RUNNING": "…"}
_WORDS = {"CACHED": "reused"}


def heading(run: Mapping[str, Any]) -> Html:
    """What ran, when, with which code."""
    commit = str(run.get("code_commit") or "")
    changed = ", files changed since" if run.get("code_dirty") else ""
    code = f"{commit[:12]}{changed}" if commit else "not recorded"
    facts = {
        "pipeline": run["pipeline"],
        "state": _state(run["state"]),
        "started": moment(run["started"]),
        "took": f"{number(run['seconds'], 1)} s in steps that ran",
        "configuration": run["configuration"] or "not recorded",
        "changed by": ", ".join([*map(str, run.get("overlays") or []), *map(str, run.get("assignments") or [])]),
        "code": code,
        "Braid": f"{run.get('braid_version', 'version not recorded')}, Python {run.get('python', 'not recorded')}",
        "ran on": " ".join(str(run[key]) for key in ("target", "runner") if run.get(key)),
        "lock": str(run.get("lock_digest") or "not recorded")[:12],
    }
    told = ((key, value) for key, value in facts.items() if value)
    return element(
        "dl", *(element("div", element("dt", key), element("dd", value)) for key, value in told), class_="facts"
    )


def outcome(document: Mapping[str, Any]) -> Html:
    """Blessed or not, and where the model serves; the error of what failed."""
    decision, parts = (document["evaluation"] or {}).get("decision"), []
    for step in document["steps"]:
        if step["state"] in ("FAILED", "CANCELED"):
            told = step.get("error") or "The error is not recorded."
            title = element("p", element("strong", f"The step '{step['name']}' {step['state'].lower()}."))
            parts.append(element("div", title, element("pre", str(told)), class_="failed box", role="note"))
    if decision:
        blessed = bool(decision.get("blessed"))
        title = element("p", element("strong", "Blessed." if blessed else "Not blessed, so not pushed."))
        reasons = items(str(reason) for reason in decision.get("reasons", []))
        parts.append(element("div", title, reasons, class_="good box" if blessed else "bad box", role="note"))
    for pushed in document["pushed"]:
        if pushed.get("pushed"):
            words = f"Version {pushed.get('pushed_version', '')} was pushed to {pushed.get('pushed_destination', '')}."
            parts.append(element("p", words))
    if not parts:
        parts.append(element("p", "The run did not come to a decision about a model."))
    return section("outcome", "Outcome", *parts)


def warnings(told: list[str]) -> Html:
    """What the steps want their user to know."""
    return section("warnings", "Notes and warnings", items(told)) if told else Html("")


def steps(document: Mapping[str, Any]) -> Html:
    """Each step with its state and its time, and the ledgers of the tables."""
    most = max((step["seconds"] for step in document["steps"]), default=0.0)
    rows = [_step_row(step, most) for step in document["steps"]]
    content = [table(("step", "what", "state", "seconds", "", ""), rows, "Steps", numbers=(3,))]
    if document["attempts"]:
        earlier = [_step_row(step, most) for step in document["attempts"]]
        content.append(
            folded(
                "Earlier attempts",
                table(("step", "what", "state", "seconds", "", ""), earlier, "Earlier attempts", (3,)),
            )
        )
    if not rows:
        content = [element("p", "No step began.")]
    return section("steps", "Steps", *content, _ledgers(document["ledgers"]))


def _step_row(step: Mapping[str, Any], most: float) -> tuple[Html | str, ...]:
    notes = []
    if step["reused_from"]:
        notes.append(f"from {step['reused_from']}")
    if step.get("cache_unusable"):
        notes.append(f"not taken from the cache: {step['cache_unusable']}")
    if step.get("error"):
        notes.append(str(step["error"]).splitlines()[0])
    seconds = "" if step["state"] == "CACHED" else number(step["seconds"], 1)
    line = Html("") if step["state"] == "CACHED" else charts.bar(step["seconds"], most, 120)
    return (step["name"], step["type"], _state(step["state"]), seconds, line, "; ".join(notes))


def _state(state: str) -> Html:
    word = _WORDS.get(state, state.lower())
    return element("span", f"{_MARKS.get(state, '')} {word}", class_=f"state {state.lower()}")


def _ledgers(ledgers: list[dict[str, Any]]) -> Html:
    if not ledgers:
        return Html("")
    rows = [
        (str(one["table"] or one["step"]), _ledger_words(one["ledger"]), _split_words(one["splits"])) for one in ledgers
    ]
    return table(("table", "rows", "splits"), rows, "Ledgers: no row is lost without being counted")


def _ledger_words(ledger: Mapping[str, float]) -> str:
    try:
        return ledger_words(dict(ledger))
    except (KeyError, TypeError, ValueError):  # another program's
        return json.dumps(ledger)


def _split_words(splits: Any) -> str:
    if not isinstance(splits, dict):
        return ""
    return ", ".join(f"{name} {int(rows):,}" for name, rows in splits.items() if isinstance(rows, int | float))


def places(document: Mapping[str, Any]) -> Html:
    """Where the artifacts are, and the configuration with its defaults."""
    rows = [
        (f"{one['step']}.{one['output']}", one["type"], str(one["artifact"]), one["uri"]) for one in document["places"]
    ]
    content = []
    if rows:
        content.append(folded("Artifacts", table(("output", "type", "id", "place"), rows, "Artifacts", (2,))))
    config = document["run"].get("config")
    if config:
        text = json.dumps(config, indent=2, ensure_ascii=False) if isinstance(config, dict) else str(config)
        content.append(folded("Configuration, with defaults", element("pre", text)))
    return section("places", "Where things are", *content)
