"""What would differ if some rows had never been: the prepare queries once as they were, and once without those rows.

This follows rows where `_row` cannot: through a table that was broadcast, and through aggregates. Both worlds are
computed in the same way, so that equal inputs give equal floats.
"""

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from beam_jobs import duck, splits, storage
from beam_jobs.chunks import chunks_of, read_chunk
from beam_jobs.table import ROW, Table
from pipeline.lineage.errors import LineageError
from pipeline.lineage.row_sets import RowIds
from pipeline.lineage.tables import Preparation, open_table

_ERASED = "without"


def influenced(steps: Sequence[Preparation], source: str, rows: RowIds) -> dict[str, int]:
    """How many rows of the examples, by split, would be gone, be others or be new had the source's rows never been.

    Args:
      steps: the prepare steps behind the examples, sources first; the last one writes the examples.
      source: the source's name in the queries.
      rows: the `_row` of those rows, sorted.

    Raises:
      LineageError: a table is gone, or the queries need more memory than there is.
    """
    tables = {name: open_table(artifact) for step in steps for name, artifact in step.inputs.items()}
    local = [path for table in tables.values() for path in map(table.path, table.parts) if not storage.is_remote(path)]
    with duck.connect(local) as connection:
        try:
            last = _both_worlds(connection, steps, tables, source, rows)
            lost, gained = _difference(connection, last, _other(last)), _difference(connection, _other(last), last)
        except duckdb.OutOfMemoryException as error:
            raise LineageError(
                f"Following rows of '{source}' means running the queries again, and they need more memory than there is.",
                "Ask on a machine with more of it.",
            ) from error
    fewer, more = _by_split(steps[-1], lost), _by_split(steps[-1], gained)
    return {split: max(fewer[split], more[split]) for split in fewer}  # a row that changes is in both


def _both_worlds(
    connection: duckdb.DuckDBPyConnection,
    steps: Sequence[Preparation],
    tables: Mapping[str, Table],
    source: str,
    rows: RowIds,
) -> str:
    """Makes every table that the rows may reach, with and without them; returns the last one's name."""
    made = {step.name for step in steps}
    for name, columns in _columns_read(steps).items():
        if name not in made:
            connection.register(name, _read(tables[name], columns))
    connection.register(_other(source), _read(tables[source], _columns_read(steps)[source], without=rows))
    reached = {source}
    for step in steps:
        _run(connection, step.name, step.config["sql"], {})
        renamed = {name: _other(name) for name in step.inputs if name in reached}
        if renamed:
            _run(connection, _other(step.name), step.config["sql"], renamed)
            reached.add(step.name)
    return steps[-1].name


def _columns_read(steps: Sequence[Preparation]) -> dict[str, list[str]]:
    """For each table, the columns that the queries need."""
    read: dict[str, set[str]] = {}
    for step in steps:
        for name, columns in step.query().columns.items():
            read.setdefault(name, set()).update(columns)
    return {name: sorted(columns) for name, columns in read.items()}


def _read(table: Table, columns: Sequence[str], without: RowIds | None = None) -> pa.Table:
    schema = pa.schema([*(table.schema.field(column) for column in columns), pa.field(ROW, pa.int64())])
    batches = (batch for chunk in chunks_of(table) for batch in read_chunk(chunk, schema.names))
    rows = pa.Table.from_batches(batches).cast(schema) if table.rows else schema.empty_table()
    if without is not None:
        rows = rows.filter(~np.isin(rows.column(ROW).to_numpy(), without))
    return rows.drop_columns([ROW])


def _run(connection: duckdb.DuckDBPyConnection, name: str, sql: str, renamed: Mapping[str, str]) -> None:
    """Writes a query's output into a table; `renamed` tables are read under their other name."""
    shadows = ", ".join(f"{duck.quote(old)} AS (SELECT * FROM {duck.quote(new)})" for old, new in renamed.items())
    text = f"SELECT * FROM (\n{sql.rstrip().rstrip(';')}\n)"
    whole = f"WITH {shadows} {text}" if shadows else text
    types = duck.output_types(connection, whole)
    connection.execute(f"CREATE TEMP TABLE {duck.quote(name)} AS {duck.storable(whole, types)}")


def _other(name: str) -> str:
    return f"{name} {_ERASED}"


def _difference(connection: duckdb.DuckDBPyConnection, first: str, second: str) -> list[pa.RecordBatch]:
    query = f"SELECT * FROM {duck.quote(first)} EXCEPT ALL SELECT * FROM {duck.quote(second)}"
    batches: list[pa.RecordBatch] = connection.sql(query).to_arrow_table().to_batches()
    return batches


def _by_split(step: Preparation, rows: Sequence[pa.RecordBatch]) -> dict[str, int]:
    if not step.config["split"]:
        return {"": sum(batch.num_rows for batch in rows)}
    split = splits.from_json(step.config["split"])
    counts = np.zeros(len(split.names), np.int64)
    for batch in rows:
        counts += np.bincount(splits.assign(batch, split), minlength=len(split.names))
    return dict(zip(split.names, map(int, counts), strict=True))
