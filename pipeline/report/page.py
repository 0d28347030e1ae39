"""The report as a page: one HTML file that needs nothing but itself, not even a network."""

import importlib.resources
from collections.abc import Mapping
from typing import Any

from pipeline import web_page
from pipeline.report import overview
from pipeline.report.explanations import explanations
from pipeline.report.features import features
from pipeline.report.markup import Html, element, join
from pipeline.report.metrics import candidates, fairness, overall, slices
from pipeline.report.tuning import tuning

_SECTIONS = {
    "outcome": "Outcome",
    "warnings": "Notes",
    "candidates": "Candidates",
    "metrics": "Metrics",
    "slices": "Slices",
    "fairness": "Gaps",
    "explanations": "Explanations",
    "features": "Features",
    "tuning": "Tuning",
    "steps": "Steps",
    "places": "Places",
}


def text(document: Mapping[str, Any]) -> str:
    """The page of what `gathering.gather` found. It may load nothing, and run no script but its own."""
    parts = _parts(document)
    links = [element("a", title, href=f"#{name}") for name, title in _SECTIONS.items() if parts[name]]
    body = {
        "heading": overview.heading(document["run"]),
        "links": join(links),
        "body": join(parts[name] for name in _SECTIONS),
    }
    explained = document["explanations"] or {}
    return web_page.assemble(
        _file("page.html"),
        f"Run {document['run']['name']}",
        _file("page.css"),
        _file("page.js"),
        explained.get("rows"),
        body,
    )


def _parts(document: Mapping[str, Any]) -> dict[str, Html]:
    return {
        "outcome": overview.outcome(document),
        "warnings": overview.warnings(document["warnings"]),
        "candidates": candidates(document),
        "metrics": overall(document),
        "slices": slices(document),
        "fairness": fairness(document),
        "explanations": explanations(document["explanations"]),
        "features": features(document["features"]),
        "tuning": tuning(document["tuning"]),
        "steps": overview.steps(document),
        "places": overview.places(document),
    }


def _file(name: str) -> str:
    return importlib.resources.files("pipeline.report").joinpath(name).read_text(encoding="utf-8")
