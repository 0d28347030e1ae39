"""Changes a checked query's tree so that the stream's `_at` arrives in its last column, and nothing else changes."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from beam_jobs.errors import SqlError
from beam_jobs.sql_relations import Source
from beam_jobs.sql_scopes import Scope, Scopes
from beam_jobs.sql_tree import Node, line_of, walk

CARRY = "_at"
"""The stream's extra column: int64, the row's place within what the job reads."""


def carry(scopes: Scopes) -> None:
    """Adds `_at` to every SELECT that hands it on, and keeps it out of every `*`; changes the visited tree.

    Raises:
      SqlError: a construct would see `_at` and cannot be told to leave it out.
    """
    for scope in scopes.found:
        visible = [source for source in scope.clause.sources if source.relation.emission.on]
        if not visible:
            continue
        _check_whole_rows(scopes.text, scope, visible)
        for star in _stars(scope.node):
            _leave_out(scopes.text, star, visible)
        if scope.relation.emission.on and scope.carrier:
            scope.node["select_list"].append(_reference(scopes.text, scope, visible))


def _reference(text: str, scope: Scope, visible: list[Source]) -> Node:
    alias = scope.carrier.alias if scope.carrier else ""
    if len(visible) > 1 and not alias:
        raise SqlError(f"A subquery has no name{line_of(text, scope.node)}.", "Name it: FROM (SELECT ...) AS name.")
    names = [alias, CARRY] if len(visible) > 1 else [CARRY]
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": CARRY, "column_names": names}


def _leave_out(text: str, star: Node, visible: list[Source]) -> None:
    if star["relation_name"] and star["relation_name"].lower() not in [source.alias for source in visible]:
        return
    if star["expr"]:
        raise SqlError(
            f"COLUMNS(...) with a pattern or a lambda is not possible over the streamed table{line_of(text, star)}.",
            "Name the columns, or use * EXCLUDE (...).",
        )
    star["exclude_list"].append(CARRY)


def _stars(node: Node) -> Iterator[Node]:
    """The `*` of a SELECT itself, not those of subqueries."""
    own: list[Any] = [value for key, value in node.items() if key not in ("from_table", "cte_map")]
    return (found for found in walk(own, enter_subqueries=False) if found.get("class") == "STAR")


def _check_whole_rows(text: str, scope: Scope, visible: list[Source]) -> None:
    columns = {name for source in scope.clause.sources for name in source.relation.columns or ()}
    rows = {source.alias for source in visible} - columns
    for node in walk({key: value for key, value in scope.node.items() if key != "cte_map"}):
        names = [name.lower() for name in node.get("column_names", ())]
        if len(names) == 1 and names[0] in rows:
            raise SqlError(
                f"'{names[0]}'{line_of(text, node)} stands for a whole row of the streamed table, which a query cannot take.",
                "Name its columns; if a column is meant, give the table another alias.",
            )


def columns_read(root: Node, scopes: Scopes) -> dict[str, tuple[str, ...]]:
    """For each declared table that the query reads, the columns it can touch, in the schema's order, at least one.

    A column counts where its name is written without a table, or with an alias of its table; so a few more may be read
    than the query needs, never fewer. The partition columns of a split table count too.
    """
    whole, named = _whole_tables(root, scopes), _names(root, scopes.aliases, scopes.schemas)
    read = {}
    for table in scopes.tables_read:
        schema = scopes.schemas[table]
        touched = named.get("", set()) | named.get(table, set())
        if table.lower() in scopes.split:
            touched |= set(scopes.partition_by)
        columns = tuple(name for name in schema.names if table in whole or name.lower() in touched)
        read[table] = columns or tuple(schema.names[:1])
    return read


def _whole_tables(root: Node, scopes: Scopes) -> set[str]:
    whole = set(scopes.merged_by_name)
    for scope in scopes.found:
        for star in _stars(scope.node):
            owner = star["relation_name"].lower()
            whole |= {s.relation.base for s in scope.clause.sources if owner in ("", s.alias)}
    for node in walk(root):
        names = node.get("column_names", ())
        if len(names) == 1:
            whole |= scopes.aliases.get(names[0].lower(), set())
    return whole


def _names(root: Node, aliases: Mapping[str, set[str]], schemas: Mapping[str, pa.Schema]) -> dict[str, set[str]]:
    """Names that the query writes, by the table that they are written with, '' for any."""
    every_column = {name.lower() for schema in schemas.values() for name in schema.names}
    found: dict[str, set[str]] = {"": set()}
    for node in walk(root):
        found[""] |= {name.lower() for name in node.get("using_columns", ())}
        if node.get("class") == "STAR":
            found[""].add(node["relation_name"].lower())
        names = [name.lower() for name in node.get("column_names", ())]
        if len(names) > 1 and names[0] in aliases:
            for table in aliases[names[0]]:
                found.setdefault(table, set()).add(names[1])
        if len(names) == 1 or (names and (names[0] not in aliases or names[0] in every_column)):
            found[""] |= set(names)
    return found
