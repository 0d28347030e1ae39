"""Sets of rows by `_row`: those that a condition picks from a table, those that a table still holds."""

import os
from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import duck, storage
from beam_jobs.chunks import Chunk, chunks_of, read_chunk
from beam_jobs.errors import SqlError, listed
from beam_jobs.sql import CARRY, CheckedQuery, check_query
from beam_jobs.table import ROW, Table
from pipeline.lineage.errors import LineageError

RowIds = npt.NDArray[np.int64]
_PLACE = "file_row_number"


def matching(table: Table, name: str, condition: str) -> RowIds:
    """`_row` of every row of a source's table for which the condition holds, sorted.

    Only the columns that the condition names are read and, of local files, only the row groups whose statistics do
    not rule the condition out.

    Raises:
      LineageError: the condition is no condition on the table's columns.
    """
    query = check_condition(table.schema, name, condition)
    found = [np.zeros(0, np.int64)]
    local = [path for path in map(table.path, table.parts) if not storage.is_remote(path)]
    with duck.connect(local) as connection:
        for chunk in _files(table):
            _show(connection, name, chunk, table.schema, query.stream_columns)
            try:
                rows = connection.sql(f"SELECT {CARRY} FROM (\n{query.sql}\n)").to_arrow_table()
            except duckdb.Error as error:
                raise LineageError(
                    f"The condition on '{name}' fails: {str(error).splitlines()[0]}",
                    "TRY_CAST(...) gives NULL where CAST fails.",
                ) from error
            found.append(rows.column(0).to_numpy())
    return np.sort(np.concatenate(found))


def check_condition(schema: pa.Schema, name: str, condition: str) -> CheckedQuery:
    """The query that selects a table's rows by a condition.

    Raises:
      LineageError: the condition does not parse, names unknown columns, reads other tables or changes between calls.
    """
    if not condition.strip():
        raise LineageError(f"No condition on '{name}' is given.", f"Its columns: {listed(schema.names, 30)}.")
    text = f"SELECT 1 AS one FROM {duck.quote(name)} WHERE ({condition}\n)"
    try:
        return check_query(name, text, name, {name: schema})
    except SqlError as error:
        told = str(error).removeprefix(f"Step '{name}': ")
        raise LineageError(f"'{condition}' is no condition on '{name}': {told}", error.hint) from error


def _files(table: Table) -> list[Chunk]:
    """The table's files, each as one chunk."""
    return chunks_of(table, chunk_rows=max(1, table.rows))


def _show(
    connection: duckdb.DuckDBPyConnection, name: str, chunk: Chunk, schema: pa.Schema, columns: Sequence[str]
) -> None:
    """Makes a file the connection's table of that name, `_row` last under the name that a checked query expects."""
    view = duck.quote(name)
    connection.execute(f"DROP VIEW IF EXISTS {view}")
    if not _duckdb_reads(chunk.path, schema):
        rows = pa.Table.from_batches(list(read_chunk(chunk, [*columns, ROW]))).rename_columns([*columns, CARRY])
        connection.register("braid_rows", rows)
        connection.execute(f"CREATE TEMP VIEW {view} AS SELECT * FROM braid_rows")
        return
    id_ = ROW if chunk.row_base is None else f"{_PLACE} + {chunk.row_base}"
    selected = "".join(f"{duck.quote(column)}, " for column in columns)
    scan = f"read_parquet({duck.literal(chunk.path)}, file_row_number = true, hive_partitioning = false)"
    connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {selected}{id_} AS {CARRY} FROM {scan}")


def _duckdb_reads(path: str, schema: pa.Schema) -> bool:
    """Whether DuckDB may open the file itself, and so skip row groups; a name with `*?[` would be a pattern to it."""
    plain = not storage.is_remote(path) and not any(sign in path for sign in "*?[") and os.path.exists(path)
    return plain and _PLACE not in (column.lower() for column in schema.names)


def held(table: Table, ids: RowIds) -> dict[str, RowIds]:
    """For each split, the rows among `ids` that the table holds, as often as it holds them.

    Reads nothing but `_row`, and that only of row groups whose statistics have room for one of them.

    Args:
      ids: sorted.
    """
    found: dict[str, list[RowIds]] = {split: [np.zeros(0, np.int64)] for split in table.splits}
    for chunk in _files(table):
        found[chunk.split] += [rows[_among(rows, ids)] for rows in _row_groups_with(chunk, ids)]
    return {split: np.sort(np.concatenate(rows)) for split, rows in found.items()}


def _row_groups_with(chunk: Chunk, ids: RowIds) -> Iterator[RowIds]:
    if chunk.row_base is not None:
        first = chunk.row_base + chunk.first_row
        yield ids[(ids >= first) & (ids < first + chunk.rows)]
        return
    with storage.open_input(chunk.path) as stream:
        file = pq.ParquetFile(stream)
        column = file.schema_arrow.get_field_index(ROW)
        for group in chunk.row_groups:
            statistics = file.metadata.row_group(group).column(column).statistics
            if statistics is None or _any_between(ids, statistics.min, statistics.max):
                yield file.read_row_group(group, columns=[ROW]).column(0).to_numpy()


def _any_between(ids: RowIds, low: int, high: int) -> bool:
    return bool(np.searchsorted(ids, low) < np.searchsorted(ids, high, side="right"))


def _among(rows: RowIds, ids: RowIds) -> npt.NDArray[np.bool_]:
    """Which of `rows` are among the sorted `ids`."""
    if not len(ids):
        return np.zeros(len(rows), bool)
    places = np.minimum(np.searchsorted(ids, rows), len(ids) - 1)
    return np.asarray(ids[places] == rows)
