"""TFDV statistics of a table's splits: one fused read-and-count over Parquet row groups.

TFDV's own generators do the counting. Its Beam transform is not used: it keys each batch 128 ways and builds a graph a
split, which costs 2.5 times the wall time, and its pickled parts cannot be loaded by a worker (see `tfdv_import`).
Only chunk descriptions and accumulators cross a stage, never rows.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from tensorflow_metadata.proto.v0 import statistics_pb2

from beam_jobs import capture, io_lineage, progress, storage
from beam_jobs.chunks import Chunk, chunks_of, read_chunk
from beam_jobs.errors import BraidError, DataError
from beam_jobs.table import ROW_GROUP_ROWS, Table
from components.listed_columns import listed_batch
from components.tfdv_import import tfdv

JOB = "statistics"
BATCH_ROWS = 32_768
"""Rows counted at a time: as fast as whole row groups, in a quarter of the memory."""
TOP_VALUES = 50
EXACT_VALUES = 1000
"""Distinct texts a column may have for every one of them to be listed with its exact count."""
MOST_GROUPS = 64
"""Parts of a split that are counted side by side; a state takes some 10 kB a column."""

ChunkGroup = tuple[Chunk, ...]
States = dict[int, list[Any]]
"""For each group of chunks, by its first chunk's number, a state a TFDV generator."""


def plan_chunks(table: Table, sample_rows: int = 0) -> list[Chunk]:
    """Cuts a table into chunks of about a row group of rows, split after split.

    Args:
      sample_rows: 0 for every row; else chunks spread evenly over each split, at least so many rows where it has them.
    """
    cut = {split: chunks_of(table, ROW_GROUP_ROWS, [split]) for split in table.splits}
    return [chunk for chunks in cut.values() for chunk in _sampled(chunks, sample_rows)]


def _sampled(chunks: list[Chunk], sample_rows: int) -> Iterator[Chunk]:
    total = sum(chunk.rows for chunk in chunks)
    share = min(1.0, sample_rows / total) if sample_rows and total else 1.0
    seen = taken = 0
    for chunk in chunks:
        seen += chunk.rows
        if taken < share * seen:
            taken += chunk.rows
            yield chunk


