"""What the artifacts of a run say, as rows of words: kept features, metrics by split, the decision."""

import json
from collections.abc import Mapping
from typing import Any

from beam_jobs import storage
from pipeline.runs import Output, Run

MAIN_METRICS = (
    "auc",
    "pr_auc",
    "log_loss",
    "accuracy",
    "calibration_error",
    "macro_auc",
    "macro_f1",
    "rmse",
    "mae",
    "r2",
)


MOST_COMPARED = 3
"""Metrics of the candidates' table; the others are in `metrics.json`."""


def output_of(run: Run, step: str, key: str) -> Output | None:
    """The output of a step, or nothing when the step did not get so far."""
    found = run.step(step)
    outputs = found.outputs.get(key, []) if found else []
    return outputs[0] if outputs else None


def _document(run: Run, step: str, key: str, file: str) -> dict[str, Any]:
    output = output_of(run, step, key)
    path = f"{output.uri.rstrip('/')}/{file}" if output else ""
    if not path or not storage.exists(path):
        return {}
    document: dict[str, Any] = json.loads(storage.read_text(path))
    return document


def feature_rows(run: Run) -> list[tuple[str, ...]]:
    """Rank, name, gain, permutation importance with its spread, and why a column was not kept."""
    features = _document(run, "select", "importances", "importances.json").get("features", [])
    return [
        (
            str(f["rank"]) if f["rank"] else "-",
            f["name"],
            f"{f['gain']:.3f}",
            f"{f['permutation_mean']:.4f} ± {f['permutation_std']:.4f}",
            "kept" if f["kept"] else f"not kept: {f['reason']}",
        )
        for f in features
    ]


def warnings(run: Run) -> list[str]:
    """What the selection and the training want their user to know: leaks left out, rows without a label."""
    selected: list[str] = _document(run, "select", "importances", "importances.json").get("warnings", [])
    models = [output for step in run.steps if not step.is_resolver for output in step.outputs.get("model", [])]
    trained = [warning for model in models for warning in model.properties.get("warnings", [])]
    return list(dict.fromkeys([*selected, *trained]))


def metric_rows(run: Run) -> tuple[list[str], list[tuple[str, ...]]]:
    """A header with the splits, and a row a metric that the task has."""
    splits = _document(run, "evaluate", "evaluation", "metrics.json").get("splits", {})
    overall = {name: split["overall"] for name, split in splits.items()}
    shown = [metric for metric in MAIN_METRICS if any(metric in o for o in overall.values())]
    if not shown:
        return [], []
    counted = ("rows", *(f"{o['rows']:,}" for o in overall.values()))
    rows = [(metric, *(with_interval(o.get(metric)) for o in overall.values())) for metric in shown]
    return ["metric", *overall], [counted, *rows]


def candidate_rows(run: Run) -> tuple[list[str], list[tuple[str, ...]]]:
    """A header, and a row for each of several candidates: the metrics of the deciding split, and what came of it."""
    document = _document(run, "evaluate", "evaluation", "metrics.json")
    candidates = document.get("candidates", [])
    if len(candidates) < 2:
        return [], []
    decided_on = document["decision"]["decide_on"]
    figures = [candidate["overall"][decided_on] for candidate in candidates]
    shown = [metric for metric in MAIN_METRICS if any(metric in found for found in figures)][:MOST_COMPARED]
    rows = [
        (candidate["name"], candidate["family"], *(with_interval(found.get(name)) for name in shown), _fate(candidate))
        for candidate, found in zip(candidates, figures, strict=True)
    ]
    return ["candidate", "family", *shown, f"on {decided_on}"], rows


def _fate(candidate: dict[str, Any]) -> str:
    if candidate["chosen"]:
        return "chosen"
    return "passed" if candidate["passed"] else "not passed"


def with_interval(metric: Mapping[str, float | None] | None) -> str:
    """A metric's value with its interval, in four decimals."""
    if not metric or metric.get("value") is None:
        return "-"
    low, high = metric.get("low"), metric.get("high")
    interval = f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    return f"{metric['value']:.4f}{interval}"


def decision_lines(run: Run) -> list[str]:
    """Blessed or why not, and where the model was pushed."""
    decision = _document(run, "evaluate", "evaluation", "metrics.json").get("decision")
    if decision is None:
        return []
    lines = ["", "Blessed." if decision["blessed"] else "Not blessed, so not pushed:"]
    lines += [f"  {reason}" for reason in decision["reasons"]]
    pushed = output_of(run, "push", "pushed_model")
    if pushed and pushed.properties.get("pushed"):
        lines.append(f"Serving: {pushed.properties.get('pushed_destination', pushed.uri)}")
    elif pushed and decision["blessed"]:
        lines.append(f"Not pushed: {pushed.properties.get('reason', '')}")
    return lines
