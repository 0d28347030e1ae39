"""The predictions that were made with a model, and the commands that make them again with another."""

import json
import os
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from beam_jobs import storage
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Execution, plain
from pipeline.scoring.publishing import CONTENTS
from pipeline.serving.versions import Version

PREDICTIONS = "Predictions"


@dataclass(frozen=True)
class MadeWith:
    """A folder of predictions.

    Attributes:
      run: the scoring run.
      at: when it ran, milliseconds since 1970.
      table: the table that was scored, as the user spelt it; '' where the store does not tell.
      folder: where the predictions are.
      rows: how many; None where the store does not tell.
      command: what scores the table again, with the version that serves then; '' where the store does not tell.
    """

    run: str
    at: int
    table: str
    folder: str
    rows: int | None
    command: str


def made_with(archive: Archive, version: Version, model: str) -> list[MadeWith]:
    """The predictions that were made with a version and are still there, oldest first.

    Args:
      version: whose Model artifacts' predictions are asked for, and those of models with the same content.
      model: what the commands name in its place.
    """
    found = [
        one
        for execution, rows in _scorings(archive, _same(archive, version))
        for one in _of(archive, execution, rows, model)
    ]
    return sorted(found, key=lambda one: one.at)


def _same(archive: Archive, version: Version) -> set[int]:
    digests = {model.custom("tree_digest") for model in version.models} - {None, ""}
    every = archive.artifacts_of_type("Model")
    return {model.id for model in version.models} | {one.id for one in every if one.custom("tree_digest") in digests}


def _scorings(archive: Archive, models: Collection[int]) -> Iterator[tuple[Execution, int | None]]:
    """The executions that made predictions of these models, each with the rows that it made."""
    readers = {event.execution for event in archive.events_of_artifacts(models, is_input=True)}
    events = archive.events_of_executions(readers, is_input=False)
    outputs = {one.id: one for one in archive.artifacts({event.artifact for event in events})}
    executions = {one.id: one for one in archive.executions(readers)}
    for event in events:
        output = outputs[event.artifact]
        if output.type == PREDICTIONS:
            rows = output.properties.get("rows")
            yield executions[event.execution], None if rows is None else int(rows)


def _of(archive: Archive, execution: Execution, rows: int | None, model: str) -> Iterator[MadeWith]:
    context = archive.run(execution.run) if execution.run else None
    facts = plain(context.custom_properties) if context is not None else {}
    folder = str(facts.get("to") or "")
    if folder and _holds(folder, execution.run):
        table = str(facts.get("table") or "")
        command = _again(str(facts.get("command") or ""), model)
        yield MadeWith(execution.run, execution.created, table, folder, rows, command)


def _holds(folder: str, run: str) -> bool:
    """Whether the folder still holds this run's predictions; a bucket is not asked."""
    if storage.is_remote(folder):
        return True
    path = os.path.join(folder, CONTENTS)
    if not os.path.isfile(path):
        return False
    try:
        told = json.loads(storage.read_text(path))
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("run") == run


def _again(command: str, model: str) -> str:
    """The command as it was typed, with the model's new name."""
    words = shlex.split(command)
    return shlex.join([*words[:2], model, *words[3:]]) if words[:2] == ["braid", "score"] and len(words) > 3 else ""
