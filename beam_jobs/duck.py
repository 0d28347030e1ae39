"""DuckDB inside a worker: connections that reach nothing and answer the same everywhere, and its errors in Braid's words."""

import re
from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from beam_jobs.errors import SqlError, listed, nearest

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "preserve_insertion_order": True,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
    "temp_directory": "",
}

# What rests in Parquet and comes back as the same Arrow type, or loses its meaning there, by DuckDB type.
_CASTS = {
    "HUGEINT": "BIGINT",
    "UHUGEINT": "UBIGINT",
    "BIT": "VARCHAR",
    "TIMESTAMP_S": "TIMESTAMP",
}
_UNSTORABLE = re.compile(r"\b(INTERVAL|BIGNUM|UNION|VARIANT|GEOMETRY|TIME WITH TIME ZONE)\b|^\"?NULL\"?$")
_UNSTORABLE_NESTED = re.compile(r"\b(U?HUGEINT|BIT|ENUM|TIMESTAMP_S)\b")


def connect(allowed_paths: Sequence[str] = (), memory_limit: str = "") -> duckdb.DuckDBPyConnection:
    """Opens a database in memory that cannot reach files, the network or extensions, nor be told to.

    One thread, insertion order kept and time zone UTC (ICU is built into the wheel), so that a query's answer depends on
    its input alone. Nothing spills to disk: a query that needs more than the memory limit fails.

    Args:
      allowed_paths: local files that queries may read all the same.
      memory_limit: such as '2GB'; DuckDB's own (80% of the machine) unless given.
    """
    connection = duckdb.connect(":memory:", config=_SETTINGS)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # Braid shows its own
    if memory_limit:
        connection.execute(f"SET memory_limit = {literal(memory_limit)}")
    if allowed_paths:
        connection.execute(f"SET allowed_paths = [{', '.join(literal(path) for path in allowed_paths)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def quote(identifier: str) -> str:
    """The identifier as DuckDB SQL, whatever characters it has."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as a DuckDB string literal."""
    return "'" + text.replace("'", "''") + "'"


def connect_to_empty(schemas: Mapping[str, pa.Schema]) -> duckdb.DuckDBPyConnection:
    """A connection where each name is a table of that schema without rows.

    Raises:
      SqlError: DuckDB cannot hold a column's type.
    """
    connection = connect()
    try:
        add_empty(connection, schemas)
    except SqlError:
        connection.close()
        raise
    return connection


def add_empty(connection: duckdb.DuckDBPyConnection, schemas: Mapping[str, pa.Schema], stored: bool = False) -> None:
    """Makes each name a table of that schema without rows.

    Args:
      connection: where they shall be.
      schemas: by table.
      stored: as tables of the database's own, whose plans DuckDB can write out, rather than as views of Arrow's.

    Raises:
      SqlError: DuckDB cannot hold a column's type.
    """
    for name, schema in schemas.items():
        try:
            connection.register(name, schema.empty_table())
            connection.execute(f"DESCRIBE {quote(name)}").fetchall()
            if stored:
                connection.execute(f"CREATE TABLE main.{quote(name)} AS FROM {quote(name)}")
                connection.unregister(name)
        except duckdb.Error as error:
            raise SqlError(
                f"SQL cannot read table '{name}': {_first_line(error)} Its columns: {listed(schema.names)}.",
                "Leave the column out of the table, or write it with another type.",
            ) from error


def output_types(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, str]]:
    """Names and DuckDB types of the query's columns, in order, from binding alone.

    Raises:
      duckdb.Error: the query does not bind.
    """
    return [(str(row[0]), str(row[1])) for row in connection.execute(f"DESCRIBE {sql}").fetchall()]


def storable(sql: str, types: Sequence[tuple[str, str]]) -> str:
    """The query with casts around columns that Parquet would not give back as they are.

    HUGEINT (what `sum` makes of integers) becomes BIGINT, failing on overflow; UHUGEINT becomes UBIGINT; UUID, BIT and
    ENUM become text; TIMESTAMP_S becomes TIMESTAMP. A query without such columns stays untouched.

    Args:
      types: every column of the query, as `output_types` gives them.

    Raises:
      SqlError: a column's type has no place in a table.
    """
    casts = {name: cast for name, kind in types if (cast := _cast(name, kind))}
    if not casts:
        return sql
    shown = (f"CAST({quote(n)} AS {casts[n]}) AS {quote(n)}" if n in casts else quote(n) for n, _ in types)
    return f"SELECT {', '.join(shown)} FROM (\n{sql}\n)"


