"""Runs a scoring plan through the launcher, and publishes what it made."""

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs.table import Table
from components.prediction_columns import tally_words
from pipeline import property_values, runner, runs, stores
from pipeline.composition import Composition
from pipeline.errors import RunError
from pipeline.lineage.records import plain
from pipeline.run_facts import without_credentials
from pipeline.runner import Watcher
from pipeline.scoring import graph, publishing
from pipeline.scoring.planning import ScoringPlan
from pipeline.scoring.publishing import Place
from pipeline.selection import Selection
from pipeline.targets.beam_options import Placement
from pipeline.workspace import Workspace

PUBLISHED = "published"
"""The property of Predictions with the folders, JSON, that they were copied to."""


@dataclass(frozen=True)
class Scored:
    """What a scoring run came to.

    Attributes:
      folder: where the predictions are.
      files: their names there.
      rejected: rows of the table that could not be read.
      findings: in what the table is not like what the model was trained on.
      counted: in words, what else was found on the way: labels that training never saw, predictions that are no numbers.
    """

    run: runs.Run
    folder: str
    files: list[str]
    rows: int
    rejected: int
    ledger: Mapping[str, int]
    findings: list[str]
    counted: list[str]


def score(
    plan: ScoringPlan,
    place: Place,
    workspace: Workspace,
    watcher: Watcher,
    on: Placement | None = None,
    resume: str = "",
    command: str = "",
) -> Scored:
    """Scores the table.

    Args:
      plan: the checked request.
      place: where the predictions go.
      workspace: where outputs and metadata go.
      watcher: hears of progress.
      on: where the Beam jobs are done; here unless given.
      resume: an earlier scoring run to go on with.
      command: what asks for it again.

    Raises:
      RunError: a step failed, or the place holds something else; nothing is left half-written there.
    """
    place.check()
    composed = Composition(
        name=plan.name,
        compose=functools.partial(graph.compose, plan),
        facts=_facts(plan, place, command),
        spellings={step: without_credentials(table.config.path) for step, table in plan.tables.items()},
    )
    finished = runner.run_composed(composed, workspace, watcher, on, Selection(resume))
    return _published(plan, finished, place, workspace)


def _facts(plan: ScoringPlan, place: Place, command: str) -> dict[str, str | int]:
    return {
        "scoring": without_credentials(json.dumps(plan.request.to_json(), sort_keys=True)),
        "model": plan.found.id,
        "table": without_credentials(plan.request.table),
        "to": without_credentials(place.folder),
        "command": without_credentials(command),
        "braid_version": importlib.metadata.version("braid"),
    }


def _published(plan: ScoringPlan, finished: runs.Run, place: Place, workspace: Workspace) -> Scored:
    output = _output(finished, graph.step_named(graph.SCORE, plan), "predictions")
    predictions, scored = Table.load(output.uri), _scored_table(plan, finished)
    rejects = _rejects(plan, finished)
    told = {
        "model": {"artifact": plan.found.id, "name": plan.found.title, "digest": plan.found.digest},
        "run": finished.name,
        "predictions": output.artifact,
        "table": without_credentials(plan.request.table),
        **publishing.contents(predictions, scored),
    }
    files = place.publish(predictions, rejects, told)
    _note(workspace, output.artifact, without_credentials(place.folder))
    return Scored(
        run=finished,
        folder=place.folder,
        files=files,
        rows=predictions.rows,
        rejected=rejects.rows if rejects else 0,
        ledger=predictions.ledger.to_dict(),
        findings=list(_findings(plan, finished)),
        counted=tally_words(output.properties.get("tally") or {}, plan.adapted.label),
    )


def _output(finished: runs.Run, step: str, key: str) -> runs.Output:
    found = finished.step(step)
    if found is None or not found.outputs.get(key):
        raise RunError(f"Run '{finished.name}' has no output '{key}' of step '{step}'.", "Score again.")
    return found.outputs[key][0]


def _streamed_step(plan: ScoringPlan) -> str:
    """The step that reads the table to score, which comes first."""
    return next(iter(plan.tables))


def _scored_table(plan: ScoringPlan, finished: runs.Run) -> Table:
    return Table.load(_output(finished, _streamed_step(plan), "table").uri)


def _rejects(plan: ScoringPlan, finished: runs.Run) -> Table | None:
    found = Table.load(_output(finished, _streamed_step(plan), "rejects").uri)
    return found if found.rows else None


def _findings(plan: ScoringPlan, finished: runs.Run) -> list[str]:
    if plan.check is None:
        return []
    told: Any = _output(finished, graph.step_named(graph.CHECK, plan), "anomalies").properties.get("findings")
    return list(told or [])


def _note(workspace: Workspace, artifact: int, folder: str) -> None:
    """Records where the predictions were copied to."""
    store = stores.open_store(workspace.store, read_only=False)
    (found,) = store.get_artifacts_by_id([artifact])
    folders = plain(found.custom_properties).get(PUBLISHED) or []
    if folder not in folders:
        found.custom_properties[PUBLISHED].CopyFrom(property_values.value(json.dumps([*folders, folder])))
        store.put_artifacts([found])
