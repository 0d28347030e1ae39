"""A kept failure run again in this process, on all of its rows or on some, as its job ran it but without Beam.

The job and the replay call the same function, `kernel.run_query`; the rows are in its local variable `batch`.
"""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from beam_jobs import broadcast, duck, failures
from beam_jobs.errors import DataError, listed
from beam_jobs.failures import Failure
from beam_jobs.kernel import PrepareConfig, QueryFailure, Stretch, numbered, order_of, refused, run_query
from beam_jobs.publish import ChunkReport
from beam_jobs.shrinking import Limit, Shrunk, shrink, signature
from beam_jobs.table import ROW

_OUTPUT = "output"


def rerun(
    failure: Failure,
    table: pa.Table | None = None,
    sql: str | None = None,
    step: Mapping[str, Any] | None = None,
    root: str = "",
) -> ChunkReport:
    """Runs the step of a failure on rows of its stream, and raises what it raises.

    Args:
      failure: of a chunk or a partition of a prepare step.
      table: the rows, `_row` among their columns; all that were kept unless given.
      sql: the query, where another is to be tried.
      step: the step's whole configuration (see `PrepareConfig.to_json`), where another is to be tried.
      root: where to leave the output; nowhere unless given.

    Returns:
      The report of what came out; its ledger adds up.

    Raises:
      DataError: the step fails on these rows, or what it needs was not kept.
      SqlError: the query is refused.
    """
    changed = dict(step or failure.parameters) | ({"sql": sql} if sql is not None else {})
    with Replay(failure, changed) as replay:
        return replay.run(failures.rows(failure) if table is None else table, root)


class Replay:
    """The step of a failure, ready to be run on rows again and again: one database, the other tables loaded once.

    Args:
      failure: of a chunk or a partition of a prepare step.
      step: its configuration, if not the one that failed.

    Raises:
      DataError: the failure is of another kind, or what the step needs was not kept.
      SqlError: the query is refused.
    """

    def __init__(self, failure: Failure, step: Mapping[str, Any] | None = None) -> None:
        if failure.kind not in (failures.CHUNK, failures.PARTITION):
            raise DataError(
                f"A failure of kind '{failure.kind}' cannot be run by itself; it failed on {failure.words}.",
                f"Failures of these kinds can: {listed((failures.CHUNK, failures.PARTITION))}. Replay the whole step.",
            )
        configured = step or failure.parameters
        if configured["stream"] != failure.stream:
            raise DataError(
                f"Step '{failure.step}' streams '{configured['stream']}' now; the rows that failed are of '{failure.stream}'.",
                "Replay the whole step.",
            )
        self.failure = failure
        schemas = {name: kept.schema for name, kept in failure.tables.items()}
        self.config = PrepareConfig.from_json(configured, schemas, "")
        self.others = {
            name: failures.rows(failure, name, self.config.query.columns[name])
            for name in self.config.query.tables
            if name != failure.stream
        }

    def __enter__(self) -> Self:
        self._opened = ExitStack()
        self._connection = self._opened.enter_context(duck.connect())
        for name, rows in self.others.items():
            self.put(name, rows)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def put(self, name: str, rows: pa.Table) -> None:
        """Gives the query other rows for a table that it does not stream."""
        self.others[name] = rows
        if name in self.config.query.partitioned:
            self._connection.register(name, rows)
        else:
            broadcast.put(self._connection, name, rows)

    def run(self, rows: pa.Table, root: str = "") -> ChunkReport:
        """Runs the step; see `rerun`."""
        with tempfile.TemporaryDirectory() if not root else nullcontext(root) as folder:
            return self._run(rows, folder)

    def _run(self, rows: pa.Table, root: str) -> ChunkReport:
        query, failure = self.config.query, self.failure
        batch, ids = numbered(_selected(rows, (*query.stream_columns, ROW)))
        stretch = Stretch(failure.number, 0, len(ids), lambda at: ids[at], failure.words, lambda row: f"_row {row}")
        config = dataclasses.replace(self.config, root=f"{root}/{_OUTPUT}")
        try:
            report = run_query(self._connection, config, stretch, batch, order_of(config))
        except QueryFailure as refusal:
            raise refused(config, refusal, failure.words) from refusal
        report.ledger.check(config.step)
        return report

    def fails(self, rows: pa.Table) -> str | None:
        """The signature of how the step fails on rows; None where it does not."""
        try:
            self.run(rows)
        except Exception as error:  # a failure of any kind is what is looked for
            return signature(error)
        return None


def _selected(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    for name in columns:
        if name not in rows.column_names:
            raise DataError(
                f"The rows that failed have no column '{name}', which the query reads now: it did not when they were kept.",
                f"They have: {listed(rows.column_names)}. Run the step again to keep others.",
            )
    return rows.select(list(columns))


@dataclass(frozen=True)
class ShrunkFailure:
    """A failure on as few rows as show it.

    Attributes:
      stream: the rows of the stream.
      others: those of the query's other tables, by name.
      as_kept: whether it fails here as it failed in its job; else the code, or what a table holds, has changed.
    """

    failure: Failure
    stream: Shrunk
    others: Mapping[str, Shrunk]
    as_kept: bool

    @property
    def runs(self) -> int:
        """How often the step was run."""
        return self.stream.runs + sum(other.runs for other in self.others.values())

    @property
    def minimal(self) -> bool:
        """Whether no row of any table can be left out."""
        return self.stream.minimal and all(other.minimal for other in self.others.values())


def shrink_failure(failure: Failure, limit: Limit | None = None) -> ShrunkFailure:
    """Finds as few rows as still fail in the same way: first of the stream, then of each other table.

    Args:
      limit: for each table.

    Raises:
      DataError: nothing fails on the rows that were kept, or they cannot be run by themselves.
    """
    with Replay(failure) as replay:
        stream = shrink(failures.rows(failure), replay.fails, limit)
        others = {name: _shrink_other(replay, name, stream.table, limit) for name in replay.others}
    return ShrunkFailure(failure, stream, others, stream.signature == failure.error.signature)


def _shrink_other(replay: Replay, name: str, stream: pa.Table, limit: Limit | None) -> Shrunk:
    def fails(rows: pa.Table) -> str | None:
        replay.put(name, rows)
        return replay.fails(stream)

    shrunk = shrink(replay.others[name], fails, limit)
    replay.put(name, shrunk.table)
    return shrunk