def _cast(name: str, kind: str) -> str:
    if kind == "UUID" or kind.startswith("ENUM("):
        return "VARCHAR"
    nested = kind.endswith("]") or "(" in kind
    if _UNSTORABLE.search(kind) or (nested and _UNSTORABLE_NESTED.search(kind)):
        raise SqlError(
            f"Column '{name}' of the query's output has type {kind}, which a table cannot hold.",
            "Cast it to another type; epoch(...) gives an interval's seconds, CAST(NULL AS VARCHAR) an empty text column.",
        )
    return _CASTS.get(kind, "")


def output_schema(sql: str, schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """The Arrow schema of `storable(sql)`, found by running it on empty tables; strings are plain `string`.

    Raises:
      SqlError: a table, column or function is unknown, types do not fit, or a column cannot be stored.
    """
    with connect_to_empty(schemas) as connection:
        try:
            types = output_types(connection, sql)
            return connection.sql(f"SELECT * FROM (\n{storable(sql, types)}\n) LIMIT 0").to_arrow_table().schema
        except duckdb.Error as error:
            raise sql_error(error, schemas) from error


def sql_error(error: duckdb.Error, schemas: Mapping[str, pa.Schema]) -> SqlError:
    """DuckDB's error as one paragraph: the name at fault, its line, the nearest known name, and what exists."""
    told = str(error)
    at = re.search(r"^LINE (\d+):", told, re.MULTILINE)
    line = f" (line {at[1]})" if at else ""
    if found := re.search(r"Table with name \"?([^\"\n]+?)\"? does not exist|Cannot access \w+ \"(.+?)\"", told):
        return unknown_table(found[1] or found[2], line, schemas)
    if found := re.search(r"Function with name \"?(\S+?)\"? does not exist", told):
        return SqlError(
            f"There is no function '{found[1]}'{line}.{_suggestion(told)}", "See DuckDB's function reference."
        )
    if found := re.search(r"Referenced table \"(.+?)\" not found", told):
        return SqlError(
            f"No table or alias '{found[1]}' is in reach here{line}.{nearest(found[1], schemas)}",
            f"A table with an alias goes by its alias alone. Tables: {listed(schemas)}.",
        )
    for pattern in _UNKNOWN_COLUMN:
        if found := re.search(pattern, told):
            return _unknown_column(found["column"], found.groupdict().get("table") or "", line, schemas)
    return SqlError(f"DuckDB refuses the query{line}: {_first_line(error)}", "Mend the query; nothing was read.")


_UNKNOWN_COLUMN = (
    r"Referenced column \"(?P<column>.+?)\" not found",
    r"(?:Table|Values list) \"(?P<table>.+?)\" does not have a column named \"(?P<column>.+?)\"",
    r"Column \"(?P<column>.+?)\" (?:in \w+ list not found|does not exist)",
)


def unknown_table(name: str, line: str, schemas: Mapping[str, pa.Schema]) -> SqlError:
    """The error for a table that the step does not declare; `line` is worded like ' (line 3)'."""
    return SqlError(
        f"There is no table '{name}'{line}.{nearest(name, schemas)}",
        f"The query may read: {listed(schemas)}. Files are read by declaring them as tables.",
    )


def _unknown_column(column: str, table: str, line: str, schemas: Mapping[str, pa.Schema]) -> SqlError:
    known = {table: schemas[table]} if table in schemas else schemas
    names = dict.fromkeys(name for schema in known.values() for name in schema.names)
    owner = f"'{table}' has no column '{column}'" if table else f"There is no column '{column}'"
    if column.lower() in (name.lower() for name in names):
        why = " in reach here; a subquery or CTE hands on only what it selects."
    else:
        why = f".{nearest(column, names)}"
    return SqlError(
        f"{owner}{line}{why}",
        " ".join(f"'{name}' has: {listed(schema.names)}." for name, schema in known.items()),
    )


def _suggestion(told: str) -> str:
    found = re.search(r"Did you mean \"(.+?)\"", told)
    return f" Did you mean '{found[1]}'?" if found else ""


def _first_line(error: duckdb.Error) -> str:
    """DuckDB's own words, without the kind of error and the list of candidates."""
    text = re.sub(r"^(\w+ )+Error: ", "", str(error)).split("\n")[0].strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
