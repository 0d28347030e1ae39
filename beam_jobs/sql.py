"""Checks a prepare step's query before any row is read, and makes it carry the identity of the stream's rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from beam_jobs import duck
from beam_jobs.errors import SqlError, listed, nearest
from beam_jobs.sql_functions import check_functions
from beam_jobs.sql_relations import Relation
from beam_jobs.sql_rewrite import CARRY, carry, columns_read
from beam_jobs.sql_scopes import NotSplittableError, Scopes
from beam_jobs.sql_tree import Node, line_of, parse, to_sql, walk
from beam_jobs.table import ROW

__all__ = ["CARRY", "CheckedQuery", "check_query"]

_RESERVED = (CARRY, ROW)
_SIMPLER = "Write the query in simpler terms: named columns in place of *, a CTE in place of a nested query."


@dataclass(frozen=True)
class CheckedQuery:
    """A query that gives the same rows however its stream arrives.

    Attributes:
      sql: DuckDB SQL; when `carries`, its last output column is `_at`. Every table goes by its own name; the stream
        is expected with the extra int64 column `_at`, last, the others without it.
      stream: the streamed table.
      tables: every table that the query reads, stream included.
      partitioned: with `partition_by`, the tables (stream included) to hash-partition; else ().
      partition_by: the partition columns, as the stream's schema writes them.
      stream_columns: the stream's columns to read, in the schema's order.
      columns: the same for each table.
      carries: False where output rows stand for groups of the stream's rows (only with `partition_by`).
      output: the output's schema without `_at`.
      text: the query as it was written.
    """

    sql: str
    stream: str
    tables: tuple[str, ...]
    partitioned: tuple[str, ...]
    partition_by: tuple[str, ...]
    stream_columns: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    carries: bool
    output: pa.Schema
    text: str


def check_query(
    step: str, sql: str, stream: str, schemas: Mapping[str, pa.Schema], partition_by: Sequence[str] = ()
) -> CheckedQuery:
    """Checks and rewrites the query of a step.

    Args:
      step: the step's name, for messages.
      sql: one DuckDB SELECT statement.
      stream: the table that arrives in chunks (or, with `partition_by`, in partitions); all others are there whole.
      schemas: the declared tables by name, the stream among them.
      partition_by: columns of the stream; tables that have them all and are joined on them are partitioned too.

    Raises:
      SqlError: the query does not parse or bind, reads anything but the declared tables, calls a function whose answer
        changes, or needs rows that a chunk or partition does not hold.
    """
    try:
        columns = _check_declarations(stream, schemas, partition_by)
        with duck.connect_to_empty(schemas) as connection:
            return _check(connection, sql, stream, schemas, columns)
    except SqlError as error:
        raise SqlError(f"Step '{step}': {error}", error.hint) from error


def _check(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    stream: str,
    schemas: Mapping[str, pa.Schema],
    partition_by: tuple[str, ...],
) -> CheckedQuery:
    root = parse(connection, text)
    check_functions(text, root, frozenset(name.lower() for schema in schemas.values() for name in schema.names))
    _check_reserved(text, root)
    original = bind(connection, text, schemas)
    top, scopes = _split(text, root, stream, schemas, partition_by)
    read = columns_read(root, scopes)
    if top.carries:
        top.emission.switch_on()
    carry(scopes)
    registered = _registered(stream, schemas, read)
    rewritten = _rewritten(to_sql(connection, root), original, registered, top.carries)
    output = duck.output_schema(rewritten, registered)
    return CheckedQuery(
        sql=rewritten,
        stream=stream,
        tables=tuple(read),
        partitioned=tuple(table for table in read if partition_by and table.lower() in scopes.split),
        partition_by=partition_by,
        stream_columns=read[stream],
        columns=read,
        carries=top.carries,
        output=pa.schema([output.field(i) for i in range(len(original))]),
        text=text,
    )


def _check_declarations(stream: str, schemas: Mapping[str, pa.Schema], partition_by: Sequence[str]) -> tuple[str, ...]:
    """The partition columns as the stream's schema writes them."""
    if stream not in schemas:
        raise SqlError(
            f"There is no table '{stream}' to stream.{nearest(stream, schemas)}", f"Tables: {listed(schemas)}."
        )
    _check_distinct("tables", "The step", schemas)
    for table, schema in schemas.items():
        _check_distinct("columns", f"Table '{table}'", schema.names)
        for name in schema.names:
            if name.lower() in _RESERVED:
                raise SqlError(
                    f"Table '{table}' has a column '{name}', a name that Braid keeps for itself.", "Rename it."
                )
    known = {name.lower(): name for name in schemas[stream].names}
    for name in partition_by:
        if name.lower() not in known:
            raise SqlError(
                f"partition_by names '{name}', which '{stream}' does not have.{nearest(name, known.values())}",
                f"'{stream}' has: {listed(known.values())}.",
            )
        kind = schemas[stream].field(known[name.lower()]).type
        if pa.types.is_floating(kind) or pa.types.is_nested(kind):
            raise SqlError(
                f"partition_by names '{name}', of type {kind}; rows are partitioned by integers, text, times and booleans.",
                "Choose another column, or cast this one in an earlier step.",
            )
    return tuple(known[name.lower()] for name in partition_by)


