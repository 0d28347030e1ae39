"""What the steps found out about their inputs' quality: statistics, the gate's anomalies, ledgers, blessings."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from beam_jobs import storage
from pipeline.lineage.facts import ledger_of
from pipeline.lineage.records import Artifact, Execution
from pipeline.terminal import ledger_words

EXAMPLES, STATISTICS, ANOMALIES, BLESSING = "Examples", "ExampleStatistics", "ExampleAnomalies", "ModelBlessing"
_FILES = {STATISTICS: "FeatureStats.pb", ANOMALIES: "SchemaDiff.pb"}
Content = dict[str, Any]
Keyed = tuple[str, Artifact]


def found_out(
    execution: Execution, key: str, artifact: Artifact, read: Sequence[Keyed], wrote: Sequence[Keyed]
) -> dict[str, Content]:
    """The content of the facets about an input's quality, as the execution's outputs tell of it."""
    told: list[Content] = []
    counted: Content | None = None
    for _, output in wrote:
        if output.type == STATISTICS and _only(EXAMPLES, artifact, read):
            counted = metrics(output)
        elif output.type == ANOMALIES and _only(_judged(read), artifact, read):
            told += anomalies(output)
        elif output.type == BLESSING and key == "model":
            told += blessing(output)
        elif _streamed(execution, artifact):
            told += ledger(output, None)
    found: dict[str, Content | None] = {"dataQualityMetrics": counted}
    return {name: content for name, content in found.items() if content} | (
        {"dataQualityAssertions": {"assertions": told}} if told else {}
    )


def _judged(read: Sequence[Keyed]) -> str:
    """What anomalies are of: the examples, or where the gate did not read them, their statistics."""
    return EXAMPLES if any(artifact.type == EXAMPLES for _, artifact in read) else STATISTICS


def _only(kind: str, artifact: Artifact, read: Sequence[Keyed]) -> bool:
    """Whether it is the only input of its type, and it is of that type: of several, none can be said to be meant."""
    return artifact.type == kind and len({other.id for _, other in read if other.type == kind}) == 1


def _streamed(execution: Execution, artifact: Artifact) -> bool:
    """Whether it is the table whose rows the ledger of a prepare step counts."""
    config = execution.properties.get("config")
    return isinstance(config, Mapping) and "stream" in config and config["stream"] == artifact.properties.get("table")


def metrics(statistics: Artifact) -> Content | None:
    """The content of a metrics facet from an artifact of statistics: all its splits together; nothing where it is gone."""
    found = [
        parsed
        for _, parsed in _splits(statistics, statistics_pb2.DatasetFeatureStatisticsList)
        if len(parsed.datasets) == 1
    ]
    if not found:
        return None
    columns: dict[str, list[Any]] = {}
    for parsed in found:
        for feature in parsed.datasets[0].features:
            columns.setdefault(".".join(feature.path.step) or feature.name, []).append(feature)
    return {
        "rowCount": sum(int(parsed.datasets[0].num_examples) for parsed in found),
        "columnMetrics": {name: _column(features) for name, features in columns.items()},
    }


def _column(features: list[Any]) -> Content:
    """The metrics of one column; what cannot be told of several splits together is left out."""
    kinds = {feature.WhichOneof("stats") for feature in features}
    common = [getattr(f, f.WhichOneof("stats")).common_stats for f in features if f.WhichOneof("stats")]
    told: Content = {
        "nullCount": sum(int(c.num_missing) for c in common),
        "count": sum(int(c.num_non_missing) for c in common),
    }
    if kinds == {"num_stats"}:
        numbers = [feature.num_stats for feature in features if feature.num_stats.common_stats.tot_num_values]
        if numbers:
            told["min"], told["max"] = min(n.min for n in numbers), max(n.max for n in numbers)
            told["sum"] = sum(n.mean * n.common_stats.tot_num_values for n in numbers)
            told |= {"quantiles": {"0.5": numbers[0].median}} if len(features) == 1 else {}
    elif kinds == {"string_stats"} and len(features) == 1:
        told["distinctCount"] = int(features[0].string_stats.unique)
    return {key: value for key, value in told.items() if isinstance(value, dict) or math.isfinite(value)}


def anomalies(artifact: Artifact) -> list[Content]:
    """Assertions from the gate's verdict: one for each anomaly of a column, one for each split without any."""
    blessed = artifact.properties.get("blessed")
    verdicts = blessed if isinstance(blessed, Mapping) else {}
    return [
        assertion
        for split, parsed in _splits(artifact, anomalies_pb2.Anomalies)
        for assertion in _of_split(split, parsed, verdicts.get(split))
    ]


def _of_split(split: str, parsed: Any, blessed: Any) -> Iterator[Content]:
    if not parsed.anomaly_info and not parsed.HasField("dataset_anomaly_info"):
        success = blessed != 0
        yield _assertion("schema", success, name=f"split '{split}' fits the schema", params={"split": split})
    infos = [*parsed.anomaly_info.values()]
    infos += [parsed.dataset_anomaly_info] if parsed.HasField("dataset_anomaly_info") else []
    for info in infos:
        for reason in info.reason or [anomalies_pb2.AnomalyInfo.Reason(description=info.description)]:
            yield _assertion(
                anomalies_pb2.AnomalyInfo.Type.Name(reason.type).lower(),
                success=False,
                column=".".join(info.path.step),
                severity="error" if info.severity == anomalies_pb2.AnomalyInfo.ERROR else "warn",
                name=reason.short_description or info.short_description,
                description=reason.description or info.description,
                params={"split": split},
            )


def ledger(table: Artifact, most_rejected: Any) -> list[Content]:
    """Assertions from the ledger of the table that was made: nothing was lost, and what could not be read."""
    counts = ledger_of(table)
    if counts is None:
        return []
    whole = counts["read"] == counts["rejected"] + counts["filtered"] + counts["merged"] + counts["kept"]
    accounted = _assertion("row_count", whole, name="every row is accounted for", actual=ledger_words(counts))
    readable = _assertion(
        "valid_rows",
        counts["rejected"] == 0,
        name="every row can be read",
        severity="warn",  # more than is allowed would have ended the run
        expected="0 rejected" if most_rejected is None else f"0 rejected; a share of {most_rejected} is allowed",
        actual=f"{int(counts['rejected']):,} rejected of {int(counts['read']):,}",
    )
    return [accounted, readable]


def blessing(artifact: Artifact) -> list[Content]:
    """The assertion from a model's blessing."""
    blessed = artifact.properties.get("blessed")
    if blessed not in (0, 1):
        return []
    message = str(artifact.properties.get("blessing_message") or "")
    return [_assertion("blessing", blessed == 1, name="the model is blessed", severity="error", description=message)]


def _assertion(kind: str, success: bool, **told: Any) -> Content:
    return {"assertion": kind, "success": success, **{key: value for key, value in told.items() if value}}


def _splits(artifact: Artifact, kind: type[Message]) -> Iterator[tuple[str, Any]]:
    """Each split's file; those that are gone or damaged are passed over, as the event tells what is there."""
    names = artifact.properties.get("split_names")
    for split in names if isinstance(names, list) else ():
        path = f"{artifact.uri.rstrip('/')}/Split-{split}/{_FILES[artifact.type]}"
        try:
            with storage.open_input(path) as stream:
                yield str(split), kind.FromString(stream.read())
        except (OSError, DecodeError):
            continue
