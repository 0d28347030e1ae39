"""Statistics against the schema and against each other, by TFDV."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from beam_jobs.errors import listed, nearest
from beam_jobs.table import Table
from components.data_gate.columns import BASE_SPLIT, column_findings
from components.data_gate.findings import Baseline, Case, Finding
from components.data_gate.gate_config import DriftBounds, GateConfig
from components.data_gate.wording import DRIFT_TYPES, describe
from components.errors import StepError
from components.tfdv_import import tfdv

ANOMALIES_FILE = "SchemaDiff.pb"


@dataclass(frozen=True)
class Evidence:
    """All that a gate looks at.

    Attributes:
      statistics: each split's `DatasetFeatureStatisticsList`.
      schema: a `tensorflow_metadata` Schema.
      columns: Arrow types by column, as far as known.
      table: the examples, for exact counts; None where statistics must do.
      previous: each split's statistics in an earlier run.
      previous_name: what these are called in messages.
    """

    statistics: Mapping[str, Any]
    schema: Any
    columns: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None
    previous: Mapping[str, Any] = field(default_factory=dict)
    previous_name: str = "the previous data"


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
    schema = _with_tolerance(evidence.schema, config.max_out_of_domain_share)
    anomalies = tfdv.validate_statistics(statistics, schema)
    case = _case(split, evidence, schema)
    findings = describe(anomalies, case)
    told = {finding.column for finding in findings if finding.stops}
    findings += [f for f in column_findings(case, config.unused_columns) if f.column not in told]
    for baseline, compared in _comparisons(split, evidence, config):
        drift = tfdv.validate_statistics(statistics, compared, previous_statistics=baseline.statistics)
        _keep_drift(drift)
        findings += describe(drift, _case(split, evidence, compared, baseline))
        _add(anomalies, drift)
    return Verdict(anomalies, tuple(findings))


def _case(split: str, evidence: Evidence, schema: Any, baseline: Baseline | None = None) -> Case:
    statistics = evidence.statistics[split].datasets[0]
    return Case(split, statistics, schema, evidence.columns, evidence.table, baseline)


def _empty_split(split: str) -> Verdict:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.description = "The split is empty."
    anomalies.dataset_anomaly_info.severity = anomalies_pb2.AnomalyInfo.ERROR
    return Verdict(anomalies, (Finding(split, "", "empty split", "0 rows: the split is empty", stops=True),))


def _with_tolerance(schema: Any, share: float | None) -> Any:
    """A copy without drift comparators, its text domains as tolerant as `share` says."""
    copy = schema_pb2.Schema.FromString(schema.SerializeToString())
    for feature in copy.feature:
        feature.ClearField("drift_comparator")
        if share is not None and feature.WhichOneof("domain_info") in ("domain", "string_domain"):
            feature.distribution_constraints.min_domain_mass = 1.0 - share
    return copy


def _comparisons(split: str, evidence: Evidence, config: GateConfig) -> Iterator[tuple[Baseline, Any]]:
    """What the split's distributions are compared with, each with a schema that holds the bounds.

    Bounds that the schema's author wrote into it speak of earlier data, so they count against `previous` alone.
    """
    if config.drift and split != BASE_SPLIT and BASE_SPLIT in evidence.statistics:
        baseline = Baseline(f"split '{BASE_SPLIT}'", evidence.statistics[BASE_SPLIT])
        yield baseline, _with_bounds(_with_tolerance(evidence.schema, None), config.drift, evidence, split)
    if split in evidence.previous:
        baseline = Baseline(evidence.previous_name, evidence.previous[split])
        yield baseline, _with_bounds(evidence.schema, config.drift_from_previous, evidence, split)


def _with_bounds(schema: Any, bounds: DriftBounds, evidence: Evidence, split: str) -> Any:
    copy = schema_pb2.Schema.FromString(schema.SerializeToString())
    texts = {
        feature.path.step[0]
        for feature in evidence.statistics[split].datasets[0].features
        if feature.type == statistics_pb2.FeatureNameStatistics.STRING
    }
    for feature in copy.feature:
        bound = bounds.of(feature.name)
        if bound is None:
            continue
        feature.ClearField("drift_comparator")
        comparator = feature.drift_comparator
        measure = comparator.infinity_norm if feature.name in texts else comparator.jensen_shannon_divergence
        measure.threshold = bound
    return copy


def _keep_drift(anomalies: Any) -> None:
    """Drops what a validation without baseline has said already."""
    for path in list(anomalies.anomaly_info):
        info = anomalies.anomaly_info[path]
        drift = [reason for reason in info.reason if reason.type in DRIFT_TYPES]
        if not drift:
            del anomalies.anomaly_info[path]
            continue
        del info.reason[:]
        info.reason.extend(drift)
    anomalies.ClearField("dataset_anomaly_info")


def _add(anomalies: Any, more: Any) -> None:
    for path, info in more.anomaly_info.items():
        if path in anomalies.anomaly_info:
            known = anomalies.anomaly_info[path]
            known.reason.extend(info.reason)
            known.description = " ".join(reason.description for reason in known.reason)
            known.short_description = "Multiple errors"
        else:
            anomalies.anomaly_info[path].CopyFrom(info)
    anomalies.drift_skew_info.extend(more.drift_skew_info)