def groups_of(chunks: Iterable[Chunk]) -> list[ChunkGroup]:
    """Neighbouring chunks of a split that are counted one after the other: the same groups for the same table."""
    by_split: dict[str, list[Chunk]] = {}
    for chunk in sorted(chunks, key=lambda chunk: (chunk.split, chunk.number)):
        by_split.setdefault(chunk.split, []).append(chunk)
    found: list[ChunkGroup] = []
    for mine in by_split.values():
        size = -(-len(mine) // MOST_GROUPS)
        found += [tuple(mine[start : start + size]) for start in range(0, len(mine), size)]
    return found


def statistics_options() -> Any:
    """TFDV's options: text counts exact up to `EXACT_VALUES` distinct values, no weights, slices or cross features."""
    return tfdv.StatsOptions(
        num_top_values=TOP_VALUES,
        num_rank_histogram_buckets=EXACT_VALUES,
        use_sketch_based_topk_uniques=True,
        num_values_histogram_buckets=2,
        num_histogram_buckets=20,
        num_quantiles_histogram_buckets=10,
    )


class CountChunks(beam.CombineFn):
    """Combines the chunks of a split into its statistics.

    States are merged at the end, in the chunks' order: sums of floats come out otherwise in another order, and workers
    finish in any.

    Args:
      columns: those to count, in the order in which the statistics name them.
      root: the folder that keeps a batch which cannot be counted; '' to keep none.
    """

    def __init__(self, columns: Sequence[str], root: str = "") -> None:
        super().__init__()
        self._columns, self._root = list(columns), root

    def setup(self, *_: Any, **__: Any) -> None:
        """Builds TFDV's generators, in the worker."""
        from tensorflow_data_validation.statistics import stats_impl

        self._api = stats_impl
        self._generators = stats_impl.get_generators(statistics_options(), in_memory=True)

    def create_accumulator(self) -> States:
        """Nothing counted yet."""
        return {}

    def add_input(self, accumulator: States, group: ChunkGroup) -> States:
        """Reads the chunks of a group and counts them, batch by batch."""
        states = [generator.create_accumulator() for generator in self._generators]
        for chunk in group:
            states = self._add_chunk(states, chunk)
        compacted = [g.compact(state) for g, state in zip(self._generators, states, strict=True)]
        return {**accumulator, group[0].number: compacted}

    def _add_chunk(self, states: list[Any], chunk: Chunk) -> list[Any]:
        io_lineage.reads(chunk.path)
        rows = 0
        try:
            for batch in read_chunk(chunk, self._columns, BATCH_ROWS):
                describe = functools.partial(capture.batch_of_job, JOB, batch, chunk, rows)
                with capture.capturing(self._root, describe) if self._root else nullcontext():
                    states = self._add_batch(states, listed_batch(batch))
                rows += batch.num_rows
        except BraidError as error:
            raise progress.failed(error) from None
        progress.advance(JOB, progress.Progress(chunks=1))
        return states

    def _add_batch(self, states: list[Any], batch: pa.RecordBatch) -> list[Any]:
        pairs = zip(self._generators, states, strict=True)
        added = [generator.add_input(state, batch) for generator, state in pairs]
        progress.advance(JOB, progress.Progress(read=batch.num_rows))
        return added

    def merge_accumulators(self, accumulators: Iterable[States]) -> States:
        """All groups' states, not merged yet."""
        return {number: states for accumulator in accumulators for number, states in accumulator.items()}

    def extract_output(self, accumulator: States) -> bytes:
        """The serialized `DatasetFeatureStatisticsList` of the split."""
        created = [generator.create_accumulator() for generator in self._generators]
        by_generator = zip(*(states for _, states in sorted(accumulator.items())), strict=True)
        in_order = list(by_generator) or [(state,) for state in created]
        merged = [g.merge_accumulators(list(of_one)) for g, of_one in zip(self._generators, in_order, strict=True)]
        return bytes(self._api.extract_statistics_output(merged, self._generators).SerializeToString())


def statistics_of(batches: Iterable[pa.RecordBatch]) -> bytes:
    """The serialized `DatasetFeatureStatisticsList` of a few batches, counted here and now."""
    from tensorflow_data_validation.statistics import stats_impl

    generators = stats_impl.get_generators(statistics_options(), in_memory=True)
    states = [generator.create_accumulator() for generator in generators]
    for batch in batches:
        listed = listed_batch(batch)
        states = [generator.add_input(state, listed) for generator, state in zip(generators, states, strict=True)]
    return bytes(stats_impl.extract_statistics_output(states, generators).SerializeToString())


@dataclass(frozen=True)
class Target:
    """Where each split's statistics go, and the rows that they must have counted; `root` as for `CountChunks`."""

    paths: Mapping[str, str]
    rows: Mapping[str, int]
    exact: bool
    root: str = ""

    def write(self, counted: tuple[str, bytes]) -> str:
        """Writes one split's statistics and returns the split.

        Raises:
          DataError: the count differs from the manifest's.
        """
        split, serialized = counted
        found = rows_counted(serialized)
        if self.exact and found != self.rows[split]:
            raise progress.failed(
                DataError(
                    f"Split '{split}' has {found:,} rows in its files and {self.rows[split]:,} in its manifest.",
                    "The files were changed after they were written: run the step that writes them.",
                )
            )
        with storage.open_output(self.paths[split]) as stream:
            stream.write(serialized)
        io_lineage.writes(self.paths[split])
        return split


def rows_counted(serialized: bytes) -> int:
    """`num_examples` of serialized statistics, 0 where no row was read."""
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(serialized)
    return int(statistics.datasets[0].num_examples)


def empty_statistics() -> bytes:
    """The statistics of a split without rows."""
    empty = statistics_pb2.DatasetFeatureStatisticsList()
    empty.datasets.add()
    return bytes(empty.SerializeToString())


class Profile(beam.PTransform[beam.PCollection[Chunk], beam.PCollection[str]]):
    """Counts columns of chunks into one statistics file a split; yields the splits written."""

    def __init__(self, columns: Sequence[str], target: Target) -> None:
        super().__init__()
        self.columns, self.target = columns, target

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[str]:
        """Spreads the descriptions over the workers, then reads and counts in one fused stage."""
        return (
            chunks
            | "Gather" >> beam.combiners.ToList()
            | "Group" >> beam.FlatMap(groups_of)
            | "Spread" >> beam.Reshuffle()
            | "BySplit" >> beam.WithKeys(lambda group: group[0].split)
            | "Count" >> beam.CombinePerKey(CountChunks(self.columns, self.target.root))
            | "Write" >> beam.Map(self.target.write)
        )