def _check_distinct(what: str, owner: str, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise SqlError(
                f"{owner} has {what} '{seen[name.lower()]}' and '{name}', which are the same name in SQL.",
                "Rename one of them.",
            )
        seen[name.lower()] = name


def _check_reserved(text: str, root: Node) -> None:
    for node in walk(root):
        names = [*node.get("column_names", ()), node.get("alias"), *node.get("column_name_alias", ())]
        used = [name for name in names if isinstance(name, str) and name.lower() in _RESERVED]
        if used:
            raise SqlError(
                f"The query uses the name '{used[0]}'{line_of(text, node)}, which Braid keeps for itself.",
                "Choose another name; the identity of rows is carried without the query's doing.",
            )


def _split(
    text: str, root: Node, stream: str, schemas: Mapping[str, pa.Schema], partition_by: tuple[str, ...]
) -> tuple[Relation, Scopes]:
    """Splits as many tables as the query allows, the stream at least."""
    split = {stream.lower(), *(table.lower() for table in _alike(stream, schemas, partition_by))}
    keys = tuple(name.lower() for name in partition_by)
    while True:
        scopes = Scopes(text, stream, schemas, frozenset(split), keys)
        try:
            top = scopes.visit(root["node"], {})
        except NotSplittableError as refused:
            if stream.lower() in refused.tables:
                raise refused.error from None
            split -= refused.tables
            continue
        if stream.lower() not in top.tables:
            raise SqlError(
                f"The query never reads '{stream}', the table that the step streams.",
                f"Read it in FROM, or stream one of: {listed(scopes.tables_read)}.",
            )
        return top, scopes


def _alike(stream: str, schemas: Mapping[str, pa.Schema], partition_by: Sequence[str]) -> list[str]:
    """The tables that have every partition column, with the stream's type, so that equal values meet in one partition."""
    if not partition_by:
        return []
    kinds = {name: schemas[stream].field(name).type for name in partition_by}
    return [
        table
        for table, schema in schemas.items()
        if all(name in schema.names and schema.field(name).type == kind for name, kind in kinds.items())
    ]


def bind(connection: duckdb.DuckDBPyConnection, sql: str, schemas: Mapping[str, pa.Schema]) -> list[tuple[str, str]]:
    """Names and DuckDB types of the query's columns, in order.

    Raises:
      SqlError: the query does not bind, or two of its columns have the same name.
    """
    try:
        types = duck.output_types(connection, sql)
    except duckdb.Error as error:
        raise duck.sql_error(error, schemas) from error
    seen: set[str] = set()
    for name, _ in types:
        if name.lower() in seen:
            raise SqlError(
                f"The query returns two columns named '{name}'; names that differ in case alone count as the same.",
                f"Give one another name with AS, or leave it out: * EXCLUDE ({duck.quote(name)}).",
            )
        seen.add(name.lower())
    return types


def _registered(
    stream: str, schemas: Mapping[str, pa.Schema], read: Mapping[str, Sequence[str]]
) -> dict[str, pa.Schema]:
    """The tables as the job registers them: the columns read, and the stream's `_at`."""
    narrow = {table: pa.schema([schemas[table].field(name) for name in names]) for table, names in read.items()}
    return {**narrow, stream: narrow[stream].append(pa.field(CARRY, pa.int64()))}


def _rewritten(sql: str, original: list[tuple[str, str]], registered: Mapping[str, pa.Schema], carries: bool) -> str:
    """The SQL to run: `_at` last and types that Parquet holds; refused if it differs from the original in anything else."""
    expected = [*original, *([(CARRY, "BIGINT")] if carries else [])]
    with duck.connect_to_empty(registered) as connection:
        try:
            types = duck.output_types(connection, sql)
        except duckdb.Error as error:
            raise _not_carried(error) from error
    if sorted(types) != sorted(expected):
        raise SqlError(
            f"Braid cannot carry the rows' identity through this query: {expected} became {types}.", _SIMPLER
        )
    if types != expected:
        sql = f"SELECT {', '.join(duck.quote(name) for name, _ in expected)} FROM (\n{sql}\n)"
    return duck.storable(sql, expected)


def _not_carried(error: duckdb.Error) -> SqlError:
    told = str(error).split("\n")[0]
    if "GROUP BY" in told or "aggregate" in told:
        return SqlError(
            "A subquery of the query aggregates columns of the streamed table alone, which folds the streamed rows.",
            "Aggregate columns of the subquery's own table, or give the step `partition_by`.",
        )
    return SqlError(f"Braid cannot carry the rows' identity through this query: {told}", _SIMPLER)
