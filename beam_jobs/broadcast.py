"""Small tables that every worker holds whole, in its DuckDB."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from beam_jobs import io_lineage
from beam_jobs.duck import quote
from beam_jobs.table import Table, read_batches

_INCOMING = "braid_incoming"


def load(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Table], columns: Mapping[str, Sequence[str]]
) -> None:
    """Copies the named columns of each table into the connection's database, under the table's name."""
    for name, table in tables.items():
        narrow = pa.schema([table.schema.field(column) for column in columns[name]])
        batches = [batch.cast(narrow) for split in table.splits for batch in read_batches(table, split, columns[name])]
        connection.register(_INCOMING, pa.Table.from_batches(batches, narrow))
        connection.execute(f"CREATE TABLE {quote(name)} AS SELECT * FROM {_INCOMING}")
        connection.unregister(_INCOMING)


def report(tables: Mapping[str, Table]) -> None:
    """Tells Beam's lineage the tables' files, from inside a bundle."""
    for table in tables.values():
        io_lineage.reads(*map(table.path, table.parts))
