"""One run of a step's query over one stretch of its stream: batches out, splits, `_row`, ledger."""

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import duck, publish, splits
from beam_jobs.errors import DataError, listed
from beam_jobs.ledger import Ledger
from beam_jobs.parts import AttemptWriter
from beam_jobs.publish import ChunkReport
from beam_jobs.row_counts import RowCounts, aggregate_ledger
from beam_jobs.splits import Split, time_range
from beam_jobs.sql import CARRY, CheckedQuery, check_query
from beam_jobs.table import ROW, ROW_GROUP_ROWS, ROW_PLACE_BITS

TIME_RANGE = "time_range"
"""The note of a chunk with the first and last time of the splitting column."""
TALLY = "tally"
"""The note of a chunk with what a `Finish` has counted in it."""
MOST_SHOWN = 40
"""Characters of a value that a message shows."""


@dataclass(frozen=True)
class PrepareConfig:
    """One prepare step.

    Attributes:
      step: its name, for messages and counters.
      query: the checked query.
      root: the folder of the table to write.
      fan_out: whether a join may multiply rows of the stream.
      split: how the output is divided, or None for a table without splits.
      chunk_rows: most rows a chunk; by the stream's size when 0.
      partition_rows: about how many rows a partition, for a query with `partition_by`.
    """

    step: str
    query: CheckedQuery
    root: str
    fan_out: bool = False
    split: Split | None = None
    chunk_rows: int = 0
    partition_rows: int = 250_000

    def to_json(self) -> dict[str, Any]:
        """The step as its component's parameter: what the user configured, the query as written."""
        return {
            "step": self.step,
            "stream": self.query.stream,
            "sql": self.query.text,
            "partition_by": list(self.query.partition_by),
            "fan_out": self.fan_out,
            "split": splits.to_json(self.split) if self.split else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], schemas: Mapping[str, pa.Schema], root: str) -> "PrepareConfig":
        """The step of a component's parameter, its query checked against the tables that it may read.

        Raises:
          SqlError: the query is refused.
          DataError: the split cannot be.
        """
        query = check_query(data["step"], data["sql"], data["stream"], schemas, data["partition_by"])
        split = splits.from_json(data["split"]) if data["split"] else None
        return cls(data["step"], query, root, fan_out=data["fan_out"], split=split)


@dataclass(frozen=True)
class Stretch:
    """The rows of the stream that one run of the query reads.

    Attributes:
      number: the output chunk's number.
      first: the `_at` of the first row.
      rows: how many there are.
      row_ids: `_row` of each `_at`.
      words: where they stand, for messages.
      where: words where the row of a `_row` came from.
    """

    number: int
    first: int
    rows: int
    row_ids: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    words: str
    where: Callable[[int], str]


class Finish(Protocol):
    """What becomes of a query's output before it is written; one a worker, shared by its threads."""

    @property
    def schema(self) -> pa.Schema:
        """The columns that it makes, without `_row`."""

    def __call__(self, batch: pa.RecordBatch, tally: Counter[str]) -> pa.RecordBatch:
        """Turns a batch of the query's columns into one of `schema`, row by row; counts what is to be told in `tally`."""


