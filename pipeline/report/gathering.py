"""What is known of a run, as one document for the page and for programs."""

import posixpath
from typing import Any

import ml_metadata as mlmd
import pyarrow as pa

from beam_jobs.errors import BraidError
from components.explanations import GLOBAL, Summary
from components.hyperparameters import HYPERPARAMETERS
from components.importances import IMPORTANCES
from pipeline import runs
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import plain
from pipeline.report import explained_rows
from pipeline.report.outputs import Outputs
from pipeline.runs import Run, Step

_RUN_FACTS = (
    *("config_file", "overlays", "assignments", "target", "runner", "python", "braid_version"),
    *("code_commit", "code_dirty", "lock_digest", "config"),
)

_STEP_FACTS = ("error", "error_type", "cache_unusable")


def gather(store: mlmd.MetadataStore, name: str) -> dict[str, Any]:
    """Everything that the report shows of a run; `latest` stands for the newest.

    Raises:
      RunError: there is none of that name.
    """
    run, archive = runs.find_run(store, name), Archive(store)
    outputs = Outputs(run)
    explanations = _explanations(outputs)
    evaluation = _first(outputs, "ModelEvaluation", "metrics.json")
    importances = _first(outputs, "FeatureImportances", IMPORTANCES)
    return {
        "run": _run(run, archive),
        "steps": [_step(step, archive) for step in run.steps if not step.is_resolver],
        "attempts": [_step(step, archive) for step in run.attempts if not step.is_resolver],
        "ledgers": _ledgers(run),
        "features": importances,
        "models": _models(outputs),
        "evaluation": evaluation,
        "pushed": [output.properties for _, output in outputs.of_type("PushedModel")],
        "tuning": _tuning(outputs),
        "explanations": explanations,
        "warnings": _warnings(outputs, importances, evaluation, explanations),
        "places": [
            {"step": step.name, "output": key, "type": output.type, "artifact": output.artifact, "uri": output.uri}
            for step in run.steps
            if not step.is_resolver
            for key, found in step.outputs.items()
            for output in found
        ],
    }


def _first(outputs: Outputs, kind: str, file: str) -> dict[str, Any] | None:
    return next((document for _, _, document in outputs.documents(kind, file)), None)


def _run(run: Run, archive: Archive) -> dict[str, Any]:
    context = archive.run(run.name)
    recorded = plain(context.properties) | plain(context.custom_properties)
    facts = {name: recorded[name] for name in _RUN_FACTS if name in recorded}
    return {
        "name": run.name,
        "pipeline": run.pipeline,
        "state": run.state,
        "started": run.started,
        "seconds": round(sum(step.seconds for step in run.steps if step.state != "CACHED" and not step.is_resolver), 3),
        "configuration": posixpath.basename(str(facts.get("config_file", ""))),
        "pinned": run.pinned,
        **facts,
    }


def _step(step: Step, archive: Archive) -> dict[str, Any]:
    return {
        "name": step.name,
        "execution": step.execution,
        "type": step.type.rpartition(".")[2],
        "state": step.state,
        "seconds": step.seconds,
        "reused_from": _reused_from(step, archive),
        **{key: step.properties[key] for key in _STEP_FACTS if key in step.properties},
    }


def _reused_from(step: Step, archive: Archive) -> str:
    """The run whose step made what was taken from the cache."""
    earlier = step.properties.get("cache_of")
    if step.state != "CACHED" or not isinstance(earlier, int):
        return ""
    return next((execution.run for execution in archive.executions([earlier])), "")


def _ledgers(run: Run) -> list[dict[str, Any]]:
    return [
        {"step": step.name, "table": output.properties.get("table", ""), "ledger": output.properties["ledger"]}
        | {"splits": output.properties.get("splits") or {}}
        for step in run.steps
        for found in step.outputs.values()
        for output in found
        if not step.is_resolver and output.type != "Rejects" and isinstance(output.properties.get("ledger"), dict)
    ]


def _models(outputs: Outputs) -> list[dict[str, Any]]:
    return [
        {"step": step.name, "artifact": output.artifact, "uri": output.uri, **output.properties}
        for step, output in outputs.of_type("Model")
    ]


def _tuning(outputs: Outputs) -> list[dict[str, Any]]:
    """Each search with its trials."""
    found = []
    for step, output, best in outputs.documents("HyperParameters", HYPERPARAMETERS):
        trials = outputs.document(step, output, "trials.json")
        found.append({"step": step.name, **best, "trials": trials if isinstance(trials, list) else []})
    return found


def _explanations(outputs: Outputs) -> dict[str, Any] | None:
    """The summary, and the rows that the page shows; of several the first that can be read."""
    for step, output, document in outputs.documents("Explanations", GLOBAL):
        try:
            rows = explained_rows.read(output.uri, Summary.load(output.uri))
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, BraidError) as error:
            outputs.unreadable.append(f"The explanations in '{output.uri}' cannot be read: {error}.")
            continue
        return {"step": step.name, "model": output.properties.get("model", ""), "summary": document, "rows": rows}
    return None


def _warnings(outputs: Outputs, *documents: dict[str, Any] | None) -> list[str]:
    """What the steps want their user to know, in their order, and which files are gone."""
    importances, evaluation, explanations = documents
    findings = [f for _, output in outputs.of_type("ExampleAnomalies") for f in output.properties.get("findings") or []]
    trained = [w for _, output in outputs.of_type("Model") for w in output.properties.get("warnings") or []]
    told = [*findings, *(importances or {}).get("warnings", []), *trained, *(evaluation or {}).get("notes", [])]
    told += (explanations or {}).get("summary", {}).get("notes", [])
    said = ((evaluation or {}).get("decision") or {}).get("reasons", [])
    return list(dict.fromkeys([*(str(one) for one in told if one not in said), *outputs.unreadable]))
