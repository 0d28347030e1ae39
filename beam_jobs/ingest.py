"""Ingest: text files become a table in Parquet and a table of rejects, by one Beam job over chunks."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from beam_jobs import capture, csv_format, io_lineage, parquet_files, publish, rejects, sources
from beam_jobs.capture import Described
from beam_jobs.csv_format import CsvParser
from beam_jobs.errors import BraidError, DataError
from beam_jobs.failures import KeptTable, Raised
from beam_jobs.json_lines import JsonParser
from beam_jobs.ledger import Ledger
from beam_jobs.parts import ROW_FIELD, PartWriter
from beam_jobs.progress import Progress, advance, failed
from beam_jobs.publish import ChunkReport, Publication
from beam_jobs.rejects import BlockRows, Parser, Reject, TooManyRejectsError
from beam_jobs.sources import SourceConfig
from beam_jobs.table import Origin, Table, row_id
from beam_jobs.text_chunks import BLOCK_BYTES, CHUNK_BYTES, Block, TextChunk, plan_chunks, read_blocks, text_start

SAMPLED_REJECTS = 5
SHOWN_RAW = 120


@dataclass(frozen=True)
class IngestPlan:
    """What an ingest will do: the source's format, its frozen columns, the chunks, and what their numbers stand for."""

    format: str
    schema: pa.Schema
    chunks: tuple[TextChunk, ...]

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The chunks as ranges of decompressed bytes; a stop of -1 is known once the chunk is read."""
        return tuple(Origin(c.number, c.path, c.start, c.stop, "bytes") for c in self.chunks)


@dataclass(frozen=True)
class ChunkOutcome:
    """What became of one chunk: reports for the table and the rejects, where its text ended, the first rejects."""

    rows: ChunkReport
    rejected: ChunkReport
    stop: int
    sample: tuple[Reject, ...]


@dataclass(frozen=True)
class IngestTarget:
    """Where one source goes, and all that a worker needs to parse it."""

    config: SourceConfig
    plan: IngestPlan
    table_root: str
    rejects_root: str
    block_bytes: int = BLOCK_BYTES

    @property
    def parser(self) -> Parser:
        """A parser of the source's format and columns."""
        if self.plan.format == "csv":
            return CsvParser(self.plan.schema, self.config.dialect)
        return JsonParser(self.plan.schema)


def plan(config: SourceConfig, schema: pa.Schema | None = None, chunk_bytes: int = CHUNK_BYTES) -> IngestPlan:
    """Cuts the source's files into chunks of about `chunk_bytes`; infers the columns unless they are given.

    Raises:
      DataError: the files are no sound table, or are Parquet, which needs no ingest (see `parquet_table`).
    """
    found = sources.find_files(config)
    if found.format == "parquet":
        raise DataError(f"Source '{config.name}' is Parquet, which is read in place.", "Use `parquet_table`.")
    schema = sources.infer_schema(config) if schema is None else schema
    chunks: list[TextChunk] = []
    parser = IngestTarget(config, IngestPlan(found.format, schema, ()), "", "").parser
    for file in found.texts:
        if found.format == "csv":
            header = csv_format.read_header(file, config.dialect)
            start, line = header.start, header.line
        else:
            start, line = text_start(file)[0], 1
        stop = -1 if file.compression else file.size
        whole = TextChunk(len(chunks), file.path, file.compression, start, stop, line)
        chunks += plan_chunks(whole, parser.grammar, chunk_bytes)
    return IngestPlan(found.format, schema, tuple(chunks))


def parquet_table(config: SourceConfig, root: str) -> Table:
    """Registers a Parquet source where it lies, and writes the manifest in `root`.

    Raises:
      DataError: a file is damaged or nested, files differ, there is no row, or a declared type is not the files'.
    """
    paths = [file.path for file in sources.find_files(config).files]
    return parquet_files.register(paths, config.declared, root)


def no_rejects(config: SourceConfig, root: str) -> Table:
    """Writes the manifest of an empty table of rejects, for a source that is read in place."""
    return publish.publish([], Publication(f"rejects of {config.name}", root, rejects.SCHEMA, stores_rows=False))


def ingest_chunk(chunk: TextChunk, target: IngestTarget) -> ChunkOutcome:
    """Reads, parses and writes one chunk; pure but for the files it leaves under a name of its own.

    Raises:
      DataError: the file is damaged, the disk is full, or too much of a block is rejected.
    """
    io_lineage.reads(chunk.path)
    attempt = publish.new_attempt(chunk.number)
    kept = PartWriter(target.table_root, attempt, chunk.number)
    refused = PartWriter(target.rejects_root, attempt, chunk.number)
    read, stop, sample, parser = 0, chunk.start, list[Reject](), target.parser
    with kept, refused:
        for block in read_blocks(chunk, parser.grammar, target.block_bytes):
            found = _read(block, chunk, parser, target.config)
            ids = pa.array(found.places + row_id(chunk.number, read), pa.int64())
            kept.write(found.rows.append_column(ROW_FIELD, ids))
            if found.rejects:
                refused.write(rejects.to_table(found.rejects))
                sample = (sample + list(found.rejects))[:SAMPLED_REJECTS]
            read, stop = read + found.read, block.position + len(block.data)
    lost = refused.rows
    advance(target.config.name, Progress(read=read, rejected=lost, written=kept.rows, chunks=1))
    return ChunkOutcome(
        rows=ChunkReport(chunk.number, attempt, kept.parts, Ledger(read, lost, kept=kept.rows, written=kept.rows)),
        rejected=ChunkReport(chunk.number, attempt, refused.parts, Ledger(read=lost, kept=lost, written=lost)),
        stop=chunk.stop if chunk.stop >= 0 else stop,
        sample=tuple(sample),
    )


