"""What came of the data in two runs: schemas, columns, rows, content."""

import dataclasses
from collections.abc import Iterator, Mapping

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.ledger import Ledger
from beam_jobs.table import Table
from pipeline.lineage import changes
from pipeline.lineage.changes import Change, Comparison
from pipeline.lineage.origin_changes import unified
from pipeline.lineage.records import Artifact
from pipeline.lineage.run_contents import RunContents
from pipeline.lineage.tables import SOURCE_TABLE

SCHEMA, SCHEMA_FILE = "Schema", "schema.pbtxt"
_LEDGER = tuple(field.name for field in dataclasses.fields(Ledger))
Pair = tuple[str, Artifact, Artifact]


def pairs(before: RunContents, after: RunContents, *types: str) -> Iterator[Pair]:
    """The outputs of the same step and key in both runs; one and the same artifact is no pair."""
    new = dict(after.artifacts(*types))
    for where, artifact in before.artifacts(*types):
        if where in new and new[where].id != artifact.id:
            yield where, artifact, new[where]


def read_text(uri: str, file: str) -> str | None:
    """A file of an artifact; None where it is gone."""
    path = f"{uri.rstrip('/')}/{file}"
    try:
        return storage.read_text(path)
    except OSError:
        return None


def gone(where: str, uri: str, what: str) -> str:
    """The sentence for an artifact's file that is not there to be compared."""
    return f"{where}: '{uri}' is gone or cannot be read, so {what} could not be compared."


def schemas(before: RunContents, after: RunContents) -> Comparison:
    """Schema files, by their text."""
    return changes.total(_schema(*pair) for pair in pairs(before, after, SCHEMA))


def _schema(where: str, before: Artifact, after: Artifact) -> Comparison:
    old, new = (read_text(artifact.uri, SCHEMA_FILE) for artifact in (before, after))
    digests = [artifact.properties.get("digest") for artifact in (before, after)]
    if old is None or new is None:
        lost = gone(where, (before if old is None else after).uri, "the schema's lines")
        found = () if digests[0] == digests[1] else (Change("schema", where, digests[0], digests[1]),)
        return Comparison(found, 1, (lost,))
    if old == new:
        return Comparison((), 1)
    digests = [digest or storage.text_digest(text) for digest, text in zip(digests, (old, new), strict=True)]
    return Comparison((Change("schema", where, digests[0], digests[1], note=unified(old, new)),), 1)


def columns(before: RunContents, after: RunContents) -> Comparison:
    """Columns of tables that came, went or have another type, from the tables' manifests."""
    return changes.total(_columns(*pair) for pair in pairs(before, after) if "schema_digest" in pair[1].properties)


def _columns(where: str, before: Artifact, after: Artifact) -> Comparison:
    digests = [artifact.properties.get("schema_digest") for artifact in (before, after)]
    if digests[0] == digests[1]:
        return Comparison((), 1)
    try:
        old, new = (_column_types(artifact) for artifact in (before, after))
    except (DataError, OSError):
        change = Change("column", where, {"digest": digests[0]}, {"digest": digests[1]}, note="names, types or order")
        lost = before.uri if not storage.exists(f"{before.uri}/table.json") else after.uri
        return Comparison((change,), 1, (gone(where, lost, "columns"),))
    found = changes.by_key("column", f"{where}: ", old, new)
    if not found.changes:
        return Comparison((Change("column", where, list(old), list(new), note="order"),), found.compared)
    return found


def _column_types(artifact: Artifact) -> dict[str, str]:
    return {column.name: str(column.type) for column in Table.load(artifact.uri).schema}


def rows(before: RunContents, after: RunContents) -> Comparison:
    """Ledgers and rows by split; of both only the counts that differ."""
    return changes.total(_rows(*pair) for pair in pairs(before, after) if "ledger" in pair[1].properties)


def _rows(where: str, before: Artifact, after: Artifact) -> Comparison:
    old, new = _counts(before), _counts(after)
    moved = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    if not moved:
        return Comparison((), 1)
    change = Change(
        "rows", where, {key: old[key] for key in moved if key in old}, {key: new[key] for key in moved if key in new}
    )
    return Comparison((change,), 1)


def _counts(artifact: Artifact) -> dict[str, int]:
    ledger, splits = (artifact.properties.get(key) or {} for key in ("ledger", "splits"))
    counts = {key: int(count) for key, count in sorted(_mapping(ledger).items(), key=lambda item: _order(item[0]))}
    return counts | {f"in {split}": int(count) for split, count in _mapping(splits).items()}


def _order(count: str) -> int:
    return _LEDGER.index(count) if count in _LEDGER else len(_LEDGER)


def _mapping(found: object) -> Mapping[str, float]:
    return found if isinstance(found, dict) else {}


def content(before: RunContents, after: RunContents) -> Comparison:
    """Tables that hold other data than before, however equal their counts; a source's files speak for its table."""
    found = []
    for where, old, new in pairs(before, after):
        if old.type == SOURCE_TABLE or "content_digest" not in old.properties:
            continue
        digests = [artifact.properties.get("content_digest") for artifact in (old, new)]
        found.append(changes.digests("content", where, *digests))
    return changes.total(found)
