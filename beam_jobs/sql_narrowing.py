"""A step's query over a table that lacks columns: what only they can tell is left out, and said.

A model that was trained on flights that have landed scores flights that have not: the label's inputs are not there yet,
nor what chose the rows by them. Select items that read a missing column are left out, and so are the conditions of a
WHERE that do; anything else that reads one (a join, a grouping) is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from beam_jobs import duck
from beam_jobs.errors import SqlError
from beam_jobs.sql_relations import From, Source, conjuncts
from beam_jobs.sql_scopes import Scope, Scopes
from beam_jobs.sql_tree import Node, line_of, parse, to_sql, walk

Causes = Mapping[str, frozenset[str]]
"""For each column that is not there, in lower case, the source's columns for want of which it is not."""


@dataclass(frozen=True)
class Condition:
    """A condition of a WHERE that was left out: its SQL, and the missing columns that it reads; () where it was chosen."""

    sql: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Narrowed:
    """A query that does without the missing columns.

    Attributes:
      sql: as it was written, where nothing is missing.
      lost: the columns that the query no longer returns.
      conditions: what no longer chooses its rows.
    """

    sql: str
    lost: Causes = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


def narrow(
    sql: str, stream: str, schemas: Mapping[str, pa.Schema], missing: Causes, keeps_all_rows: bool = False
) -> Narrowed:
    """Leaves out of a query what reads missing columns of its streamed table.

    Args:
      sql: the query as training ran it.
      stream: the streamed table.
      schemas: the tables with the columns that they had in training.
      missing: the columns that the streamed table lacks now.
      keeps_all_rows: leave out every condition of a WHERE that is about the streamed table alone.

    Raises:
      SqlError: something else than a select item or a condition reads a missing column.
    """
    if not missing and not keeps_all_rows:
        return Narrowed(sql)
    with duck.connect() as connection:
        root = parse(connection, sql)
        scopes = Scopes(sql, "", schemas, frozenset())
        scopes.visit(root["node"], {})
        work = _Narrowing(connection, scopes, stream.lower(), missing, keeps_all_rows)
        for scope in scopes.found:
            work.select(scope)
        work.check_set_operations(root)
        lost = work.lost.get(id(root["node"]), {})
        changed = to_sql(connection, root) if work.changed else sql
        return Narrowed(changed, lost, tuple(work.conditions))


