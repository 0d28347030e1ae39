"""Parquet sources: read where they lie, never copied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import storage
from beam_jobs.column_types import check_declared, check_names, type_name
from beam_jobs.errors import DataError, listed
from beam_jobs.ledger import Ledger
from beam_jobs.table import Origin, Part, Table


@dataclass(frozen=True)
class Footer:
    """What the end of a Parquet file says: columns, and the rows of each row group."""

    path: str
    schema: pa.Schema
    row_groups: tuple[int, ...]


def read_footer(path: str) -> Footer:
    """Reads a file's metadata.

    Raises:
      DataError: the file is no whole Parquet file, or has a nested column.
    """
    try:
        with storage.open_input(path) as stream:
            file = pq.ParquetFile(stream)
            # Whether a column may be null differs between files of one table; in ours every column may.
            schema, metadata = pa.schema([(column.name, column.type) for column in file.schema_arrow]), file.metadata
            groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"'{path}' is not a whole Parquet file: {str(error).splitlines()[0]}",
            "Fetch it again: it may be cut short.",
        ) from error
    check_names(schema.names, path)
    for column in schema:
        if pa.types.is_nested(column.type):
            raise DataError(
                f"'{path}': column '{column.name}' is nested ({column.type}); columns must hold plain values.",
                "Unnest it before Braid reads it, or leave the column out of the file.",
            )
    return Footer(path, schema, groups)


def common_schema(paths: Sequence[str], declared: Mapping[str, pa.DataType]) -> pa.Schema:
    """The columns that all files have.

    Raises:
      DataError: a file is damaged, files differ, there is no row, or a declared type is not the files'.
    """
    return _agreed([read_footer(path) for path in paths], declared)


def register(paths: Sequence[str], declared: Mapping[str, pa.DataType], root: str) -> Table:
    """Writes the manifest, in `root`, of a table whose parts are the files themselves.

    A file is a chunk: `_row` is the file's number and the row's place in the file, and is not stored.

    Raises:
      DataError: as `common_schema`.
    """
    footers = [read_footer(path) for path in paths]
    schema = _agreed(footers, declared)
    rows = sum(sum(footer.row_groups) for footer in footers)
    table = Table(
        root=root,
        schema=schema,
        parts=tuple(Part(footer.path, footer.row_groups, number) for number, footer in enumerate(footers)),
        stores_rows=False,
        ledger=Ledger(read=rows, kept=rows, written=rows),
        origins=tuple(Origin(n, footer.path, 0, sum(footer.row_groups), "rows") for n, footer in enumerate(footers)),
    )
    table.save()
    return table


def _agreed(footers: Sequence[Footer], declared: Mapping[str, pa.DataType]) -> pa.Schema:
    first = footers[0]
    for footer in footers[1:]:
        if footer.schema != first.schema:
            raise _schema_differs(first, footer)
    check_declared(declared, first.schema.names, first.path)
    for name, kind in declared.items():
        found = first.schema.field(name).type
        if type_name(found) != type_name(kind):
            raise DataError(
                f"'{first.path}': column '{name}' is {type_name(found)}, but is declared as {type_name(kind)}.",
                "Parquet files carry their own types: drop the declaration, and cast in the query.",
            )
    if not any(sum(footer.row_groups) for footer in footers):
        raise DataError(f"'{first.path}' has columns, but no rows.", "Put data there.")
    return first.schema


def _schema_differs(first: Footer, other: Footer) -> DataError:
    if first.schema.names == other.schema.names:
        name = next(a.name for a, b in zip(first.schema, other.schema, strict=True) if a != b)
        what = f"column '{name}' is {first.schema.field(name).type} in '{first.path}', {other.schema.field(name).type} in '{other.path}'"
    else:
        what = f"'{first.path}' has {listed(first.schema.names, 8)}; '{other.path}' has {listed(other.schema.names, 8)}"
    return DataError(
        f"The files of one source must have the same columns: {what}.", "Make them agree, or declare two sources."
    )
