"""A lineage for programs.

`document` gives, always with all of these keys:

- `subject`: what was asked for; `direction`: "up" or "down".
- `start`: ids of the artifacts that the question was about; `starting`: ids of executions that it was about beside
  them, which wrote nothing.
- `artifacts`: a list by id, each with `id`, `type`, `uri`, `name` ("" for none), `state` (LIVE, DELETED, ...), `created`
  (ISO 8601, UTC), `properties` (all that is on record), `serving` (the folder it serves from now, or null) and `sources`
  (the source files behind it: `path`, `digest`, `size`; null where not recorded).
- `executions`: a list by id, each with `id`, `run`, `step`, `pipeline`, `type`, `state` (COMPLETE, CACHED, FAILED, ...),
  `created`, `seconds` and `properties`; `run`, `step` and `pipeline` are "" where the store does not tell.
- `events`: a list, each with `artifact`, `execution`, `direction` ("input" or "output") and `key`.
- `serving`: ids of the artifacts that serve now.
- `totals`: counts of `artifacts`, `executions`, `runs` and `source_files` (those of what made X), each once.
- `left_out`: how many executions a depth left out; 0 in a whole answer.

Keys may be added; none will change its meaning. A number that JSON cannot hold is a string: "NaN", "Infinity", "-Infinity".
"""

import dataclasses
import datetime
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.lineage import facts
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.facts import Source
from pipeline.lineage.records import Artifact, Event, Execution


def text(lineage: Lineage, left_out: int = 0) -> str:
    """The document as indented JSON, in plain ASCII."""
    return json.dumps(document(lineage, left_out), indent=2) + "\n"


def document(lineage: Lineage, left_out: int = 0) -> dict[str, Any]:
    """The lineage as plain values, see the module."""
    sources = facts.source_files(lineage)
    return {
        "subject": lineage.subject,
        "direction": lineage.direction,
        "start": list(lineage.start),
        "starting": list(lineage.starting),
        "artifacts": [
            artifact_record(artifact, lineage.serving.get(id_), sources.get(id_, ()))
            for id_, artifact in sorted(lineage.artifacts.items())
        ],
        "executions": [execution_record(execution) for _, execution in sorted(lineage.executions.items())],
        "events": [event_record(event) for event in sorted(lineage.events, key=_order)],
        "serving": sorted(lineage.serving),
        "totals": dataclasses.asdict(facts.totals(lineage, sources)),
        "left_out": left_out,
    }


def artifact_record(artifact: Artifact, serving: str | None, sources: Sequence[Source]) -> dict[str, Any]:
    """One of `artifacts`."""
    return {
        "id": artifact.id,
        "type": artifact.type,
        "uri": artifact.uri,
        "name": artifact.name,
        "state": artifact.state,
        "created": moment(artifact.created),
        "properties": storable(artifact.properties, in_order=True),
        "serving": serving,
        "sources": [{"path": s.path, "digest": s.digest or None, "size": s.size} for s in sources],
    }


def execution_record(execution: Execution) -> dict[str, Any]:
    """One of `executions`."""
    return {
        "id": execution.id,
        "run": execution.run,
        "step": execution.step,
        "pipeline": execution.pipeline,
        "type": execution.type,
        "state": execution.state,
        "created": moment(execution.created),
        "seconds": storable(execution.seconds),
        "properties": storable(execution.properties, in_order=True),
    }


def event_record(event: Event) -> dict[str, Any]:
    """One of `events`."""
    return {
        "artifact": event.artifact,
        "execution": event.execution,
        "direction": "input" if event.is_input else "output",
        "key": event.key,
    }


def moment(milliseconds: int) -> str:
    """`2026-11-22T17:17:45.587Z`."""
    found = datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.UTC)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def storable(value: Any, in_order: bool = False) -> Any:
    """The value without numbers that JSON has no word for; with its keys in order, which a store does not keep."""
    if isinstance(value, Mapping):
        found = {str(key): storable(part, in_order) for key, part in value.items()}
        return dict(sorted(found.items())) if in_order else found
    if isinstance(value, list):
        return [storable(part, in_order) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _order(event: Event) -> tuple[int, bool, str, int]:
    return event.execution, not event.is_input, event.key, event.artifact