@dataclass
class _Narrowing:
    connection: duckdb.DuckDBPyConnection
    scopes: Scopes
    stream: str
    missing: Causes
    keeps_all_rows: bool
    lost: dict[int, dict[str, frozenset[str]]] = field(default_factory=dict)
    streamed: set[int] = field(default_factory=set)
    conditions: list[Condition] = field(default_factory=list)
    changed: bool = False

    def select(self, scope: Scope) -> None:
        """Narrows one SELECT, those inside it being done."""
        node = scope.node
        gone = _Gone(self._sources(scope.clause))
        self._check_joins(node["from_table"], gone)
        if any(self._is_streamed(source) for source in scope.clause.sources):
            self.streamed.add(id(node))
        lost = self._items(node, gone)
        self._where(scope, gone)
        gone.aliases = lost
        for part, what in (
            ("group_expressions", "GROUP BY"),
            ("having", "HAVING"),
            ("qualify", "QUALIFY"),
            ("modifiers", "DISTINCT or ORDER BY"),
        ):
            self._refuse(node[part], what, gone)
        if lost:
            self._check_places(node, lost)
            self.lost[id(node)] = lost

    def check_set_operations(self, root: Node) -> None:
        """Refuses what would leave a branch with other columns than the rest."""
        for node in walk(root):
            if node.get("type") != "SET_OPERATION_NODE":
                continue
            for branch in node.get("children") or (node["left"], node["right"]):
                if lost := self.lost.get(id(branch)):
                    raise self._refusal(f"A branch of {node['setop_type'].replace('_', ' ')}", node, lost)

    def _sources(self, clause: From) -> list[tuple[Source, Causes]]:
        return [(source, self._lost_of(source)) for source in clause.sources]

    def _lost_of(self, source: Source) -> Causes:
        relation = source.relation
        if relation.base:
            return self.missing if relation.base.lower() == self.stream else {}
        lost = self.lost.get(id(relation.query), {})
        if lost and relation.columns and not lost.keys() <= set(relation.columns):
            raise self._refusal(f"The column list of '{source.alias}'", relation.query, lost)
        return lost

    def _is_streamed(self, source: Source) -> bool:
        return source.relation.base.lower() == self.stream or id(source.relation.query) in self.streamed

    # parts of a SELECT

    def _items(self, node: Node, gone: "_Gone") -> dict[str, frozenset[str]]:
        """Drops items that read what is gone; returns the output's lost columns."""
        lost: dict[str, frozenset[str]] = {}
        kept = []
        for item in node["select_list"]:
            if item["class"] == "STAR":
                lost |= self._star(item, gone)
                kept.append(item)
                continue
            gone.aliases = lost
            causes = gone.read_by(item)
            if causes:
                lost[_name(item, self.connection)] = causes
            else:
                kept.append(item)
        if len(kept) < len(node["select_list"]):
            self.changed = True
        if not kept:
            raise self._refusal("Every column of a SELECT", node, lost)
        node["select_list"] = kept
        return lost

    def _star(self, star: Node, gone: "_Gone") -> dict[str, frozenset[str]]:
        """What `*` no longer stands for; what it says of lost columns is taken out."""
        owner = str(star["relation_name"]).lower()
        lost = {
            name: causes
            for source, of_source in gone.sources
            if owner in ("", source.alias)
            for name, causes in of_source.items()
        }
        excluded = {name.lower() for name in star["exclude_list"]}
        renamed = {entry["key"]["column"].lower(): entry["value"].lower() for entry in star["rename_list"]}
        star["exclude_list"] = [name for name in star["exclude_list"] if name.lower() not in lost]
        star["rename_list"] = [e for e in star["rename_list"] if e["key"]["column"].lower() not in lost]
        star["qualified_exclude_list"] = [
            e for e in star["qualified_exclude_list"] if e["column"].lower() not in gone.names
        ]
        found = {renamed.get(name, name): causes for name, causes in lost.items() if name not in excluded}
        for entry in star["replace_list"]:
            causes = gone.read_by(entry["value"])
            if causes and entry["key"].lower() not in lost:
                star["exclude_list"].append(entry["key"])
                found[renamed.get(entry["key"].lower(), entry["key"].lower())] = causes
        kept = [e for e in star["replace_list"] if e["key"].lower() not in lost and not gone.read_by(e["value"])]
        star["replace_list"] = kept
        self.changed |= bool(lost or found)
        return found

    def _where(self, scope: Scope, gone: "_Gone") -> None:
        node = scope.node
        kept = []
        for part in conjuncts(node["where_clause"]):
            causes = gone.read_by(part)
            chosen = self.keeps_all_rows and self._is_about_stream(part, scope.clause)
            if causes or chosen:
                self.conditions.append(Condition(_text(part, self.connection), tuple(sorted(causes))))
                self.changed = True
            else:
                kept.append(part)
        node["where_clause"] = _all_of(kept)

    def _is_about_stream(self, condition: Node, clause: From) -> bool:
        """Whether it reads nothing but streamed rows, so that it joins nothing."""
        owners = [self._is_streamed(source) for names in _references(condition) for source in _owners(names, clause)]
        return bool(owners) and all(owners)

    def _check_joins(self, ref: Node | None, gone: "_Gone") -> None:
        if not ref or ref.get("type") != "JOIN":
            return
        for side in ("left", "right"):
            self._check_joins(ref[side], gone)
        self._refuse([ref["condition"], ref["ranking_expression"]], "A join", gone)
        for name in ref["using_columns"]:
            if name.lower() in gone.names:
                raise self._refusal("A join", ref, {name: gone.names[name.lower()]})

    def _check_places(self, node: Node, lost: Causes) -> None:
        """Refuses what goes by a column's place, or by all columns."""
        groups = [e for e in node["group_expressions"] if e["class"] == "CONSTANT"]
        distinct = [m for m in node["modifiers"] if m["type"] == "DISTINCT_MODIFIER" and not m["distinct_on_targets"]]
        if groups or distinct or node["aggregate_handling"] == "FORCE_AGGREGATES":
            raise self._refusal("DISTINCT" if distinct else "GROUP BY", node, lost)

    def _refuse(self, part: Any, what: str, gone: "_Gone") -> None:
        causes = gone.read_by(part)
        if causes:
            raise self._refusal(what, part, {"": causes})

    def _refusal(self, what: str, at: Any, lost: Causes) -> SqlError:
        columns = sorted({name for causes in lost.values() for name in causes})
        named = ", ".join(f"'{name}'" for name in columns)
        return SqlError(
            f"{what} of the query{line_of(self.scopes.text, at)} needs {named}, which the table lacks, and cannot be left out.",
            "Give the table that column, or score a table in the shape of the examples: --prepared.",
        )


