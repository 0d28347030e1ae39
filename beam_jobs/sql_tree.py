"""A query as DuckDB's own parser sees it: the tree that the checks read and the rewriting changes.

DuckDB hands out its syntax tree as JSON and turns such a tree back into SQL, so what is checked is what runs.
"""

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from beam_jobs.errors import SqlError

Node = dict[str, Any]
"""One node of the tree: a query (`SELECT_NODE`, ...), a table reference or an expression."""


def parse(connection: duckdb.DuckDBPyConnection, text: str) -> Node:
    """The tree of the one SELECT statement in `text`.

    Raises:
      SqlError: a syntax error, with line and column; no statement, several, or one that is not a SELECT.
    """
    parsed = json.loads(_value(connection, "SELECT json_serialize_sql(?)", text))
    if parsed["error"]:
        raise _syntax_error(text, parsed)
    statements = parsed["statements"]
    if len(statements) != 1:
        count = "no statement" if not statements else f"{len(statements)} statements"
        raise SqlError(
            f"The query must be one SELECT statement; it holds {count}.", "Use WITH to build on several SELECTs."
        )
    root: Node = statements[0]
    return root


def to_sql(connection: duckdb.DuckDBPyConnection, root: Node) -> str:
    """The SQL of a tree that `parse` gave, changed or not."""
    tree = {"error": False, "statements": [root]}
    return _value(connection, "SELECT json_deserialize_sql(?::JSON)", json.dumps(tree))


def plan(connection: duckdb.DuckDBPyConnection, text: str) -> Node:
    """The plan that DuckDB binds the query in `text` to, before it optimises anything: every name is resolved.

    The connection's tables must be its own; a plan over registered Arrow tables cannot be written out.

    Raises:
      SqlError: DuckDB cannot write the plan out.
    """
    options = "optimize := false, skip_null := true, skip_empty := true, skip_default := true"
    planned = json.loads(_value(connection, f"SELECT json_serialize_plan(?, {options})", text))
    if planned["error"]:
        raise SqlError(
            f"DuckDB cannot show how it would run the query: {planned['error_message']}.",
            "Write the query in simpler terms: CTEs in place of nested queries.",
        )
    (found,) = planned["plans"]
    root: Node = found
    return root


def _value(connection: duckdb.DuckDBPyConnection, sql: str, argument: str) -> str:
    ((value,),) = connection.execute(sql, [argument]).fetchall()
    return str(value)


def _syntax_error(text: str, parsed: Node) -> SqlError:
    if parsed["error_type"] != "parser":
        first = (text.split() or [""])[0].upper()
        found = "another statement follows it" if first in ("SELECT", "WITH", "FROM") else f"this one is {first}"
        return SqlError(
            f"The query must be one SELECT statement and nothing else; {found}.",
            "A step's query only reads its declared tables and returns rows; the step writes them.",
        )
    before = text.encode()[: int(parsed.get("position", 0))].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    shown = text.splitlines()[line - 1].strip() if line <= len(text.splitlines()) else ""
    return SqlError(
        f"The query has a syntax error in line {line}, column {column}: {parsed['error_message']}, in '{shown}'.",
        "Queries are DuckDB SQL.",
    )


def walk(tree: Any, enter_subqueries: bool = True) -> Iterator[Node]:
    """Every node of the tree, itself first; without entering queries inside expressions on request."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += reversed(item)
        elif isinstance(item, dict):
            yield item
            inside = item.get("class") == "SUBQUERY" and not enter_subqueries
            waiting += [part for key, part in reversed(item.items()) if not (inside and key == "subquery")]


def line_of(text: str, tree: Any) -> str:
    """Words ` (line 3)` for where the node starts in the query's text, or nothing when the parser did not say."""
    raw = text.encode()
    places = [node["query_location"] for node in walk(tree) if node.get("query_location", len(raw)) < len(raw)]
    if not places:
        return ""
    before = raw[: min(places)].decode(errors="ignore")
    return f" (line {before.count(chr(10)) + 1})"