def _read(block: Block, chunk: TextChunk, parser: Parser, config: SourceConfig) -> BlockRows:
    try:
        return rejects.read_block(block, chunk.path, parser, config.max_reject_fraction)
    except TooManyRejectsError as error:
        counted = f"{len(error.rejects):,} of the first {error.read:,} records of a part of '{chunk.path}'"
        raise _too_many(config, counted, error.rejects) from error


def _too_many(config: SourceConfig, counted: str, found: Sequence[Reject]) -> DataError:
    sample = "".join(f"\n- {reject} [{reject.raw[:SHOWN_RAW]}]" for reject in found[:SAMPLED_REJECTS])
    return DataError(
        f"Source '{config.name}': {counted} cannot be read, and max_reject_fraction allows {config.max_reject_fraction:.4g} of them. "
        f"For example:{sample}",
        f"Mend the file; or declare a wider type for the column (`types: {{column: string}}`); or add the spelling to "
        f"`null_values`; or raise max_reject_fraction of '{config.name}'.",
    )


def publish_outcomes(outcomes: Sequence[ChunkOutcome], target: IngestTarget) -> Ledger:
    """Publishes table and rejects, if few enough records are rejected; safe to repeat.

    Returns:
      The table's ledger.

    Raises:
      DataError: there is no record, or too large a share of them is rejected; nothing is published.
      LedgerError: the counts do not add up.
    """
    by_attempt = {outcome.rows.attempt: outcome for outcome in outcomes}
    chosen = [by_attempt[report.attempt] for report in publish.one_attempt_a_chunk([o.rows for o in outcomes])]
    ledger = sum((outcome.rows.ledger for outcome in chosen), Ledger())
    if not ledger.read:
        raise DataError(f"Source '{target.config.name}' has columns, but no rows.", "Put data there.")
    if ledger.rejected > target.config.max_reject_fraction * ledger.read:
        sample = [reject for outcome in chosen for reject in outcome.sample]
        raise _too_many(target.config, f"{ledger.rejected:,} of {ledger.read:,} records", sample)
    stops = {outcome.rows.chunk: outcome.stop for outcome in chosen}
    origins = tuple(dataclasses.replace(origin, stop=stops[origin.chunk]) for origin in target.plan.origins)
    name, plan_schema = target.config.name, target.plan.schema
    publish.publish(
        [o.rejected for o in chosen],
        Publication(f"rejects of {name}", target.rejects_root, rejects.SCHEMA, stores_rows=False, origins=origins),
    )
    return publish.publish(
        [o.rows for o in chosen], Publication(name, target.table_root, plan_schema, stores_rows=True, origins=origins)
    ).ledger


class _IngestChunks(beam.DoFn):
    """Runs `ingest_chunk`."""

    def __init__(self, target: IngestTarget) -> None:
        self.target = target

    def process(self, chunk: TextChunk) -> Iterator[ChunkOutcome]:
        with capture.capturing(self.target.table_root, functools.partial(_described, chunk, self.target)):
            outcome = ingest_chunk(chunk, self.target)
        yield outcome


def _described(chunk: TextChunk, target: IngestTarget, error: Raised) -> Described:
    table = KeptTable(target.plan.schema, target.table_root)
    parameters = {"source": dataclasses.asdict(target.config), "format": target.plan.format}
    return capture.text_of_source(target.config.name, table, chunk, parameters, error)


def _publish_once(target: IngestTarget, outcomes: Sequence[ChunkOutcome]) -> Iterator[Ledger]:
    try:
        yield publish_outcomes(outcomes, target)
    except BraidError as error:
        failed(error)
        raise


def ingest(
    pipeline: beam.Pipeline, config: SourceConfig, plan: IngestPlan, table_root: str, rejects_root: str
) -> beam.PCollection[Ledger]:
    """Adds the job of one source to a pipeline: read, parse and write chunks, then publish table and rejects.

    Run the pipeline inside `progress.original_errors()`. Nothing is published when too many records are rejected.

    Returns:
      One element, the table's ledger.
    """
    target = IngestTarget(config, dataclasses.replace(plan, chunks=()), table_root, rejects_root)
    outcomes = (
        pipeline
        | f"Chunks of {config.name}" >> beam.Create(plan.chunks)
        | f"Spread {config.name}" >> beam.Reshuffle()
        | f"Ingest {config.name}" >> beam.ParDo(_IngestChunks(target))
    )
    return (
        pipeline
        | f"Once for {config.name}" >> beam.Create([dataclasses.replace(target, plan=plan)])
        | f"Publish {config.name}" >> beam.FlatMap(_publish_once, beam.pvalue.AsList(outcomes))
    )
