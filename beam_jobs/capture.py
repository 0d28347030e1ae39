"""Around a job's work on one piece of data: when it fails, the piece is written aside with the exception.

Work that succeeds pays nothing for it: what failed is read once more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from beam_jobs import failures, progress
from beam_jobs.chunks import Chunk, read_chunk
from beam_jobs.errors import BraidError
from beam_jobs.failures import Contents, Failure, KeptTable, Raised
from beam_jobs.kernel import PrepareConfig
from beam_jobs.spill import Reference, read_spill
from beam_jobs.sql import CheckedQuery
from beam_jobs.table import ROW, Origin, Table
from beam_jobs.text_chunks import TextChunk, TextStream

RAW_BYTES = 16 << 20
"""Most bytes of text that are kept of a chunk; where the rest stands is known."""
BATCH_NAME = "batch"
"""What the batch of a job goes by that gives its table no name."""
_PIECE = 1 << 20


Described = tuple[Failure, Contents]


@contextmanager
def capturing(root: str, describe: Callable[[Raised], Described]) -> Iterator[None]:
    """Around a piece of work: what it raises is raised on, after the piece is written aside; see `failures`.

    The exception gets a note that says where its data is, or why it could not be kept. Errors for the user are told
    to `progress`.

    Args:
      root: the folder that the job writes to.
      describe: called when the work has failed, with the exception; what failed, and what to keep of it.
    """
    try:
        yield
    except Exception as error:
        error.add_note(_kept(error, root, describe))
        if isinstance(error, BraidError):
            progress.failed(error)
        raise


def _kept(error: Exception, root: str, describe: Callable[[Raised], Described]) -> str:
    """Writes the piece aside; says where, or why not."""
    try:
        failure = failures.save(*describe(Raised.of(error)), failures.folder_of(root))
    except Exception as reason:  # the first error is the one to tell
        return f"What it failed on could not be kept: {type(reason).__name__}: {reason}"
    if failure.incomplete:
        return f"It is described in '{failure.folder}'; its data could not be kept: {failure.incomplete}"
    return f"What it failed on is kept in '{failure.folder}', {failure.name}."


def chunk_of_step(
    config: PrepareConfig, stream: Table, others: Mapping[str, Table], chunk: Chunk, error: Raised
) -> Described:
    """A chunk of a prepare step's stream."""
    name = config.query.stream
    failure = Failure(
        failures.CHUNK,
        config.step,
        chunk.number,
        error,
        chunk.words,
        origin=_origin(chunk),
        stream=name,
        tables=_tables({name: stream, **others}),
        parameters=config.to_json(),
    )
    return failure, Contents({name: _chunk_rows(chunk, _narrow(stream, (*config.query.stream_columns, ROW)))})


def partition_of_step(
    config: PrepareConfig,
    tables: Mapping[str, Table],
    others: Mapping[str, Table],
    number: int,
    references: Sequence[Reference],
    error: Raised,
) -> Described:
    """A partition: the rows of every table of `tables` that fell into it; the `others` are broadcast."""
    query = config.query
    columns = {**query.columns, query.stream: (*query.columns[query.stream], ROW)}
    rows = {name: _spilled(name, _narrow(table, columns[name]), references) for name, table in tables.items()}
    count = sum(reference.rows for reference in references if reference.table == query.stream)
    failure = Failure(
        failures.PARTITION,
        config.step,
        number,
        error,
        partition_words(query, number, count),
        stream=query.stream,
        tables=_tables({**tables, **others}),
        parameters=config.to_json(),
    )
    return failure, Contents(rows)


def partition_words(query: CheckedQuery, number: int, rows: int) -> str:
    """Where the stream's rows of a partition stand, for messages."""
    return f"the {rows:,} rows of '{query.stream}' in partition {number} by {', '.join(query.partition_by)}"


