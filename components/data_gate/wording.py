"""An anomaly in words: which column, which values, how many rows, in which split, and what is allowed."""

from collections.abc import Callable
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from beam_jobs.errors import listed, nearest
from components.data_gate.findings import Case, Finding, percent
from components.data_gate.offending_rows import Offenders, between, finite_or, never, one_of, ranked, shown

_Type = anomalies_pb2.AnomalyInfo
_Statistics = statistics_pb2.FeatureNameStatistics
DRIFT_TYPES = frozenset(
    {
        _Type.COMPARATOR_L_INFTY_HIGH,
        _Type.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
        _Type.COMPARATOR_CONTROL_DATA_MISSING,
        _Type.COMPARATOR_TREATMENT_DATA_MISSING,
    }
)
_TYPE_NAMES = {
    _Statistics.INT: "INT",
    _Statistics.FLOAT: "FLOAT",
    _Statistics.STRING: "BYTES",
    _Statistics.BYTES: "BYTES",
}
_MOST_EXAMPLES = 5

Describe = Callable[[Case, Any, Any, Any], str]
"""(case, the column's schema or None, its statistics or None, TFDV's reason) to the finding's text."""


def describe(anomalies: Any, case: Case) -> list[Finding]:
    """Puts TFDV's anomalies of one split into words, sorted by column, each once.

    Raises:
      DataError: the examples cannot be read for exact counts.
    """
    features = {feature.name: feature for feature in case.schema.feature}
    counted = feature_statistics(case.statistics)
    findings = []
    for key, info in sorted(anomalies.anomaly_info.items()):
        column = info.path.step[0] if info.path.step else key
        for reason in info.reason:
            kind, words = _KINDS.get(reason.type, (reason.short_description.lower(), _as_told))
            text = words(case, features.get(column), counted.get(column), reason)
            stops = info.severity == _Type.ERROR and reason.type != _Type.SCHEMA_NEW_COLUMN
            findings.append(Finding(case.split, column, kind, text, stops))
    if anomalies.HasField("dataset_anomaly_info"):
        text = anomalies.dataset_anomaly_info.description or "the split does not fit the schema"
        findings.append(Finding(case.split, "", "dataset", text, stops=True))
    return list(dict.fromkeys(findings))


def feature_statistics(statistics: Any) -> dict[str, Any]:
    """A `DatasetFeatureStatistics` by column."""
    return {feature.path.step[0]: feature for feature in statistics.features}


def _as_told(case: Case, feature: Any, found: Any, reason: Any) -> str:
    return f"{reason.short_description}: {reason.description.strip()}"


def _missing_column(case: Case, feature: Any, found: Any, reason: Any) -> str:
    if feature.name in case.columns:
        return f"null in all {case.rows:,} rows; the schema requires values"
    known = {column.name for column in case.schema.feature}
    new = [name for name in feature_statistics(case.statistics) if name not in known]
    return f"missing in all {case.rows:,} rows; the schema requires the column.{nearest(feature.name, new)}"


def _new_column(case: Case, feature: Any, found: Any, reason: Any) -> str:
    return f"not in the schema (a new column of type {_data_type(case, found)}); nothing checks it"


def _data_type(case: Case, found: Any) -> str:
    column = found.path.step[0]
    return case.columns.get(column) or _TYPE_NAMES.get(found.type, "unknown")


def _too_many_nulls(case: Case, feature: Any, found: Any, reason: Any) -> str:
    present = found.string_stats if found.HasField("string_stats") else found.num_stats
    nulls = case.rows - present.common_stats.num_non_missing
    allowed = (
        f"at most {percent(1.0 - feature.presence.min_fraction)} (min_fraction {feature.presence.min_fraction:g})"
        if feature.presence.min_fraction
        else f"all but {feature.presence.min_count:,} (min_count)"
    )
    return f"{case.share(nulls)} are null; the schema allows {allowed}"


def _wrong_type(case: Case, feature: Any, found: Any, reason: Any) -> str:
    strays = case.offending(feature.name, never)
    rows = strays.rows if strays else case.rows
    values = strays.values if strays else _text_values(found)
    has, wants = _data_type(case, found), schema_pb2.FeatureType.Name(feature.type)
    return f"{case.share(rows)} hold type {has}{_examples(values)}; the schema wants {wants}"


def _text_values(found: Any) -> tuple[tuple[str, int], ...]:
    """A text column's values by rows, exact while the statistics list them all."""
    buckets = found.string_stats.rank_histogram.buckets
    return ranked({shown(bucket.label.encode()): round(bucket.sample_count) for bucket in buckets})


def _examples(values: tuple[tuple[str, int], ...]) -> str:
    if not values:
        return ""
    some = ", ".join(f"{value} ({rows:,})" for value, rows in values[:_MOST_EXAMPLES])
    more = len(values) - _MOST_EXAMPLES
    return f": {some}" + (f" and {more:,} more values" if more > 0 else "")


def _allowed_texts(case: Case, feature: Any) -> list[str]:
    if feature.WhichOneof("domain_info") == "string_domain":
        return list(feature.string_domain.value)
    return [value for domain in case.schema.string_domain if domain.name == feature.domain for value in domain.value]


def _outside_domain(case: Case, feature: Any, found: Any, reason: Any) -> str:
    allowed = _allowed_texts(case, feature)
    strays = case.offending(feature.name, one_of(allowed))
    about = ""
    if strays is None:
        known = {shown(text.encode()) for text in allowed}
        values = tuple((value, rows) for value, rows in _text_values(found) if value not in known)
        strays = Offenders(sum(rows for _, rows in values), values)
        exact = found.string_stats.unique <= len(found.string_stats.rank_histogram.buckets)
        about = "" if exact else "about "
    mass = feature.distribution_constraints.min_domain_mass
    tolerated = f" in more than {percent(1.0 - mass)} of the rows" if _tolerates(feature) else ""
    return (
        f"{about}{case.share(strays.rows)} hold values that the schema does not allow{tolerated}"
        f"{_examples(strays.values)}; allowed: {listed([repr(text) for text in allowed])}"
    )


