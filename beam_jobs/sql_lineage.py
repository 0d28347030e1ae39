"""Column lineage: what a query computes each column from, and how columns hang together over several steps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from beam_jobs import duck
from beam_jobs.errors import SqlError, listed, nearest
from beam_jobs.sql import bind
from beam_jobs.sql_expressions import Expressions
from beam_jobs.sql_origins import follow
from beam_jobs.sql_scopes import Scopes
from beam_jobs.sql_tree import Node, line_of, parse, plan, walk
from beam_jobs.sql_values import Columns, Value

Column = tuple[str, str]
"""A table and one of its columns."""


@dataclass(frozen=True)
class ColumnOrigin:
    """Where a column of a query's answer comes from.

    Attributes:
      name: of the output column.
      expression: the SQL that computes it, looked up behind subqueries, CTEs and aliases that only rename; a column that
        is handed on unchanged is `table.column`.
      sources: the columns whose values flow into it, sorted.
      filters: the columns that decide which rows the query returns, how often, and in which order (WHERE, JOIN, GROUP BY,
        HAVING, QUALIFY, DISTINCT, ORDER BY, set operations), sorted; the same for every column of the query.
    """

    name: str
    expression: str
    sources: tuple[Column, ...]
    filters: tuple[Column, ...]


def column_origins(sql: str, schemas: Mapping[str, pa.Schema]) -> dict[str, ColumnOrigin]:
    """The origin of each column that a query returns, in order.

    A subquery inside an expression is part of the value, as is one in FROM that always has one row: what chooses its rows
    counts as a source. What chooses the rows of anything else in FROM, or of the query itself, counts as a filter.

    Args:
      sql: one DuckDB SELECT statement, as a step that `check_query` accepts.
      schemas: the tables that it may read.

    Raises:
      SqlError: the query does not parse or bind, or has a construct through which no origin can be followed.
    """
    try:
        return _origins(sql, schemas)
    except RecursionError as error:
        raise SqlError(
            "The query's expressions are nested too deeply for their columns to be followed.",
            "Name the inner expressions in a CTE.",
        ) from error


def _origins(sql: str, schemas: Mapping[str, pa.Schema]) -> dict[str, ColumnOrigin]:
    with duck.connect() as connection:
        root = parse(connection, sql)
        _check(sql, root)
        duck.add_empty(connection, _mentioned(root, schemas), stored=True)
        names = [name for name, _ in bind(connection, sql, schemas)]
        scopes = Scopes(sql, "", schemas, frozenset())
        scopes.visit(root["node"], {})
        rows = follow(plan(connection, sql), schemas)
        expressions = Expressions(connection, scopes)
        origins = {}
        for place, (name, value) in enumerate(zip(names, rows.columns, strict=True)):
            written = _copied(value, expressions) or expressions.of(root["node"], name.lower(), place, len(names))
            origins[name] = ColumnOrigin(
                name, written or expressions.column(name), _sorted(value.sources), _sorted(rows.filters)
            )
        return origins


def _check(sql: str, root: Node) -> None:
    for node in walk(root):
        if node.get("key_targets"):
            raise SqlError(
                f"The origin of the query's columns cannot be followed through USING KEY{line_of(sql, node['key_targets'])}.",
                "Write the recursion without it, and choose the rows by a window function.",
            )


def _mentioned(root: Node, schemas: Mapping[str, pa.Schema]) -> dict[str, pa.Schema]:
    """The schemas of the tables that the query names."""
    names = {str(node["table_name"]).lower() for node in walk(root) if node.get("type") == "BASE_TABLE"}
    return {table: schema for table, schema in schemas.items() if table.lower() in names}


def _copied(value: Value, expressions: Expressions) -> str:
    """`table.column` for a value that is a column unchanged, else ''."""
    return expressions.column(*next(iter(value.sources))) if value.copied else ""


def _sorted(columns: Columns) -> tuple[Column, ...]:
    return tuple(sorted(columns))


Origins = Mapping[str, Mapping[str, ColumnOrigin]]
"""What `column_origins` gives for each step, by the table that the step writes."""


@dataclass(frozen=True)
class Trace:
    """A column and, step by step, what it is computed from.

    Attributes:
      table: the table that has the column.
      column: its name.
      expression: the SQL that computes it; '' for a column that no step writes.
      inputs: the columns whose values flow into it, each with its own trace; a trace is shared where several columns need it.
    """

    table: str
    column: str
    expression: str = ""
    inputs: tuple["Trace", ...] = field(default=(), repr=False)

    @property
    def leaves(self) -> tuple[Column, ...]:
        """The columns of source tables that it all begins with, sorted."""
        return tuple(sorted({(node.table, node.column) for node in self.nodes if not node.expression}))

    @property
    def nodes(self) -> Iterator["Trace"]:
        """The trace itself and everything that flows into it, each column once."""
        seen, waiting = {(self.table, self.column)}, [self]
        while waiting:
            node = waiting.pop()
            yield node
            new = [part for part in node.inputs if (part.table, part.column) not in seen]
            seen |= {(part.table, part.column) for part in new}
            waiting += reversed(new)


def trace(column: str, table: str, steps: Origins) -> Trace:
    """Follows a column back through the steps, to the columns of the source tables.

    Args:
      column: a column of `table`, in any case.
      table: a table that a step writes, or a source table, of which any column is a leaf.
      steps: the origins of every step's columns.

    Raises:
      SqlError: the step's table has no such column, or its steps feed each other in a circle.
    """
    start = _spelled(table, column, steps)
    written = {_folded((name, o.name)): (name, o) for name, origins in steps.items() for o in origins.values()}
    done: dict[Column, Trace] = {}
    waiting, begun = [start], set[Column]()
    while waiting:
        place = _folded(waiting[-1])
        if place not in written:
            done.setdefault(place, Trace(*waiting.pop()))
            continue
        name, origin = written[place]
        missing = [source for source in origin.sources if _folded(source) not in done]
        if place in done or not missing:
            inputs = tuple(done[_folded(source)] for source in origin.sources)
            done.setdefault(place, Trace(name, origin.name, origin.expression, inputs))
            waiting.pop()
        elif place in begun:
            raise SqlError(
                f"Column '{origin.name}' of '{name}' is computed from itself.",
                "Give the steps' tables names of their own.",
            )
        else:
            begun.add(place)
            waiting += missing
    return done[_folded(start)]


def uses(table: str, column: str, steps: Origins, filters: bool = False) -> set[Column]:
    """The columns of the steps' tables that a column's values reach, directly or through other columns.

    Args:
      table: a source table or one that a step writes.
      column: one of its columns, in any case.
      steps: the origins of every step's columns.
      filters: follow it also where it only decides which rows there are, and so reaches every column of a table.

    Raises:
      SqlError: the step's table has no such column.
    """
    fed: dict[Column, list[Column]] = {}
    for name, origins in steps.items():
        for origin in origins.values():
            for source in {*origin.sources, *(origin.filters if filters else ())}:
                fed.setdefault(_folded(source), []).append((name, origin.name))
    reached: set[Column] = set()
    waiting = [_spelled(table, column, steps)]
    while waiting:
        new = [place for place in fed.get(_folded(waiting.pop()), ()) if place not in reached]
        reached.update(new)
        waiting += new
    return reached


def _folded(column: Column) -> Column:
    return column[0].lower(), column[1].lower()


def _spelled(table: str, column: str, steps: Origins) -> Column:
    """The column as its step writes it; as given where no step writes the table."""
    known = {name.lower(): name for name in steps}
    if table.lower() not in known:
        return table, column
    table = known[table.lower()]
    columns = {name.lower(): name for name in steps[table]}
    if column.lower() not in columns:
        raise SqlError(
            f"Table '{table}' has no column '{column}'.{nearest(column, steps[table])}",
            f"It has: {listed(steps[table])}.",
        )
    return table, columns[column.lower()]
