"""A table's rows, as a model would read them, held against the schema and the statistics of its training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from beam_jobs.kernel import PrepareConfig
from beam_jobs.score import sampled
from beam_jobs.table import Table
from components.arrow_statistics.profiling import statistics_of
from components.data_gate import validation
from components.data_gate.gate_config import GateConfig, parse_bounds
from components.errors import StepError

ANOMALIES_FILE = validation.ANOMALIES_FILE
SPLIT, TRAINED_ON = "sample", "train"
MOST_FINDINGS = 20


@dataclass(frozen=True)
class CheckConfig:
    """One check.

    Attributes:
      stream: the table that is to be scored.
      sql: what makes the model's features of it, row by row.
      fan_out: whether a join may multiply rows of the stream.
      rows: about how many rows of the stream are looked at.
      drift: bounds on the drift from the training rows, as `gate_config` has them.
      max_out_of_domain_share: as `gate_config` has it; below 0 for the schema's own.
      strict: whether a finding stops the run.
    """

    stream: str = ""
    sql: str = ""
    fan_out: bool = False
    rows: int = 100_000
    drift: dict[str, Any] = field(default_factory=dict)
    max_out_of_domain_share: float = -1.0
    strict: bool = False


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
      rows: how many rows the query made of those that were looked at.
      statistics: a `DatasetFeatureStatisticsList` of them, serialized.
      verdict: TFDV's anomalies and the findings in words.
    """

    rows: int
    statistics: bytes
    verdict: validation.Verdict

    @property
    def findings(self) -> list[str]:
        """The findings in words, each of one column."""
        return [f"column '{f.column}': {f.text}" if f.column else f.text for f in self.verdict.findings]


def check(
    config: CheckConfig,
    job: PrepareConfig,
    tables: Mapping[str, Table],
    schema: Any,
    trained_on: Mapping[str, Any],
) -> Checked:
    """Looks at a sample of the rows.

    Args:
      config: the check.
      job: its query, checked.
      tables: by name, the stream among them.
      schema: the `tensorflow_metadata` Schema that the training rows were held against.
      trained_on: each split's statistics in training.

    Raises:
      DataError: the query cannot be run, or makes no row of the sample.
    """
    output = job.query.output
    batches = list(sampled(job, tables[config.stream], tables, config.rows))
    rows = sum(batch.num_rows for batch in batches)
    serialized = statistics_of(batches or [pa.RecordBatch.from_pylist([], schema=output)])
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(serialized)
    before = {SPLIT: trained_on[TRAINED_ON]} if TRAINED_ON in trained_on and rows else {}
    evidence = validation.Evidence(
        statistics={SPLIT: statistics},
        schema=_of_columns(schema, output.names),
        columns={column.name: str(column.type) for column in output},
        previous=before,
        previous_name="the training data",
    )
    verdict = validation.judge(evidence, _gate(config, output.names))[SPLIT]
    return Checked(rows, serialized, verdict)


def _of_columns(schema: Any, names: Sequence[str]) -> Any:
    """A copy that speaks of these columns alone."""
    copy = schema_pb2.Schema.FromString(schema.SerializeToString())
    kept = [feature for feature in schema.feature if feature.name in names]
    del copy.feature[:]
    copy.feature.extend(kept)
    return copy


def _gate(config: CheckConfig, names: Sequence[str]) -> GateConfig:
    bounds = {
        **config.drift,
        "columns": {n: bound for n, bound in (config.drift.get("columns") or {}).items() if n in names},
    }
    share = config.max_out_of_domain_share
    return GateConfig(
        drift_from_previous=parse_bounds(bounds, "drift"),
        max_out_of_domain_share=None if share < 0 else share,
        stops=config.strict,
    )


def refusal(checked: Checked) -> StepError:
    """The error that ends a strict run."""
    found = checked.findings
    lines = [f"- {text}" for text in found[:MOST_FINDINGS]]
    if len(found) > MOST_FINDINGS:
        lines.append(f"- and {len(found) - MOST_FINDINGS} more")
    count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
    return StepError(
        f"The table is not like what the model was trained on: {count} in a sample of {checked.rows:,} rows.\n"
        + "\n".join(lines),
        "Without --strict it is scored all the same, and this is told; or mend the table, or train on newer data.",
    )