def chunk_to_spill(
    config: PrepareConfig, name: str, table: Table, columns: Sequence[str], chunk: Chunk, error: Raised
) -> Described:
    """A chunk of a table on its way into partitions; `columns` are those that are spilled or partitioned by."""
    failure = Failure(
        failures.SPILL,
        config.step,
        chunk.number,
        error,
        chunk.words,
        group=name,
        origin=_origin(chunk),
        stream=name,
        tables=_tables({name: table}),
        parameters=config.to_json(),
    )
    return failure, Contents({name: _chunk_rows(chunk, _narrow(table, columns))})


def broadcast_tables(config: PrepareConfig, tables: Mapping[str, Table], error: Raised) -> Described:
    """The tables that a worker loads whole before its first piece of data."""
    words = f"the tables that every worker loads: {', '.join(tables)}"
    found = _tables(tables)
    failure = Failure(failures.BROADCAST, config.step, 0, error, words, tables=found, parameters=config.to_json())
    return failure, Contents()


def batch_of_job(job: str, batch: pa.RecordBatch, chunk: Chunk, before: int, error: Raised) -> Described:
    """A batch of a job over the chunks of a table, such as scoring; `before` rows of the chunk stand before it."""
    first, stop = chunk.first_row + before, chunk.first_row + before + batch.num_rows
    failure = Failure(
        failures.BATCH,
        job,
        chunk.number,
        error,
        f"rows {first + 1:,} to {stop:,} of '{chunk.path}'",
        group=chunk.split,
        origin=Origin(chunk.number, chunk.path, first, stop, "rows"),
        stream=BATCH_NAME,
        tables={BATCH_NAME: KeptTable(batch.schema)},
        parameters={"split": chunk.split},
    )
    return failure, Contents({BATCH_NAME: pa.RecordBatchReader.from_batches(batch.schema, [batch])})


def text_of_source(
    source: str, table: KeptTable, chunk: TextChunk, parameters: Mapping[str, Any], error: Raised
) -> Described:
    """A chunk of a text file: its bytes, decompressed, as far as they can be read."""
    end = f"byte {chunk.stop:,}" if chunk.stop >= 0 else "its end"
    failure = Failure(
        failures.TEXT,
        source,
        chunk.number,
        error,
        f"'{chunk.path}' from byte {chunk.start:,} to {end}",
        origin=Origin(chunk.number, chunk.path, chunk.start, chunk.stop, "bytes"),
        tables={source: table},
        parameters={**parameters, "line": chunk.line, "compression": chunk.compression, "most_bytes": RAW_BYTES},
    )
    return failure, Contents(raw=_text(chunk, RAW_BYTES))


def _text(chunk: TextChunk, most: int) -> Iterator[bytes]:
    left = most if chunk.stop < 0 else min(most, chunk.stop - chunk.start)
    with TextStream(chunk.path, chunk.compression) as stream:
        stream.skip(chunk.start)
        while left > 0 and (piece := _readable(stream, min(left, _PIECE))):
            yield piece
            left -= len(piece)


def _readable(stream: TextStream, size: int) -> bytes:
    """The next bytes; b'' where the text ends, be it by damage."""
    try:
        return stream.read(size)
    except BraidError:
        return b""


def _origin(chunk: Chunk) -> Origin:
    return Origin(chunk.number, chunk.path, chunk.first_row, chunk.first_row + chunk.rows, "rows")


def _tables(tables: Mapping[str, Table]) -> dict[str, KeptTable]:
    return {name: KeptTable(table.schema, table.root) for name, table in tables.items()}


def _narrow(table: Table, columns: Sequence[str]) -> pa.Schema:
    """The named columns, `_row` among them or not."""
    own = pa.field(ROW, pa.int64())
    return pa.schema([own if name == ROW else table.schema.field(name) for name in columns])


def _chunk_rows(chunk: Chunk, schema: pa.Schema) -> pa.RecordBatchReader:
    batches = (batch.cast(schema) for batch in read_chunk(chunk, schema.names))
    return pa.RecordBatchReader.from_batches(schema, batches)


def _spilled(name: str, schema: pa.Schema, references: Sequence[Reference]) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from read_spill([one for one in references if one.table == name], schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())