class _Gone:
    """The columns that a SELECT can no longer read."""

    def __init__(self, sources: Sequence[tuple[Source, Causes]]) -> None:
        self.sources = sources
        self.names: dict[str, frozenset[str]] = {}
        self.aliases: Causes = {}
        for _, lost in sources:
            for name, causes in lost.items():
                if not any(_has(source, name) for source, theirs in sources if name not in theirs):
                    self.names[name] = causes

    def read_by(self, tree: Any) -> frozenset[str]:
        """The source's missing columns that an expression needs."""
        found: frozenset[str] = frozenset()
        for names in _references(tree):
            found |= self._causes(names)
        return found

    def _causes(self, names: Sequence[str]) -> frozenset[str]:
        owners = [lost for source, lost in self.sources if source.alias == names[0]]
        if len(names) > 1 and owners:
            return owners[0].get(names[1], frozenset())
        is_column = any(_has(source, names[0]) for source, _ in self.sources)
        return self.names.get(names[0]) or (frozenset() if is_column else self.aliases.get(names[0], frozenset()))


def _references(tree: Any) -> Iterator[list[str]]:
    """The names of columns that an expression reads, without those that a query inside it has of its own."""
    for node in walk(tree, enter_subqueries=False):
        if node.get("class") == "COLUMN_REF":
            yield [name.lower() for name in node["column_names"]]
        elif node.get("class") == "SUBQUERY":
            yield from _outer_references(node["subquery"])


def _outer_references(query: Any) -> Iterator[list[str]]:
    """What a nested query reads of the outer one, as far as its names are qualified by none of its own tables."""
    own = {str(n.get("alias") or n.get("table_name", "")).lower() for n in walk(query) if "table_name" in n}
    for node in walk(query):
        names = [name.lower() for name in node.get("column_names", ())]
        if len(names) > 1 and names[0] not in own:
            yield names


def _owners(names: Sequence[str], clause: From) -> list[Source]:
    qualified = [source for source in clause.sources if len(names) > 1 and source.alias == names[0]]
    return qualified or [source for source in clause.sources if _has(source, names[0])]


def _has(source: Source, name: str) -> bool:
    return source.relation.columns is None or name in source.relation.columns


def _name(item: Node, connection: duckdb.DuckDBPyConnection) -> str:
    """The output column's name, in lower case."""
    plain = item["column_names"][-1] if item["class"] == "COLUMN_REF" else ""
    return str(item["alias"] or plain or _text(item, connection)).lower()


def _text(expression: Node, connection: duckdb.DuckDBPyConnection) -> str:
    root = parse(connection, "SELECT 1")
    root["node"]["select_list"] = [expression]
    return to_sql(connection, root).removeprefix("SELECT ")


def _all_of(parts: Sequence[Node]) -> Node | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "alias": "", "children": list(parts)}


def projected(sql: str, columns: Sequence[str]) -> str:
    """The query with these columns alone, in this order: DuckDB then reads and computes nothing else."""
    return f"SELECT {', '.join(map(duck.quote, columns))} FROM (\n{sql.rstrip().rstrip(';')}\n) AS examples"
