"""The partitioned job: aggregates, windows and joins of large tables, one hash partition at a time.

Phase 1 spills every partitioned table, chunk by chunk, into Arrow files sorted by partition. Beam shuffles references to
their batches, never rows. Phase 2 loads one partition of each table and runs the query on it.
"""

import functools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import broadcast, capture, duck, io_lineage, progress
from beam_jobs.chunks import Chunk, chunks_of, read_chunk, where_stood
from beam_jobs.errors import SqlError
from beam_jobs.hashing import Hashes, hash_rows, kind
from beam_jobs.kernel import PrepareConfig, QueryFailure, Stretch, numbered, order_of, refused, run_query
from beam_jobs.progress import Progress
from beam_jobs.publish import ChunkReport, pending
from beam_jobs.spill import Reference, read_spill, write_spill
from beam_jobs.table import ROW, Table

MOST_PARTITIONS = 256
_TWO_FROM = 100_000


def partitions_for(rows: int, partition_rows: int) -> int:
    """How many partitions: one for about `partition_rows` rows, two at least where there is work for two workers."""
    least = 2 if rows > _TWO_FROM else 1
    return min(MOST_PARTITIONS, max(least, -(-rows // partition_rows)))


@dataclass(frozen=True)
class TableChunk:
    """A chunk of one of the query's partitioned tables."""

    table: str
    chunk: Chunk


class Partitioned(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[ChunkReport]]):
    """Runs the query once a partition; yields the reports of what was written.

    Args:
      stream: the streamed table.
      others: the query's other tables, by name: those of `query.partitioned` are partitioned too, the rest broadcast.

    Raises:
      SqlError: a partition column has another type in another table.
    """

    def __init__(self, config: PrepareConfig, stream: Table, others: Mapping[str, Table]) -> None:
        super().__init__()
        self.config = config
        every = {config.query.stream: stream, **others}
        self.tables = {name: every[name] for name in config.query.partitioned}
        self.broadcasts = {name: table for name, table in others.items() if name not in self.tables}
        check_keys(config, self.tables)
        rows = sum(table.rows for table in self.tables.values())
        self.partitions = partitions_for(rows, config.partition_rows)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[ChunkReport]:
        """Builds both phases."""
        config = self.config
        chunks = [
            TableChunk(name, chunk)
            for name, table in self.tables.items()
            for chunk in chunks_of(table, config.chunk_rows)
        ]
        return (
            pipeline
            | "Chunks" >> beam.Create(chunks, reshuffle=False)
            | "Deal" >> beam.Reshuffle()
            | "Spill" >> beam.ParDo(SpillChunk(config, self.tables, self.partitions))
            | "Gather" >> beam.GroupByKey()
            | "Run" >> beam.ParDo(RunPartition(config, self.tables, self.broadcasts))
        )


def check_keys(config: PrepareConfig, tables: Mapping[str, Table]) -> None:
    """Equal keys must have equal hashes, so a key column is of one kind in all partitioned tables.

    Raises:
      SqlError: it is not, or has no hash.
    """
    for name in config.query.partition_by:
        types = {table: data.schema.field(name).type for table, data in tables.items()}
        kinds = {kind(found) for found in types.values()}
        if len(kinds) > 1 or "" in kinds:
            shown = ", ".join(f"{found} in '{table}'" for table, found in types.items())
            raise SqlError(
                f"Step '{config.step}' cannot partition by '{name}': it is {shown}.",
                "Cast it to one type of text, number, date or time in an earlier step.",
            )


class SpillChunk(beam.DoFn):
    """Phase 1: writes a chunk's rows sorted by partition and yields (partition, reference)."""

    def __init__(self, config: PrepareConfig, tables: Mapping[str, Table], partitions: int) -> None:
        super().__init__()
        self.config, self.tables, self.partitions = config, tables, partitions

    def process(self, part: TableChunk) -> Iterator[tuple[int, Reference]]:
        """Yields one reference for each partition that has rows in the chunk."""
        path = pending(self.config.root, "spill", f"{part.table}-{part.chunk.number:06d}-{uuid.uuid4().hex[:12]}.arrow")
        whole = self.tables[part.table]
        describe = functools.partial(
            capture.chunk_to_spill, self.config, part.table, whole, self._columns(part), part.chunk
        )
        with capture.capturing(self.config.root, describe):
            spilled = write_spill(path, part.table, part.chunk.number, self._batches(part), self.partitions)
        yield from spilled

    def _kept(self, part: TableChunk) -> list[str]:
        query = self.config.query
        return [*query.columns[part.table], *([ROW] if part.table == query.stream else [])]

    def _columns(self, part: TableChunk) -> list[str]:
        return list(dict.fromkeys([*self._kept(part), *self.config.query.partition_by]))

    def _batches(self, part: TableChunk) -> Iterator[tuple[pa.RecordBatch, Hashes]]:
        io_lineage.reads(part.chunk.path)
        kept = self._kept(part)
        for batch in read_chunk(part.chunk, self._columns(part)):
            yield batch.select(kept), hash_rows([batch.column(name) for name in self.config.query.partition_by])


class RunPartition(beam.DoFn):
    """Phase 2: loads a partition of every partitioned table, runs the query and writes the output."""

    def __init__(self, config: PrepareConfig, tables: Mapping[str, Table], broadcasts: Mapping[str, Table]) -> None:
        super().__init__()
        self.config, self.broadcasts = config, broadcasts
        self.tables, columns = tables, config.query.columns
        self.stream = tables[config.query.stream]
        self.schemas = {
            name: pa.schema([table.schema.field(column) for column in columns[name]]) for name, table in tables.items()
        }

    def setup(self) -> None:
        """Opens the worker's database and loads the broadcast tables, once."""
        self._connection = duck.connect()
        describe = functools.partial(capture.broadcast_tables, self.config, self.broadcasts)
        with capture.capturing(self.config.root, describe):
            broadcast.load(self._connection, self.broadcasts, self.config.query.columns)

    def start_bundle(self) -> None:
        """Reports the broadcast tables' files: Beam counts nothing before the first bundle."""
        broadcast.report(self.broadcasts)

    def teardown(self) -> None:
        """Closes the database."""
        self._connection.close()

    def process(self, partition: tuple[int, Iterable[Reference]]) -> Iterator[ChunkReport]:
        """Yields the partition's report."""
        number, references = partition[0], list(partition[1])
        describe = functools.partial(
            capture.partition_of_step, self.config, self.tables, self.broadcasts, number, references
        )
        with capture.capturing(self.config.root, describe):
            report = self._run(number, references)
        yield report

    def _run(self, number: int, references: list[Reference]) -> ChunkReport:
        query = self.config.query
        batch, ids = self._register(references)
        where = capture.partition_words(query, number, len(ids))
        stood = functools.partial(where_stood, self.stream)
        stretch = Stretch(number, 0, len(ids), lambda at: ids[at], where, stood)
        try:
            report = run_query(self._connection, self.config, stretch, batch, order_of(self.config))
        except QueryFailure as failure:
            raise refused(self.config, failure, where) from failure
        finally:
            for name in self.schemas:
                self._connection.unregister(name)
        ledger = report.ledger
        progress.advance(self.config.step, Progress(read=ledger.read, written=ledger.written, chunks=1))
        return report

    def _register(self, references: list[Reference]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """Shows the query the partition's other tables; returns the rows of the stream and the `_row` of each."""
        stream = self.config.query.stream
        for name, schema in self.schemas.items():
            if name != stream:
                self._connection.register(name, read_spill(_of(name, references), schema))
        rows = read_spill(_of(stream, references), self.schemas[stream].append(pa.field(ROW, pa.int64())))
        return numbered(rows)


def _of(table: str, references: Iterable[Reference]) -> list[Reference]:
    return [reference for reference in references if reference.table == table]
