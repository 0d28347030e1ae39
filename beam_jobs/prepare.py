"""The prepare job: one SQL query over one streamed table, written as Parquet in splits, with a ledger that adds up."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam

from beam_jobs import progress
from beam_jobs.chunks import chunks_of
from beam_jobs.errors import DataError
from beam_jobs.fused import RunChunk
from beam_jobs.kernel import TIME_RANGE, PrepareConfig
from beam_jobs.ledger import Ledger
from beam_jobs.partitioned import Partitioned
from beam_jobs.publish import ChunkReport, Commit, Publication, one_attempt_a_chunk
from beam_jobs.splits import SplitByTime, check_split, moment
from beam_jobs.table import Table

__all__ = ["Prepare", "PrepareConfig"]


class Prepare(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[Ledger]]):
    """Writes the table of a prepare step and publishes it as the job ends; yields its ledger.

    Without `partition_by` every chunk of the stream is read, queried, split and written by one DoFn, and nothing but
    small reports crosses a Beam stage; with it, rows are first spilled by the hash of the partition columns.

    Args:
      config: the step.
      stream: the table that the query streams.
      others: the query's other tables by name; tables that it does not read are passed over.

    Raises:
      DataError: at once, where the split names a column that the output lacks or cannot be split by; from the running
        job, where rows multiply without `fan_out`, DuckDB refuses a value, or a split stays empty.
    """

    def __init__(self, config: PrepareConfig, stream: Table, others: Mapping[str, Table]) -> None:
        super().__init__(f"Prepare {config.step}")
        if config.split is not None:
            check_split(config.split, config.query.output)
        self.config, self.stream = config, stream
        self.others = {name: others[name] for name in config.query.tables if name != config.query.stream}

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Ledger]:
        """Builds the job."""
        config = self.config
        reports = pipeline | (
            "Partitioned" >> Partitioned(config, self.stream, self.others)
            if config.query.partitioned
            else "Fused" >> _Fused(config, self.stream, self.others)
        )
        splits = config.split.names if config.split else ("",)
        target = Publication(config.step, config.root, config.query.output, stores_rows=True, splits=splits)
        return (
            pipeline
            | "Once" >> beam.Create([config])
            | "Check splits" >> beam.FlatMap(_checked, beam.pvalue.AsList(reports))
            | Commit(target)
        )


class _Fused(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[ChunkReport]]):
    def __init__(self, config: PrepareConfig, stream: Table, broadcasts: Mapping[str, Table]) -> None:
        super().__init__()
        self.config, self.stream, self.broadcasts = config, stream, broadcasts

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[ChunkReport]:
        return (
            pipeline
            | "Chunks" >> beam.Create(chunks_of(self.stream, self.config.chunk_rows), reshuffle=False)
            | "Deal" >> beam.Reshuffle()
            | "Run" >> beam.ParDo(RunChunk(self.config, self.stream, self.broadcasts))
        )


def _checked(config: PrepareConfig, reports: Sequence[ChunkReport]) -> Iterator[ChunkReport]:
    chosen = one_attempt_a_chunk(reports)
    if config.split is not None:
        empty = empty_split(config, chosen)
        if empty is not None:
            raise progress.failed(empty)
    for report in chosen:
        yield dataclasses.replace(report, notes={})


def empty_split(config: PrepareConfig, reports: Sequence[ChunkReport]) -> DataError | None:
    """The error for a declared split that no row fell into, or None."""
    if config.split is None:
        return None
    rows = dict.fromkeys(config.split.names, 0)
    for part in (part for report in reports for part in report.parts):
        rows[part.split] += part.rows
    if all(rows.values()):
        return None
    empty = [f"'{name}'" for name, count in rows.items() if not count]
    counts = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    if not any(rows.values()):
        read = sum(report.ledger.read for report in reports)
        return DataError(
            f"Step '{config.step}' keeps none of the {read:,} rows that it reads, so every split is empty.",
            "Look at the query's WHERE and inner joins.",
        )
    return DataError(f"Step '{config.step}': {_no_row(empty)}. Rows: {counts}.{_times(config, reports)}", _hint(config))


def _no_row(splits: Sequence[str]) -> str:
    return f"split {splits[0]} has no row" if len(splits) == 1 else f"the splits {' and '.join(splits)} have no row"


def _times(config: PrepareConfig, reports: Sequence[ChunkReport]) -> str:
    ranges = [report.notes[TIME_RANGE] for report in reports if TIME_RANGE in report.notes]
    if not isinstance(config.split, SplitByTime) or not ranges:
        return ""
    first, last = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (
        f" Column '{config.split.column}' runs from {moment(first)} to {moment(last)}; "
        f"eval begins at {config.split.eval_from}, test at {config.split.test_from}."
    )


def _hint(config: PrepareConfig) -> str:
    if isinstance(config.split, SplitByTime):
        return "Move eval_from and test_from inside that time."
    return "Give the split a larger share or other values, use key columns with more distinct values, or leave it out."