def _tolerates(feature: Any) -> bool:
    constraints = feature.distribution_constraints
    return bool(feature.HasField("distribution_constraints") and constraints.min_domain_mass < 1.0)


def _range(feature: Any) -> tuple[float, float]:
    kind = feature.WhichOneof("domain_info")
    if kind == "bool_domain":
        return 0, 1
    domain = getattr(feature, kind)
    low = domain.min if domain.HasField("min") else float("-inf")
    high = domain.max if domain.HasField("max") else float("inf")
    return low, high


def _out_of_range(case: Case, feature: Any, found: Any, reason: Any) -> str:
    if feature.WhichOneof("domain_info") not in ("bool_domain", "int_domain", "float_domain"):
        return _as_told(case, feature, found, reason)
    low, high = _range(feature)
    strays = case.offending(feature.name, between(low, high))
    allowed = f"{shown(low)} to {shown(high)}"
    if strays is None:
        extremes = f"{shown(found.num_stats.min)} to {shown(found.num_stats.max)}"
        return f"its values go from {extremes}; the schema allows {allowed}"
    return f"{case.share(strays.rows)} are out of range{_examples(strays.values)}; the schema allows {allowed}"


def _not_finite(kind: str) -> Describe:
    def words(case: Case, feature: Any, found: Any, reason: Any) -> str:
        strays = case.offending(feature.name, finite_or(kind))
        rows = case.share(strays.rows) if strays else "some rows"
        return f"{rows} are {'not a number (NaN)' if kind == 'nan' else 'infinite'}, which the schema forbids"

    return words


def _text_drift(case: Case, feature: Any, found: Any, reason: Any) -> str:
    if case.baseline is None:
        return _as_told(case, feature, found, reason)
    before = _shares(feature_statistics(case.baseline.statistics.datasets[0])[feature.name])
    now = _shares(found)
    value = max(sorted(before.keys() | now.keys()), key=lambda v: abs(before.get(v, 0.0) - now.get(v, 0.0)))
    rows = dict(_text_values(found)).get(value, 0)
    return (
        f"drifted from {case.baseline.name}: the share of {value} went from {percent(before.get(value, 0.0))} to "
        f"{percent(now.get(value, 0.0))} ({rows:,} of {case.rows:,} rows); the bound is a change of "
        f"{percent(feature.drift_comparator.infinity_norm.threshold)}"
    )


def _shares(found: Any) -> dict[str, float]:
    counts = dict(_text_values(found))
    total = sum(counts.values())
    return {value: rows / total for value, rows in counts.items()}


def _number_drift(case: Case, feature: Any, found: Any, reason: Any) -> str:
    if case.baseline is None or not found.HasField("num_stats"):
        return _as_told(case, feature, found, reason)
    before = feature_statistics(case.baseline.statistics.datasets[0])[feature.name].num_stats
    now = found.num_stats
    measured = reason.description.partition(" is ")[2].partition(" ")[0]
    return (
        f"drifted from {case.baseline.name}: Jensen-Shannon divergence {measured}, the bound is "
        f"{feature.drift_comparator.jensen_shannon_divergence.threshold:g}; mean {before.mean:.6g}, median "
        f"{before.median:.6g} there; mean {now.mean:.6g}, median {now.median:.6g} here ({case.rows:,} rows)"
    )


_OUT_OF_RANGE = ("out of range", _out_of_range)
_WRONG_TYPE = ("type change", _wrong_type)
_KINDS: dict[int, tuple[str, Describe]] = {
    _Type.SCHEMA_MISSING_COLUMN: ("missing column", _missing_column),
    _Type.FEATURE_TYPE_NOT_PRESENT: ("missing column", _missing_column),
    _Type.SCHEMA_NEW_COLUMN: ("new column", _new_column),
    _Type.FEATURE_TYPE_LOW_FRACTION_PRESENT: ("too many nulls", _too_many_nulls),
    _Type.FEATURE_TYPE_LOW_NUMBER_PRESENT: ("too many nulls", _too_many_nulls),
    _Type.UNEXPECTED_DATA_TYPE: _WRONG_TYPE,
    _Type.ENUM_TYPE_UNEXPECTED_STRING_VALUES: ("out of domain", _outside_domain),
    _Type.BOOL_TYPE_BIG_INT: _OUT_OF_RANGE,
    _Type.BOOL_TYPE_SMALL_INT: _OUT_OF_RANGE,
    _Type.BOOL_TYPE_UNEXPECTED_FLOAT: _OUT_OF_RANGE,
    _Type.INT_TYPE_BIG_INT: _OUT_OF_RANGE,
    _Type.INT_TYPE_SMALL_INT: _OUT_OF_RANGE,
    _Type.FLOAT_TYPE_BIG_FLOAT: _OUT_OF_RANGE,
    _Type.FLOAT_TYPE_SMALL_FLOAT: _OUT_OF_RANGE,
    _Type.FLOAT_TYPE_HAS_NAN: ("not a number", _not_finite("nan")),
    _Type.FLOAT_TYPE_HAS_INF: ("infinite", _not_finite("inf")),
    _Type.COMPARATOR_L_INFTY_HIGH: ("drift", _text_drift),
    _Type.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH: ("drift", _number_drift),
}
