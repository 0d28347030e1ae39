"""A checked query over rows in memory: the same DuckDB, the same rewritten SQL as in a Beam job."""

import duckdb
import numpy as np
import pyarrow as pa

from beam_jobs.errors import DataError
from beam_jobs.kernel import QueryFailure, query_batches
from beam_jobs.sql import CARRY, CheckedQuery

CARRIED = pa.field(CARRY, pa.int64())


def run(connection: duckdb.DuckDBPyConnection, query: CheckedQuery, rows: pa.Table) -> pa.Table:
    """What the query makes of rows of its stream; its other tables are in the connection.

    Args:
      rows: with `_at` last, which tells them apart, or without: then it is their number.

    Returns:
      The query's columns; behind them, where the query carries it, the `_at` of the row that each came from.

    Raises:
      DataError: DuckDB refuses a value.
    """
    at = rows.column(CARRY) if CARRY in rows.schema.names else pa.array(np.arange(rows.num_rows, dtype=np.int64))
    stream = rows.select(list(query.stream_columns)).append_column(CARRIED, at)
    schema = pa.schema([*query.output, CARRIED] if query.carries else [*query.output])
    connection.register(query.stream, stream)
    try:
        batches = [
            pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in query_batches(connection, query.sql)
        ]
    except QueryFailure as failure:
        raise DataError(failure.cause_text, failure.hint) from failure
    finally:
        connection.unregister(query.stream)
    return pa.Table.from_batches(batches, schema)
