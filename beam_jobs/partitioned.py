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

from beam_jobs import broadcast, duck, io_lineage, progress
from beam_jobs.chunks import Chunk, chunks_of, read_chunk, where_stood
from beam_jobs.errors import BraidError, SqlError
from beam_jobs.hashing import Hashes, hash_rows, kind
from beam_jobs.kernel import PrepareConfig, QueryFailure, Stretch, refused, run_query
from beam_jobs.progress import Progress
from beam_jobs.publish import ChunkReport, pending
from beam_jobs.spill import Reference, read_spill, write_spill
from beam_jobs.sql import CARRY
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
            | "Spill" >> beam.ParDo(SpillChunk(config, self.partitions))
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

    def __init__(self, config: PrepareConfig, partitions: int) -> None:
        super().__init__()
        self.config, self.partitions = config, partitions

    def process(self, part: TableChunk) -> Iterator[tuple[int, Reference]]:
        """Yields one reference for each partition that has rows in the chunk."""
        path = pending(self.config.root, "spill", f"{part.table}-{part.chunk.number:06d}-{uuid.uuid4().hex[:12]}.arrow")
        try:
            yield from write_spill(path, part.table, part.chunk.number, self._batches(part), self.partitions)
        except BraidError as error:
            raise progress.failed(error) from error

    def _batches(self, part: TableChunk) -> Iterator[tuple[pa.RecordBatch, Hashes]]:
        io_lineage.reads(part.chunk.path)
        query = self.config.query
        kept = [*query.columns[part.table], *([ROW] if part.table == query.stream else [])]
        for batch in read_chunk(part.chunk, list(dict.fromkeys([*kept, *query.partition_by]))):
            yield batch.select(kept), hash_rows([batch.column(name) for name in query.partition_by])


class RunPartition(beam.DoFn):
    """Phase 2: loads a partition of every partitioned table, runs the query and writes the output."""

    def __init__(self, config: PrepareConfig, tables: Mapping[str, Table], broadcasts: Mapping[str, Table]) -> None:
        super().__init__()
        self.config, self.broadcasts = config, broadcasts
        self.stream, columns = tables[config.query.stream], config.query.columns
        self.schemas = {
            name: pa.schema([table.schema.field(column) for column in columns[name]]) for name, table in tables.items()
        }

    def setup(self) -> None:
        """Opens the worker's database and loads the broadcast tables, once."""
        self._connection = duck.connect()
        broadcast.load(self._connection, self.broadcasts, self.config.query.columns)

    def start_bundle(self) -> None:
        """Reports the broadcast tables' files: Beam counts nothing before the first bundle."""
        broadcast.report(self.broadcasts)

    def teardown(self) -> None:
        """Closes the database."""
        self._connection.close()

    def process(self, partition: tuple[int, Iterable[Reference]]) -> Iterator[ChunkReport]:
        """Yields the partition's report."""
        number, references = partition
        try:
            yield self._run(number, list(references))
        except BraidError as error:
            raise progress.failed(error) from error

    def _run(self, number: int, references: list[Reference]) -> ChunkReport:
        query = self.config.query
        ids = self._register(references)
        where = f"the {len(ids):,} rows of '{query.stream}' in partition {number} by {', '.join(query.partition_by)}"
        stood = functools.partial(where_stood, self.stream)
        stretch = Stretch(number, 0, len(ids), lambda at: ids[at], where, stood)
        try:
            report = run_query(self._connection, self.config, stretch, order_by=CARRY if query.carries else "ALL")
        except QueryFailure as failure:
            raise refused(self.config, failure, where) from failure
        finally:
            for name in self.schemas:
                self._connection.unregister(name)
        ledger = report.ledger
        progress.advance(self.config.step, Progress(read=ledger.read, written=ledger.written, chunks=1))
        return report

    def _register(self, references: list[Reference]) -> npt.NDArray[np.int64]:
        """Shows the query the partition's tables; returns the `_row` of each row of the stream."""
        stream = self.config.query.stream
        ids = np.zeros(0, np.int64)
        for name, schema in self.schemas.items():
            mine = [reference for reference in references if reference.table == name]
            if name != stream:
                self._connection.register(name, read_spill(mine, schema))
                continue
            rows = read_spill(mine, schema.append(pa.field(ROW, pa.int64())))
            ids = rows.column(ROW).to_numpy()
            at = pa.array(np.arange(rows.num_rows, dtype=np.int64))
            self._connection.register(name, rows.drop_columns([ROW]).append_column(CARRY, at))
        return ids
