"""Statistics against the schema and against each other, by TFDV."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from beam_jobs.errors import listed, nearest
from beam_jobs.table import Table
from components.data_gate.findings import DRIFT_TYPES, Baseline, Case, Finding, describe
from components.data_gate.gate_config import DriftBounds, GateConfig
from components.errors import StepError
from components.tfdv_import import tfdv

ANOMALIES_FILE = "SchemaDiff.pb"
BASE_SPLIT = "train"


@dataclass(frozen=True)
class Evidence:
    """All that a gate looks at.

    Attributes:
      statistics: each split's `DatasetFeatureStatisticsList`.
      schema: a `tensorflow_metadata` Schema.
      columns: Arrow types by column, as far as known.
      table: the examples, for exact counts; None where statistics must do.
      previous: each split's statistics in an earlier run.
    """

    statistics: Mapping[str, Any]
    schema: Any
    columns: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None
    previous: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a gate found in one split.

    Attributes:
      anomalies: TFDV's `Anomalies`, as TFX's ExampleValidator writes them.
      findings: the same in words.
    """

    anomalies: Any
    findings: tuple[Finding, ...]

    @property
    def blessed(self) -> bool:
        """Whether nothing in the split stops a run."""
        return not any(finding.stops for finding in self.findings)


def judge(evidence: Evidence, config: GateConfig) -> dict[str, Verdict]:
    """Judges every split.

    Raises:
      StepError: a drift bound is set for a column that the schema does not have.
      DataError: the examples cannot be read for exact counts.
    """
    for bounds in (config.drift, config.drift_from_previous):
        _check_columns(bounds, [feature.name for feature in evidence.schema.feature])
    return {split: _judge_split(split, evidence, config) for split in evidence.statistics}


def _check_columns(bounds: DriftBounds, known: list[str]) -> None:
    for column in bounds.columns:
        if column not in known:
            raise StepError(
                f"A drift bound is set for column '{column}', which the schema does not have.{nearest(column, known)}",
                f"The schema has: {listed(known)}.",
            )


def _judge_split(split: str, evidence: Evidence, config: GateConfig) -> Verdict:
    statistics = evidence.statistics[split]
    if not statistics.datasets[0].num_examples:
        return _empty_split(split)
    anomalies = anomalies_pb2.Anomalies()
    findings: list[Finding] = []
    for schema, baseline in _comparisons(split, evidence, config):
        found = tfdv.validate_statistics(
            statistics, schema, previous_statistics=baseline.statistics if baseline else None
        )
        if findings or anomalies.anomaly_info:
            _keep_drift(found)
        anomalies = _merged(anomalies, found)
        case = Case(split, statistics.datasets[0], schema, evidence.columns, evidence.table, baseline)
        findings.extend(describe(found, case))
    return Verdict(anomalies, tuple(findings))


def _empty_split(split: str) -> Verdict:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.description = "The split is empty."
    anomalies.dataset_anomaly_info.severity = anomalies_pb2.AnomalyInfo.ERROR
    return Verdict(anomalies, (Finding(split, "", "empty split", "0 rows: the split is empty", stops=True),))
