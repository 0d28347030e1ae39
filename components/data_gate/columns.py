"""What TFDV lets pass: a column that is gone though the schema sets it no presence, and one with no value at all."""

from collections.abc import Collection, Iterator

from beam_jobs.errors import nearest
from components.data_gate.findings import NO_VALUE, Case, Finding
from components.data_gate.wording import feature_statistics

BASE_SPLIT = "train"


def column_findings(case: Case, unused: Collection[str]) -> Iterator[Finding]:
    """Columns that a model could learn nothing from.

    Args:
      case: the split.
      unused: columns that are no features, which may be empty.
    """
    found = feature_statistics(case.statistics)
    for feature in case.schema.feature:
        if feature.name not in found and not feature.HasField("presence") and not feature.HasField("lifecycle_stage"):
            new = [name for name in found if name not in {known.name for known in case.schema.feature}]
            text = f"missing in all {case.rows:,} rows; the schema names the column.{nearest(feature.name, new)}"
            yield Finding(case.split, feature.name, "missing column", text, stops=True)
    for name, statistics in found.items() if case.split == BASE_SPLIT else ():
        kind = "num_stats" if statistics.HasField("num_stats") else "string_stats"
        if name not in unused and not getattr(statistics, kind).common_stats.num_non_missing:
            text = f"null in all {case.rows:,} rows, so nothing can be learned from it"
            yield Finding(case.split, name, NO_VALUE, text, stops=True)
