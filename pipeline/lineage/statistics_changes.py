"""Which columns' distributions moved between two runs, by the statistics that the runs kept."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from beam_jobs import storage
from pipeline.lineage import changes, drift
from pipeline.lineage.changes import Change, Comparison
from pipeline.lineage.data_changes import gone, pairs
from pipeline.lineage.records import Artifact
from pipeline.lineage.run_contents import RunContents

STATISTICS = "ExampleStatistics"
_FILE = "FeatureStats.pb"
DEFAULT_BOUND = 0.01


def statistics(before: RunContents, after: RunContents, bound: float = DEFAULT_BOUND) -> Comparison:
    """Columns of each split whose values, or share of missing values, drifted by more than the bound."""
    return changes.total(_artifact(*pair, bound) for pair in pairs(before, after, STATISTICS))


def _artifact(where: str, before: Artifact, after: Artifact, bound: float) -> Comparison:
    found = []
    old_splits, new_splits = (_splits(artifact) for artifact in (before, after))
    for split in dict.fromkeys([*old_splits, *new_splits]):
        if split not in old_splits or split not in new_splits:
            found.append(Comparison((Change("statistics", f"{where} {split}", *_presence(split in old_splits)),), 1))
            continue
        old, new = (_load(artifact, split) for artifact in (before, after))
        if old is None or new is None:
            lost = (before if old is None else after).uri
            found.append(Comparison((), 0, (gone(f"{where} {split}", lost, "distributions"),)))
        else:
            found.append(_split(f"{where} {split}", old, new, bound))
    return changes.total(found)


def _presence(first: bool) -> tuple[str | None, str | None]:
    return ("present", None) if first else (None, "present")


def _splits(artifact: Artifact) -> list[str]:
    names = artifact.properties.get("split_names")
    return [str(name) for name in names] if isinstance(names, list) else []


def _load(artifact: Artifact, split: str) -> dict[str, Any] | None:
    """A split's columns by name."""
    path = f"{artifact.uri.rstrip('/')}/Split-{split}/{_FILE}"
    try:
        with storage.open_input(path) as stream:
            found = statistics_pb2.DatasetFeatureStatisticsList.FromString(stream.read())
    except (OSError, DecodeError):
        return None
    return {".".join(f.path.step) or f.name: f for dataset in found.datasets[:1] for f in dataset.features}


def _split(where: str, before: dict[str, Any], after: dict[str, Any], bound: float) -> Comparison:
    names = list(dict.fromkeys([*before, *after]))
    found: list[Change] = []
    for name in names:
        if name in before and name in after:
            found += _column(f"{where}: {name}", before[name], after[name], bound)
        else:
            found.append(Change("statistics", f"{where}: {name}", *_presence(name in before), note="column"))
    some = [change for change in found if change.beyond is not False]
    within = len({change.where for change in found} - {change.where for change in some})
    unknown = (f"{where}: {within} columns moved by no more than {bound:g}, the bound.",) if within else ()
    return Comparison(tuple(some), len(names), unknown)


def _column(where: str, before: Any, after: Any, bound: float) -> Iterator[Change]:
    if before.WhichOneof("stats") != after.WhichOneof("stats"):
        kinds = [found.WhichOneof("stats") for found in (before, after)]
        yield Change("statistics", where, kinds[0], kinds[1], note="another kind of values")
        return
    measured = drift.distance(before, after)
    if measured and measured[1]:
        old, new, note = _told(before, after)
        yield Change("statistics", where, old, new, measured[1], measured[1] > bound, f"{measured[0]}{note}")
    shares = drift.missing_share(before), drift.missing_share(after)
    moved = abs(shares[1] - shares[0])
    if moved:
        old, new = ({"missing": share} for share in shares)
        yield Change("statistics", where, old, new, moved, moved > bound, "share of missing values")


def _told(before: Any, after: Any) -> tuple[Any, Any, str]:
    """What a person would look at first: mean and median, or the value whose share moved most."""
    if before.HasField("num_stats"):
        old, new = ({"mean": f.num_stats.mean, "median": f.num_stats.median} for f in (before, after))
        return old, new, ""
    shares = [drift.value_shares(found) for found in (before, after)]
    shift = drift.largest_shift(*shares)
    value = shift[0] if shift else ""
    return {value: shares[0].get(value, 0.0)}, {value: shares[1].get(value, 0.0)}, f", '{value}'"
