"""Whether a query gives the same rows when its streamed table arrives in chunks, or in partitions.

Every SELECT, join and set operation is held against one rule: what it needs at once must stand in one chunk (without
`partition_by`) or in one partition. A relation is called split when its rows differ from chunk to chunk or from partition
to partition; all others are whole everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from beam_jobs import duck
from beam_jobs.errors import SqlError
from beam_jobs.sql_functions import catalogue
from beam_jobs.sql_relations import (
    Emission,
    From,
    Output,
    Relation,
    Source,
    common_keys,
    conjuncts,
    equated,
    first_keys,
    joined,
    known,
    named,
    subqueries,
)
from beam_jobs.sql_tree import Node, line_of, walk

Environment = Mapping[str, Relation]
"""The CTEs in reach, by name in lower case."""


class NotSplittableError(Exception):
    """A construct needs more than one chunk or partition of `tables`."""

    def __init__(self, tables: frozenset[str], error: SqlError) -> None:
        super().__init__(str(error))
        self.tables = tables
        self.error = error


@dataclass(frozen=True)
class Scope:
    """One SELECT: its node, what it reads from, what it yields, and the source whose `_at` it can carry."""

    node: Node
    clause: From
    relation: Relation
    carrier: Source | None


@dataclass
class Scopes:
    """Visits a query and collects its scopes.

    Attributes:
      text: the query, for line numbers.
      schemas: the declared tables, names as declared.
      split: the tables that are split, in lower case, the stream among them.
      partition_by: in lower case; empty when the stream arrives in chunks.
      found: the SELECTs, inner ones first.
      aliases: the declared tables that each name, in lower case, stands for somewhere.
      merged_by_name: the declared tables in a NATURAL join, whose every column matters.
    """

    text: str
    stream: str
    schemas: Mapping[str, pa.Schema]
    split: frozenset[str]
    partition_by: tuple[str, ...] = ()
    found: list[Scope] = field(default_factory=list)
    aliases: dict[str, set[str]] = field(default_factory=dict)
    merged_by_name: set[str] = field(default_factory=set)

    @property
    def tables_read(self) -> list[str]:
        """The declared tables that the visited queries read, in the order of `schemas`."""
        read = {table for tables in self.aliases.values() for table in tables}
        return [table for table in self.schemas if table in read]

    def visit(self, node: Node, reach: Environment) -> Relation:
        """The relation that a query yields.

        Raises:
          NotSplittableError: it needs more than a chunk or a partition.
          SqlError: it reads an unknown table or is of a kind that cannot be checked.
        """
        inner = dict(reach)
        for entry in node["cte_map"]["map"]:
            name, body = entry["key"].lower(), entry["value"]
            inner[name] = self._cte(name, body, inner).renamed(body["aliases"])
        match node["type"]:
            case "SELECT_NODE":
                return self._select(node, inner)
            case "SET_OPERATION_NODE":
                return self._set_operation(node, inner)
        raise SqlError(
            f"The query may not use {node['type']}{line_of(self.text, node)}.", "Write it as a plain SELECT."
        )

    def _cte(self, name: str, body: Node, reach: Environment) -> Relation:
        query = body["query_node"]
        if query["type"] != "RECURSIVE_CTE_NODE":
            return self.visit(query, reach)
        branches = [self.visit(query[side], {**reach, name: Relation(columns=None)}) for side in ("left", "right")]
        tables = branches[0].tables | branches[1].tables
        if tables:
            raise self._refusal(
                tables, f"The recursive CTE '{name}'", query, "a recursion is not followed into partitions"
            )
        return Relation(columns=branches[0].columns, query=query)

    # FROM

    def _from(self, ref: Node, reach: Environment, where: Sequence[Node] = ()) -> From:
        alias = str(ref["alias"]).lower()
        match ref["type"]:
            case "EMPTY":
                return From()
            case "BASE_TABLE":
                return From((self._table(ref, alias, reach),))
            case "SUBQUERY":
                relation = self.visit(ref["subquery"]["node"], reach).renamed(ref["column_name_alias"])
                return From((Source(alias, relation),))
            case "JOIN":
                return self._join(ref, reach, where)
            case "TABLE_FUNCTION" | "EXPRESSION_LIST":
                self._check_subqueries(ref, reach)
                name = alias or str(ref.get("function", {}).get("function_name", ""))
                return From((Source(name, Relation(columns=None, query=ref)),))
        raise SqlError(
            f"The query may not read {ref['type']}{line_of(self.text, ref)}.", "Read tables, CTEs and subqueries."
        )

    def _table(self, ref: Node, alias: str, reach: Environment) -> Source:
        name = str(ref["table_name"]).lower()
        qualified = bool(ref["schema_name"] or ref["catalog_name"])
        if name in reach and not qualified:
            return Source(alias or name, reach[name].renamed(ref["column_name_alias"]))
        declared = next((table for table in self.schemas if table.lower() == name), None)
        if declared is None or qualified:
            raise duck.unknown_table(".".join(ref["qualified_name"]["path"]), line_of(self.text, ref), self.schemas)
        if ref["column_name_alias"]:
            raise SqlError(
                f"The columns of table '{declared}' may not be renamed in FROM{line_of(self.text, ref)}.",
                "Rename them where they are selected.",
            )
        self.aliases.setdefault(alias or name, set()).add(declared)
        columns = tuple(column.lower() for column in self.schemas[declared].names)
        if name not in self.split:
            return Source(alias or name, Relation(columns, base=declared))
        is_stream = name == self.stream.lower()
        keys = {column: column for column in self.partition_by}
        relation = Relation(columns, frozenset({name}), keys, is_stream, declared, Emission(on=is_stream))
        return Source(alias or name, relation)

    def _join(self, ref: Node, reach: Environment, where: Sequence[Node]) -> From:
        inner = ref["join_type"] == "INNER" and ref["ref_type"] in ("REGULAR", "CROSS")
        passed = where if inner else ()
        left, right = self._from(ref["left"], reach, passed), self._from(ref["right"], reach, passed)
        self._check_subqueries([ref["condition"], ref["ranking_expression"]], reach)
        names = self._merged_names(ref, left, right)
        same = equated(left, right, [*conjuncts(ref["condition"]), *passed])
        same |= {a for n in names if (a := named(left, n)) and a == named(right, n)}
        if left.tables and right.tables:
            self._check_join_of_split(ref, left, right, same)
        elif left.tables or right.tables:
            self._check_join_with_whole(ref, left, right)
        return joined(ref["join_type"], left, right, names)

    def _merged_names(self, ref: Node, left: From, right: From) -> list[str]:
        if ref["ref_type"] != "NATURAL":
            return [name.lower() for name in ref["using_columns"]]
        sources = left.sources + right.sources
        self.merged_by_name |= {s.relation.base for s in sources if s.relation.base}
        if left.tables and right.tables:
            raise self._refusal(
                right.tables, "A NATURAL JOIN of two tables", ref, "name the partition columns: JOIN ... USING (...)"
            )
        theirs = {name for s in right.sources for name in s.relation.columns or ()}
        return [name for s in left.sources for name in s.relation.columns or () if name in theirs]

    def _check_join_of_split(self, ref: Node, left: From, right: From, same: set[str]) -> None:
        stream = self.stream.lower()
        tables = right.tables if stream not in right.tables else left.tables
        if not self.partition_by:
            raise self._refusal(tables, f"A join of '{self.stream}' with itself", ref, "")
        if missing := [column for column in self.partition_by if column not in same]:
            need = f"the join must equate {_shown(missing)} on both sides, the columns themselves"
            raise self._refusal(
                tables, f"A join of {_shown(sorted(left.tables))} and {_shown(sorted(right.tables))}", ref, need
            )
        if ref["ref_type"] not in ("REGULAR", "ASOF", "CROSS") or ref["ranking_expression"]:
            raise self._refusal(tables, f"A {ref['ref_type']} join", ref, "it does not go by the partition columns")

    def _check_join_with_whole(self, ref: Node, left: From, right: From) -> None:
        kind, sort = ref["join_type"], ref["ref_type"]
        tables = left.tables | right.tables
        if sort == "POSITIONAL" or ref["ranking_expression"]:
            raise self._refusal(tables, f"A {sort} JOIN", ref, "it goes by the place of a row in the whole table")
        allowed = ("INNER", "LEFT", "SEMI", "ANTI") if left.tables else ("INNER", "RIGHT")
        if kind in allowed and not (sort == "ASOF" and right.tables):
            return
        name = f"{'ASOF ' if sort == 'ASOF' else ''}{ {'OUTER': 'FULL'}.get(kind, kind) }"
        raise NotSplittableError(
            tables,
            SqlError(
                f"'{self.stream}' stands on the wrong side of a {name} JOIN{line_of(self.text, ref)}: the other table is "
                "there whole beside every part of the stream, so its rows would be kept or dropped once for every part.",
                f"Put the streamed table first: FROM {self.stream} LEFT JOIN ... "
                "(a row of the other table without a match cannot be kept).",
            ),
        )

    # SELECT

    def _select(self, node: Node, reach: Environment) -> Relation:
        clause = self._from(node["from_table"], reach, conjuncts(node["where_clause"]))
        own = [node[k] for k in ("select_list", "where_clause", "group_expressions", "having", "qualify", "modifiers")]
        self._check_subqueries(own, reach)
        output = self._output(node, clause)
        folds = False
        if clause.tables:
            folds = self._folds(node, clause, output)
            self._check_windows(own, node, clause)
            folds |= self._check_modifiers(node, clause, clause.tables, {key for _, key in known(output)})
        carrier = None if folds else next((s for s in clause.sources if s.relation.carries and not s.nullable), None)
        columns = None if None in output else tuple(name for name, _ in known(output))
        feeds = (carrier.relation.emission,) if carrier else ()
        keys = first_keys(output)
        relation = Relation(columns, clause.tables, keys, carrier is not None, "", Emission(feeds), node)
        self.found.append(Scope(node, clause, relation, carrier))
        return relation

    def _output(self, node: Node, clause: From) -> list[tuple[str, str] | None]:
        output: list[tuple[str, str] | None] = []
        for item in node["select_list"]:
            if item["class"] == "STAR":
                output.extend([None] if item["columns"] else clause.star(item))
            elif item.get("function_name") == "unnest":
                output.append(None)  # of a struct, it makes a column of each field
            else:
                plain = item["column_names"][-1] if item["class"] == "COLUMN_REF" else ""
                output.append(((item["alias"] or plain).lower(), clause.key(item)))
        return output

    def _folds(self, node: Node, clause: From, output: Output) -> bool:
        """Whether the SELECT folds rows into groups; refused unless each group stands in one partition."""
        aggregate = _aggregate([node["select_list"], node["having"], node["qualify"], node["modifiers"]])
        by_all = node["aggregate_handling"] == "FORCE_AGGREGATES"
        if not (aggregate or by_all or node["group_expressions"] or node["group_sets"] or node["having"]):
            return False
        if by_all:
            groups = [
                {k for item in node["select_list"] if not _aggregate(item) for k in self._item_keys(item, clause)}
            ]
        else:
            keys = [self._group_key(e, node, clause, output) for e in node["group_expressions"]]
            groups = [{keys[i] for i in indices} for indices in node["group_sets"]] or [set()]
        if not self.partition_by or any(set(self.partition_by) - group for group in groups):
            name = str(aggregate["function_name"]).replace("count_star", "count(*)") if aggregate else ""
            what = f"The aggregate '{name}'" if aggregate else "GROUP BY"
            where = aggregate or node["group_expressions"] or node
            raise self._refusal(clause.tables, what, where, f"GROUP BY must include {_shown(self.partition_by)}")
        return True

    def _item_keys(self, item: Node, clause: From) -> set[str]:
        if item["class"] == "STAR":
            return {pair[1] for pair in clause.star(item) if pair}
        return {clause.key(item)}

    def _group_key(self, expression: Node, node: Node, clause: From, output: Output) -> str:
        if expression["class"] == "CONSTANT" and expression["literal"].get("kind") == "INTEGER":
            place = int(expression["literal"]["text"]) - 1
            pair = output[place] if None not in output and 0 <= place < len(output) else None
            return pair[1] if pair else ""
        return _key(expression, node, clause)

    def _check_windows(self, own: Sequence[Any], node: Node, clause: From) -> None:
        for window in walk(list(own), enter_subqueries=False):
            if window.get("class") != "WINDOW":
                continue
            keys = {_key(expression, node, clause) for expression in window["partitions"]}
            if not self.partition_by or set(self.partition_by) - keys:
                need = f"its PARTITION BY must include {_shown(self.partition_by)}"
                raise self._refusal(clause.tables, f"The window function '{window['function_name']}'", window, need)

    def _check_modifiers(self, node: Node, clause: From, tables: frozenset[str], output_keys: set[str]) -> bool:
        """Whether DISTINCT folds rows; refuses ORDER BY, LIMIT and a DISTINCT across partitions."""
        folds = False
        for modifier in node["modifiers"]:
            match modifier["type"]:
                case "DISTINCT_MODIFIER":
                    targets = modifier["distinct_on_targets"]
                    keys = {_key(target, node, clause) for target in targets} if targets else output_keys
                    if not self.partition_by or set(self.partition_by) - keys:
                        need = f"it must be over {_shown(self.partition_by)} among other columns"
                        raise self._refusal(tables, "DISTINCT", targets or node, need)
                    folds |= not targets
                case "ORDER_MODIFIER":
                    raise self._no_order(tables, "ORDER BY", modifier)
                case _:
                    raise self._no_order(tables, "LIMIT or OFFSET", modifier)
        return folds

    # set operations

    def _set_operation(self, node: Node, reach: Environment) -> Relation:
        branches = [self.visit(child, reach) for child in node.get("children") or (node["left"], node["right"])]
        tables = frozenset(table for branch in branches for table in branch.tables)
        if not tables:
            return Relation(columns=branches[0].columns, query=node)
        kind = str(node["setop_type"])
        what = f"{kind.replace('_', ' ')}{' ALL' if node['setop_all'] else ''}"
        keys = common_keys(branches, by_name=kind == "UNION_BY_NAME")
        if not all(branch.tables for branch in branches):
            need = f"a branch does not read '{self.stream}', and would be repeated for every part of it"
            raise NotSplittableError(
                tables,
                SqlError(f"{what}{line_of(self.text, node)} cannot be split: {need}.", "Join the other table instead."),
            )
        keeps = kind.startswith("UNION") and node["setop_all"]
        if not keeps and (not self.partition_by or set(self.partition_by) - set(keys.values())):
            need = f"every branch must return {_shown(self.partition_by)} in the same place"
            raise self._refusal(tables, what, node, need)
        folds = self._check_modifiers(node, From(), tables, set(keys.values()))
        carries = keeps and not folds and all(branch.carries for branch in branches)
        emission = Emission(tuple(branch.emission for branch in branches) if carries else ())
        columns = None if kind == "UNION_BY_NAME" else branches[0].columns
        return Relation(columns, tables, keys, carries, "", emission, node)

    # refusals

    def _check_subqueries(self, tree: Any, reach: Environment) -> None:
        for query in subqueries(tree):
            if tables := self.visit(query, reach).tables:
                raise self._refusal(tables, "A subquery inside an expression", query, "it needs the table whole")

    def _no_order(self, tables: frozenset[str], what: str, at: Node) -> NotSplittableError:
        return NotSplittableError(
            tables,
            SqlError(
                f"{what}{line_of(self.text, at)} is not possible over {_shown(sorted(tables))}: the rows are worked on in "
                "parts, and the parts are put together without an order.",
                "Leave it out. To choose rows, use WHERE, or with partition_by "
                "QUALIFY row_number() OVER (PARTITION BY ... ORDER BY ...) = 1.",
            ),
        )

    def _refusal(self, tables: frozenset[str], what: str, at: Any, need: str) -> NotSplittableError:
        where = line_of(self.text, at)
        if self.partition_by:
            error = SqlError(
                f"{what}{where} reaches across the partitions of {_shown(sorted(tables))}: {need}. "
                "Otherwise the answer would depend on how the rows are partitioned.",
                f"partition_by is [{', '.join(self.partition_by)}]; each partition holds all rows of its values and no other.",
            )
        else:
            error = SqlError(
                f"{what}{where} needs more of '{self.stream}' than the chunk at hand: without partition_by, the query runs "
                "on one chunk of rows after another.",
                "Give the step `partition_by: [...]`, the columns that keep together the rows it needs; or do this to a "
                "broadcast table, in a CTE.",
            )
        return NotSplittableError(tables, error)


def _key(expression: Node, node: Node, clause: From) -> str:
    """As `From.key`, where the expression may also name an alias of the SELECT list; '' when the two disagree."""
    key = clause.key(expression)
    if expression["class"] != "COLUMN_REF" or len(expression["column_names"]) > 1:
        return key
    name = expression["column_names"][0].lower()
    aliased = [item for item in node.get("select_list", ()) if item["alias"].lower() == name]
    if not aliased:
        return key
    meant = clause.key(aliased[0])
    return meant if meant == key or not clause.may_have(name) else ""


def _aggregate(tree: Any) -> Node | None:
    names = catalogue().aggregates
    called = (n for n in walk(tree, enter_subqueries=False) if n.get("class") == "FUNCTION")
    return next((n for n in called if n["function_name"].lower() in names), None)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
