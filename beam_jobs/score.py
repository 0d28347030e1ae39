"""The scoring job: each chunk of a table is read, queried, predicted and written by one fused function."""

import functools
from collections.abc import Callable, Iterator, Mapping

import apache_beam as beam
import pyarrow as pa

from beam_jobs import broadcast, duck, storage
from beam_jobs.chunks import Chunk, chunks_of, where_stood
from beam_jobs.fused import ChunkSource, RunChunk, blamed
from beam_jobs.kernel import TALLY, Finish, PrepareConfig, QueryFailure, Stretch, query_batches
from beam_jobs.ledger import Ledger
from beam_jobs.publish import Commit, Publication
from beam_jobs.table import ROW_GROUP_ROWS, Table

__all__ = ["Score", "sampled", "tallied"]

CHUNK_ROWS = ROW_GROUP_ROWS
"""Rows of a chunk, large table or small: predicting costs far more than beginning a chunk does, and memory stays flat."""
SAMPLED_PLACES = 24
"""Places of a table that a sample is taken from: tables are often sorted, by time for one."""


class Score(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[Ledger]]):
    """Writes what a model makes of a query's rows, with their `_row`, and publishes the table; yields its ledger.

    Rows do not cross a Beam stage, and memory holds no more than a chunk a worker.

    Args:
      config: the query, row-wise over the stream, and where the table goes.
      stream: the table that the query streams.
      others: the query's other tables by name.
      finishing: makes, once a worker, what turns the query's columns into the table's; picklable.
      schema: the columns that it makes.
    """

    def __init__(
        self,
        config: PrepareConfig,
        stream: Table,
        others: Mapping[str, Table],
        finishing: Callable[[], Finish],
        schema: pa.Schema,
    ) -> None:
        super().__init__(f"Score {config.step}")
        self.config, self.stream, self.finishing, self.schema = config, stream, finishing, schema
        self.others = {name: others[name] for name in config.query.tables if name != config.query.stream}

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Ledger]:
        """Builds the job."""
        config = self.config
        return (
            pipeline
            | "Chunks" >> beam.Create(chunks_of(self.stream, config.chunk_rows or CHUNK_ROWS), reshuffle=False)
            | "Deal" >> beam.Reshuffle()
            | "Score" >> beam.ParDo(RunChunk(config, self.stream, self.others, self.finishing))
            | "Commit" >> Commit(Publication(config.step, config.root, self.schema, stores_rows=True))
        )


def tallied(table: Table) -> dict[str, int]:
    """What the `Finish` has counted in all chunks, by what was counted, most first."""
    sums: dict[str, int] = {}
    for tally in table.extra.get(TALLY, ()):
        for what, count in tally.items():
            sums[what] = sums.get(what, 0) + count
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def sampled(config: PrepareConfig, stream: Table, others: Mapping[str, Table], rows: int) -> Iterator[pa.RecordBatch]:
    """What the query makes of about so many rows of its stream, taken from places spread evenly over it.

    Raises:
      DataError: DuckDB refuses a value, or a file cannot be read.
    """
    chosen = _spread(chunks_of(stream, ROW_GROUP_ROWS))
    local = [chunk.path for chunk in chosen if not storage.is_remote(chunk.path)]
    each = -(-rows // max(1, len(chosen)))
    with duck.connect(list(dict.fromkeys(local))) as connection:
        tables = {name: others[name] for name in config.query.tables if name != config.query.stream}
        broadcast.load(connection, tables, config.query.columns)
        for chunk in chosen:
            source = ChunkSource(connection, config, stream, chunk)
            stretch = _stretch(source, stream, chunk, min(each, chunk.rows))
            source.register(stretch.first, stretch.first + stretch.rows)
            try:
                for batch in query_batches(connection, config.query.sql):
                    yield pa.RecordBatch.from_arrays(
                        batch.columns[: len(config.query.output)], schema=config.query.output
                    )
            except QueryFailure as failure:
                raise blamed(config, source, stretch, failure) from failure
            finally:
                source.unregister()


def _stretch(source: ChunkSource, stream: Table, chunk: Chunk, rows: int) -> Stretch:
    where = functools.partial(where_stood, stream)
    return Stretch(chunk.number, chunk.first_row, rows, source.row_ids, chunk.words, where)


def _spread(chunks: list[Chunk]) -> list[Chunk]:
    count = min(len(chunks), SAMPLED_PLACES)
    return [chunks[place * len(chunks) // count] for place in range(count)]
