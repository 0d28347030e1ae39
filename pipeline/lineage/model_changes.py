"""What came of the learning in two runs: kept features, the model, its metrics, its blessing, what was pushed."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.lineage import changes
from pipeline.lineage.changes import Change, Comparison, Kind
from pipeline.lineage.data_changes import gone, pairs, read_text
from pipeline.lineage.origin_changes import FINGERPRINT
from pipeline.lineage.records import Artifact
from pipeline.lineage.run_contents import RunContents

IMPORTANCES, MODEL, EVALUATION, BLESSING, PUSHED = (
    "FeatureImportances",
    "Model",
    "ModelEvaluation",
    "ModelBlessing",
    "PushedModel",
)
_TELLS_NOTHING = (
    FINGERPRINT,
    "is_external",
    "tfx_version",
    "name",
    "state",
    "seconds",
    "peak_memory",
    "tree_digest",
    "bytes",
    "files_count",
    "current_model",
    "current_model_id",
    "baseline_model",
    "baseline_model_id",
)
"""Properties that tell nothing of what an artifact holds, or that another comparison has told."""


def features(before: RunContents, after: RunContents) -> Comparison:
    """Features that were kept or no longer are, and those whose rank moved; before and after are ranks."""
    return changes.total(_features(*pair) for pair in pairs(before, after, IMPORTANCES))


def _features(where: str, before: Artifact, after: Artifact) -> Comparison:
    old, new = (_ranked(artifact) for artifact in (before, after))
    unknown = tuple(
        gone(where, a.uri, "why a feature is kept") for a in (before, after) if _document(a, "importances.json") is None
    )
    found = []
    for name in dict.fromkeys([*old, *new]):
        ranks = [side[name][0] if name in side else None for side in (old, new)]
        if ranks[0] != ranks[1]:
            word = "not kept any more" if ranks[1] is None else "newly kept" if ranks[0] is None else "rank"
            reason = (new if name in new else old)[name][1]
            found.append(Change("feature", name, ranks[0], ranks[1], note=f"{word}: {reason}" if reason else word))
    order = sorted(found, key=lambda change: (change.before is not None and change.after is not None, change.where))
    return Comparison(tuple(order), len(old.keys() | new.keys()), unknown)


def _ranked(artifact: Artifact) -> dict[str, tuple[int | None, str]]:
    """Rank, None where it is not kept, and the reason, by feature; without the file, the kept ones in their order."""
    document = _document(artifact, "importances.json")
    if document is None:
        kept = artifact.properties.get("kept_columns")
        return {name: (rank, "") for rank, name in enumerate(kept if isinstance(kept, list) else [], 1)}
    return {f["name"]: (f["rank"] if f["kept"] else None, f["reason"]) for f in document["features"]}


def model(before: RunContents, after: RunContents) -> Comparison:
    """What was recorded of the models: parameters as they were resolved, rounds, rows."""
    found = []
    for where, old, new in pairs(before, after, MODEL):
        compared = changes.by_key(
            "model", f"{where}: ", *(changes.flattened(_lasting(artifact)) for artifact in (old, new))
        )
        found.append(compared if compared.changes else compared + _content("model", where, old, new))
    return changes.total(found)


def metrics(before: RunContents, after: RunContents) -> Comparison:
    """Every metric of every split, overall and by slice."""
    return changes.total(_metrics(*pair) for pair in pairs(before, after, EVALUATION))


def _metrics(where: str, before: Artifact, after: Artifact) -> Comparison:
    documents = [_document(artifact, "metrics.json") for artifact in (before, after)]
    if None in documents:
        lost = (before if documents[0] is None else after).uri
        recorded = changes.by_key("metric", f"{where}: ", _lasting(before), _lasting(after))
        return recorded + Comparison((), 0, (gone(where, lost, "metrics by slice"),))
    old, new = (dict(_measured(document or {})) for document in documents)
    names = list(dict.fromkeys([*old, *new]))
    found = (_metric(name, old.get(name), new.get(name)) for name in names)
    return Comparison(tuple(change for change in found if change), len(names))


def _measured(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """`test auc` and `test auc [origin=EWR]` with value and interval, what is overall first."""
    splits = document.get("splits", {})
    for split, found in splits.items():
        for name, metric in found["overall"].items():
            if isinstance(metric, dict) and "value" in metric:
                yield f"{split} {name}", metric
    for split, found in splits.items():
        for column, by_value in found.get("slices", {}).items():
            for value, measured in by_value.items():
                for name, metric in measured.items():
                    if isinstance(metric, dict) and "value" in metric:
                        yield f"{split} {name} [{column}={value}]", metric


def _metric(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Change | None:
    old, new = ((side or {}).get("value") for side in (before, after))
    if old == new:
        return None
    low, high = ((before or {}).get(edge) for edge in ("low", "high"))
    if old is None or new is None:
        return Change("metric", name, old, new)
    if low is None or high is None:
        return Change("metric", name, old, new, new - old)
    outside = not low <= new <= high
    words = "outside" if outside else "within"
    return Change("metric", name, old, new, new - old, outside, f"{words} the interval {low:.4f} to {high:.4f}")


def blessing(before: RunContents, after: RunContents) -> Comparison:
    """Whether the model was blessed."""
    found = []
    for where, old, new in pairs(before, after, BLESSING):
        sides = [artifact.properties.get("blessed") == 1 for artifact in (old, new)]
        message = str(new.properties.get("blessing_message", ""))
        change = Change("blessing", where, sides[0], sides[1], note=message)
        found.append(Comparison((change,) if sides[0] != sides[1] else (), 1))
    return changes.total(found)


def push(before: RunContents, after: RunContents) -> Comparison:
    """What was pushed, and where; None where the model was held back."""
    found = []
    for where, old, new in pairs(before, after, PUSHED):
        sides = [artifact.properties.get("pushed_destination") or None for artifact in (old, new)]
        change = Change("push", where, sides[0], sides[1], note=str(new.properties.get("reason", "")))
        found.append(Comparison((change,) if sides[0] != sides[1] else (), 1))
    return changes.total(found)


def others(before: RunContents, after: RunContents, told: tuple[str, ...]) -> Comparison:
    """Outputs of types that no other comparison speaks of: their properties and, where recorded, their content."""
    found = []
    for where, old, new in pairs(before, after):
        if old.type in told or "ledger" in old.properties:
            continue
        compared = changes.by_key("artifact", f"{where}: ", *(changes.flattened(_lasting(a)) for a in (old, new)))
        found.append(compared + _content("artifact", where, old, new))
    return changes.total(found)


def _content(kind: Kind, where: str, before: Artifact, after: Artifact) -> Comparison:
    digests = [artifact.properties.get("tree_digest") for artifact in (before, after)]
    if None in digests:
        return Comparison((), 0, (f"{where} ({before.type}): the digest of its content was not recorded.",))
    return changes.digests(kind, where, *digests)


def _lasting(artifact: Artifact) -> dict[str, Any]:
    return {key: value for key, value in artifact.properties.items() if key not in _TELLS_NOTHING}


def _document(artifact: Artifact, file: str) -> Any:
    text = read_text(artifact.uri, file)
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None
