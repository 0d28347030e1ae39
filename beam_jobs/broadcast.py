"""Small tables that every worker holds whole, in its DuckDB."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from beam_jobs import io_lineage
from beam_jobs.duck import quote
from beam_jobs.table import Table, read_table

_INCOMING = "braid_incoming"


def load(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Table], columns: Mapping[str, Sequence[str]]
) -> None:
    """Copies the named columns of each table into the connection's database, under the table's name."""
    for name, table in tables.items():
        put(connection, name, read_table(table, columns[name]))


def put(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """Copies rows into the connection's database as the table of that name, in place of one that is there."""
    connection.register(_INCOMING, rows)
    connection.execute(f"CREATE OR REPLACE TABLE {quote(name)} AS SELECT * FROM {_INCOMING}")
    connection.unregister(_INCOMING)


def report(tables: Mapping[str, Table]) -> None:
    """Tells Beam's lineage the tables' files, from inside a bundle."""
    for table in tables.values():
        io_lineage.reads(*map(table.path, table.parts))