class QueryFailure(Exception):  # noqa: N818  it is caught and worded, never shown
    """DuckDB gave up on a query; `cause_text` is what it said, `of_a_value` whether one row may be to blame."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.cause_text = re.sub(r"^(\w+ )+Error: ", "", told.split("\n\nLINE ", maxsplit=1)[0]).strip()
        self.of_a_value = "Failed to read file" not in told and told.startswith(
            ("Conversion Error", "Out of Range Error", "Invalid Input Error")
        )
        self.hint = "If the file is damaged or changed during the run, write it anew."
        if self.of_a_value:
            self.hint = (
                "TRY_CAST(...) gives NULL where CAST fails, NULLIF(x, 0) a safe divisor; or filter such rows out."
            )
        elif told.startswith("Out of Memory Error"):
            self.hint = "Read fewer columns, broadcast smaller tables, or partition by columns with more values."


class OutOfOrder(Exception):  # noqa: N818  it is caught, and the query run again
    """Rows come out of a query in another order than that of the stream: DuckDB has joined from the other side."""


def query_batches(connection: duckdb.DuckDBPyConnection, sql: str) -> Generator[pa.RecordBatch, None, None]:
    """Streams a query's output in batches of up to 131,072 rows.

    Raises:
      QueryFailure: DuckDB refuses a value, runs out of memory, or cannot read the file.
    """
    try:
        # A failure past the first batch comes out of the Arrow stream, as an OSError with DuckDB's words.
        yield from connection.sql(sql).to_arrow_reader(ROW_GROUP_ROWS)
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise QueryFailure(str(error)) from error


@dataclass
class _Run:
    """What has come out of one run so far."""

    config: PrepareConfig
    stretch: Stretch
    counts: RowCounts | None
    finish: Finish | None = None
    ordered: bool = True
    last: int = -1
    written: int = 0
    times: list[tuple[int, int]] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)

    def row_ids(self, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """`_row` of each row: the input row's, or new ones where rows stand for groups.

        Raises:
          OutOfOrder: the query does not order them, and they do not follow the stream.
        """
        if self.counts is None:
            start = (self.stretch.number << ROW_PLACE_BITS) + self.written
            return np.arange(start, start + batch.num_rows, dtype=np.int64)
        carried = batch.column(len(self.config.query.output))
        at = np.asarray(carried.fill_null(-1).to_numpy(zero_copy_only=False))
        self.counts.add(at)
        if not self.ordered and len(at):
            if at[0] < self.last or (at[1:] < at[:-1]).any():
                raise OutOfOrder
            self.last = int(at[-1])
        return self.stretch.row_ids(at)

    @property
    def explodes(self) -> bool:
        """Whether a join that may not multiply rows has given more of them than were read."""
        return self.counts is not None and not self.config.fan_out and self.counts.written > self.stretch.rows

    def ledger(self) -> Ledger:
        if self.counts is not None:
            return self.counts.ledger()
        return aggregate_ledger(self.stretch.rows, self.written)


def run_query(
    connection: duckdb.DuckDBPyConnection,
    config: PrepareConfig,
    stretch: Stretch,
    batch: pa.Table | None,
    order_by: str = "",
    has_view: bool = False,
    finish: Finish | None = None,
) -> ChunkReport:
    """Runs the step's query on one batch of its stream and writes the output as one attempt.

    The query's other tables are in the connection. DuckDB joins from the side that it takes for the smaller one, by
    guesses that differ between a file that it reads and one that comes through Arrow: the order is not left to it.

    Args:
      batch: the rows of the stream, `_at` last; None where DuckDB reads them itself and nobody looks at them.
      has_view: DuckDB reads them itself, by a view of the stream's name.
      order_by: what the job orders the output by (see `order_of`); '' where it is in the stream's order as it comes.
      finish: what becomes of the output before it is written.

    Raises:
      DataError: rows multiply without `fan_out`, the output's columns differ from those checked, a row has no split.
      QueryFailure: DuckDB could not run the query.
      OutOfOrder: without `order_by`, the output is in another order than the stream.
    """
    query, ordered = config.query, bool(order_by)
    run = _Run(config, stretch, RowCounts(stretch.first, stretch.rows) if query.carries else None, finish, ordered)
    schema = query.output if finish is None else finish.schema
    attempt = publish.new_attempt(stretch.number)
    sql = f"SELECT * FROM (\n{query.sql}\n) ORDER BY {order_by}" if order_by else query.sql
    with (
        _shown_as(connection, query.stream, None if has_view else batch),
        AttemptWriter(config.root, attempt, stretch.number, schema, config.split) as writer,
    ):
        with closing(query_batches(connection, sql)) as outputs:
            for output in outputs:
                _write(run, writer, output)
                if run.explodes:
                    break
        ledger = run.ledger()
        if not config.fan_out and ledger.multiplied:
            raise _multiplied(connection, run, ledger.multiplied)
        return ChunkReport(stretch.number, attempt, writer.close(), ledger, _notes(run))


def numbered(rows: pa.Table) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Rows with `_row` as `run_query` takes them, `_at` from 0 in its place; and the `_row` of each `_at`."""
    at = pa.array(np.arange(rows.num_rows, dtype=np.int64))
    return rows.drop_columns([ROW]).append_column(CARRY, at), rows.column(ROW).to_numpy()


