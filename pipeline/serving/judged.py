"""What the judge found of pushed versions: family, figures, blessing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs import storage
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact
from pipeline.serving.versions import Version
from pipeline.summary import MAIN_METRICS

EVALUATION, BLESSING, METRICS = "evaluation", "blessing", "metrics.json"
_PREFERRED = "test"


@dataclass(frozen=True)
class Judged:
    """What the judge found.

    Attributes:
      family: the library that made the model; '' where nothing tells.
      name: which of several candidates of its pipeline it was; '' where nothing tells.
      split: whose rows the figures are of.
      figures: `value`, and `low` and `high` of a 95% interval, by metric.
      blessed: None where nothing tells.
    """

    family: str = ""
    name: str = ""
    split: str = ""
    figures: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    blessed: bool | None = None


def judged(archive: Archive, version: Version) -> Judged:
    """The newest verdict on a version that can be read; nothing where there is none."""
    ids = [model.id for model in version.models]
    readers = {event.execution for event in archive.events_of_artifacts(ids, is_input=True) if event.key == "model"}
    events = archive.events_of_executions(readers, is_input=False) if readers else []
    outputs = {one.id: one for one in archive.artifacts([event.artifact for event in events])}
    for event in sorted(events, key=lambda event: -event.execution):
        if event.key == EVALUATION:
            same = [one for one in events if one.execution == event.execution and one.key == BLESSING]
            found = _read(version, outputs[event.artifact], [outputs[one.artifact] for one in same])
            if found is not None:
                return found
    return Judged()


def _read(version: Version, evaluation: Artifact, blessings: list[Artifact]) -> Judged | None:
    path = f"{evaluation.uri.rstrip('/')}/{METRICS}"
    if not storage.exists(path):
        return None
    document = json.loads(storage.read_text(path))
    digests = {model.custom("tree_digest") for model in version.models}
    candidate: dict[str, Any] = next((one for one in document.get("candidates", []) if one["model"] in digests), {})
    overall = candidate.get("overall") or {name: one["overall"] for name, one in document["splits"].items()}
    split = _PREFERRED if _PREFERRED in overall else document["decision"]["decide_on"]
    figures: dict[str, Any] = overall.get(split, {})
    verdicts = [one.custom("blessed") == 1 for one in blessings]
    return Judged(
        family=str(candidate.get("family", "")),
        name=str(candidate.get("name", "")),
        split=split,
        figures={name: figures[name] for name in MAIN_METRICS if isinstance(figures.get(name), dict)},
        blessed=verdicts[0] if verdicts else None,
    )
