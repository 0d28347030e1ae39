"""The fused job: one DoFn reads a chunk, runs the query on it, splits the output and writes it."""

import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import apache_beam as beam
import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import broadcast, capture, duck, io_lineage, progress, storage
from beam_jobs.chunks import Chunk, read_chunk, where_stood
from beam_jobs.errors import DataError
from beam_jobs.kernel import (
    Finish,
    OutOfOrder,
    PrepareConfig,
    QueryFailure,
    Stretch,
    order_of,
    query_batches,
    refused,
    run_query,
)
from beam_jobs.progress import Progress
from beam_jobs.publish import ChunkReport
from beam_jobs.row_groups import unreadable
from beam_jobs.sql import CARRY
from beam_jobs.table import ROW, Table

_PLACE = "file_row_number"
_RUNTIME_FILE = "braid_chunk"
_in_sight = threading.Event()


@contextmanager
def batches_in_sight() -> Iterator[None]:
    """Around a job on the in-process runner, for debugging: `run_query` has every chunk in its local variable `batch`.

    DuckDB still reads the file itself where it did: from Arrow it may join from another side than it did in the job.
    """
    _in_sight.set()
    try:
        yield
    finally:
        _in_sight.clear()


class RunChunk(beam.DoFn):
    """Turns each chunk into the report of what was written from it.

    Args:
      stream: the streamed table.
      broadcasts: the query's other tables, by name.
      finishing: makes, once a worker, what becomes of the output before it is written; picklable.
    """

    def __init__(
        self,
        config: PrepareConfig,
        stream: Table,
        broadcasts: Mapping[str, Table],
        finishing: Callable[[], Finish] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.stream, self.broadcasts, self.finishing = config, stream, broadcasts, finishing
        # Copies of a row need an order of their own; else the stream's order is kept by itself, as a rule.
        self._order = order_of(config) if config.fan_out else ""

    def setup(self) -> None:
        """Opens the worker's database and loads the broadcast tables, once."""
        local = [path for path in map(self.stream.path, self.stream.parts) if not storage.is_remote(path)]
        self._connection = duck.connect(local)
        describe = functools.partial(capture.broadcast_tables, self.config, self.broadcasts)
        with capture.capturing(self.config.root, describe):
            broadcast.load(self._connection, self.broadcasts, self.config.query.columns)
            self._finish = self.finishing() if self.finishing else None

    def start_bundle(self) -> None:
        """Reports the broadcast tables' files: Beam counts nothing before the first bundle."""
        broadcast.report(self.broadcasts)

    def teardown(self) -> None:
        """Closes the database."""
        self._connection.close()

    def process(self, chunk: Chunk) -> Iterator[ChunkReport]:
        """Yields the chunk's report."""
        describe = functools.partial(capture.chunk_of_step, self.config, self.stream, self.broadcasts, chunk)
        with capture.capturing(self.config.root, describe):
            report = self._run(chunk)
        yield report

    def _run(self, chunk: Chunk) -> ChunkReport:
        io_lineage.reads(chunk.path)
        source = ChunkSource(self._connection, self.config, self.stream, chunk)
        where = functools.partial(where_stood, self.stream)
        stretch = Stretch(chunk.number, chunk.first_row, chunk.rows, source.row_ids, chunk.words, where)
        batch = source.rows
        if source.rows is None:
            source.register(chunk.first_row, chunk.first_row + chunk.rows)
            batch = source.read() if _in_sight.is_set() else None
        try:
            report = self._answer(stretch, batch, has_view=source.rows is None)
        except QueryFailure as failure:
            raise blamed(self.config, source, stretch, failure) from failure
        finally:
            source.unregister()
        ledger = report.ledger
        progress.advance(self.config.step, Progress(read=ledger.read, written=ledger.written, chunks=1))
        return report

    def _answer(self, stretch: Stretch, batch: pa.Table | None, has_view: bool) -> ChunkReport:
        try:
            return run_query(self._connection, self.config, stretch, batch, self._order, has_view, self._finish)
        except OutOfOrder:
            self._order = order_of(self.config)  # of the next chunks as well: they would come no better
        return run_query(self._connection, self.config, stretch, batch, self._order, has_view, self._finish)


class ChunkSource:
    """The rows of a chunk as the connection's table of the stream's name, `_at` last: the row's number in the file.

    DuckDB reads a local file itself; anything else, and files that it would read as other types, come through Arrow.

    Attributes:
      rows: those of the chunk, where they come through Arrow.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, config: PrepareConfig, stream: Table, chunk: Chunk
    ) -> None:
        self.connection, self.sql = connection, config.query.sql
        self._name = duck.quote(config.query.stream)
        self._columns = config.query.stream_columns
        self._schema = pa.schema([stream.schema.field(name) for name in self._columns])
        self._chunk = chunk
        self.rows = self.read() if not self._duckdb_reads_it() else None
        self._stored_ids = self._read_row_ids() if chunk.row_base is None else None

    def register(self, start: int, stop: int) -> None:
        """Shows the query the file's rows from `start` up to `stop`."""
        if self.rows is not None:
            first = self._chunk.first_row
            self.connection.register(_RUNTIME_FILE, self.rows.slice(start - first, stop - start))
            source = f"SELECT * FROM {_RUNTIME_FILE}"
        else:
            source = (
                f"SELECT {self._selected()}{_PLACE} AS {CARRY} FROM {self._scan()} "
                f"WHERE {_PLACE} >= {start} AND {_PLACE} < {stop}"
            )
        self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {self._name} AS {source}")

    def unregister(self) -> None:
        """Lets go of rows held in memory."""
        if self.rows is not None:
            self.connection.execute(f"DROP VIEW IF EXISTS {self._name}")
            self.connection.unregister(_RUNTIME_FILE)
            self.rows = None

    def row_ids(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`_row` of each `_at`."""
        if self._stored_ids is None:
            return at + np.int64(self._chunk.row_base or 0)
        return self._stored_ids[at - self._chunk.first_row]

    def _selected(self) -> str:
        return "".join(f"{duck.quote(name)}, " for name in self._columns)

    def _scan(self) -> str:
        path = duck.literal(self._chunk.path)
        return f"read_parquet({path}, file_row_number = true, hive_partitioning = false)"

    def _duckdb_reads_it(self) -> bool:
        path = self._chunk.path
        # DuckDB would take these characters of a name for a pattern.
        if storage.is_remote(path) or any(sign in path for sign in "*?[") or not os.path.exists(path):
            return False
        if any(name.lower() in (_PLACE, CARRY) for name in self._schema.names):
            return False
        try:
            own = duck.output_types(self.connection, f"SELECT {self._selected()}0::BIGINT FROM {self._scan()}")
        except duckdb.Error:
            return False
        self.connection.register(_RUNTIME_FILE, self._schema.empty_table())
        through_arrow = duck.output_types(self.connection, f"SELECT *, 0::BIGINT FROM {_RUNTIME_FILE}")
        self.connection.unregister(_RUNTIME_FILE)
        return [kind for _, kind in own] == [kind for _, kind in through_arrow]

    def read(self) -> pa.Table:
        """The chunk's rows in memory, `_at` last.

        Raises:
          DataError: the file does not hold what its table says.
        """
        batches = list(read_chunk(self._chunk, self._columns))
        try:
            rows = pa.Table.from_batches(batches).cast(self._schema)
        except pa.ArrowException as error:
            raise unreadable(self._chunk.path, error) from error
        at = np.arange(self._chunk.rows, dtype=np.int64) + self._chunk.first_row
        return rows.append_column(CARRY, pa.array(at))

    def _read_row_ids(self) -> npt.NDArray[np.int64]:
        return np.concatenate([batch.column(0).to_numpy() for batch in read_chunk(self._chunk, [ROW])])


def blamed(config: PrepareConfig, source: ChunkSource, stretch: Stretch, failure: QueryFailure) -> DataError:
    """The error for a chunk: of the one row that the query fails on, found by halving, where a row is to blame."""
    if failure.of_a_value:
        at = failing_row(source, stretch.first, stretch.first + stretch.rows)
        if at is not None:
            row = int(source.row_ids(np.array([at], np.int64))[0])
            return refused(config, failure, stretch.where(row))
    return refused(config, failure, stretch.words)


def failing_row(source: ChunkSource, start: int, stop: int) -> int | None:
    """The `_at` of one row that the query fails on by itself, or None where only several rows together make it fail."""
    while stop - start > 1:
        middle = (start + stop) // 2
        if _fails(source, start, middle):
            stop = middle
        else:
            start = middle
    return start if _fails(source, start, stop) else None


def _fails(source: ChunkSource, start: int, stop: int) -> bool:
    source.register(start, stop)
    try:
        for _ in query_batches(source.connection, source.sql):
            pass
    except QueryFailure as failure:
        return failure.of_a_value
    return False