def order_of(config: PrepareConfig) -> str:
    """What the output is ordered by for an answer that depends on its rows alone, not on DuckDB's hash tables."""
    if not config.query.carries:
        return "ALL"
    ties = range(1, len(config.query.output) + 1) if config.fan_out else ()
    return ", ".join([CARRY, *map(str, ties)])


@contextmanager
def _shown_as(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table | None) -> Iterator[None]:
    """Lets queries read the rows, if there are any to show, as the table of that name."""
    if rows is None:
        yield
        return
    connection.register(name, rows)
    try:
        yield
    finally:
        connection.unregister(name)


def _write(run: _Run, writer: AttemptWriter, batch: pa.RecordBatch) -> None:
    config, query = run.config, run.config.query
    _check_columns(config, batch.schema)
    columns = pa.RecordBatch.from_arrays(batch.columns[: len(query.output)], schema=query.output)
    finished = columns if run.finish is None else run.finish(columns, run.tally)
    writer.write(finished, run.row_ids(batch))
    run.written += batch.num_rows
    if config.split and (seen := time_range(columns, config.split)):
        run.times.append(seen)


def _notes(run: _Run) -> dict[str, Any]:
    notes: dict[str, Any] = {TALLY: dict(run.tally)} if run.tally else {}
    if run.times:
        notes[TIME_RANGE] = [min(low for low, _ in run.times), max(high for _, high in run.times)]
    return notes


def _check_columns(config: PrepareConfig, got: pa.Schema) -> None:
    expected = config.query.output
    for place, wanted in enumerate(expected):
        found = got.field(place)
        if (found.name, found.type) != (wanted.name, wanted.type):
            raise DataError(
                f"Step '{config.step}': column {place + 1} of the query's output is '{found.name}' of type {found.type}, not '{wanted.name}' of type {wanted.type} as its check found.",
                "Give the column one type in the query: CAST(... AS ...).",
            )


def _multiplied(connection: duckdb.DuckDBPyConnection, run: _Run, copies: int) -> DataError:
    config, stretch = run.config, run.stretch
    worst = run.counts.most_multiplied(1) if run.counts is not None else []
    example = ""
    for at, times in worst:
        row = int(stretch.row_ids(np.array([at], np.int64))[0])
        example = f" For example, {stretch.where(row)} comes out {times:,} times ({_shown(connection, config, at)})."
    return DataError(
        f"Step '{config.step}' multiplies rows of '{config.query.stream}': {copies:,} surplus copies come out of {stretch.words}.{example} Usually a joined table has several rows for one key.",
        "Make the joined table's key unique in the query (GROUP BY, DISTINCT ON), or allow it with 'fan_out: true'.",
    )


def _shown(connection: duckdb.DuckDBPyConnection, config: PrepareConfig, at: int) -> str:
    """A row of the stream, the columns that the query reads: the join's key is among them."""
    stream = duck.quote(config.query.stream)
    found = connection.execute(f"SELECT * EXCLUDE ({CARRY}) FROM {stream} WHERE {CARRY} = {at}")
    names = [column[0] for column in found.description or ()]
    (values,) = (dict(zip(names, row, strict=True)) for row in found.fetchall())
    return listed((f"{name} = {str(value)[:MOST_SHOWN]}" for name, value in values.items()), 20)


def refused(config: PrepareConfig, failure: QueryFailure, where: str) -> DataError:
    """The error for a query that DuckDB could not run over the rows that `where` words."""
    told = failure.cause_text if failure.cause_text.endswith((".", "!", "?")) else f"{failure.cause_text}."
    return DataError(f"Step '{config.step}' failed on {where}: {told}", failure.hint)
