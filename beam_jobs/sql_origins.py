"""Which columns of the declared tables reach each column of a query's answer, read off the plan that DuckDB binds.

The plan (`sql_tree.plan`) has every name, star and correlated subquery resolved by DuckDB itself; what is left to do is to
follow values through its operators. An operator or expression that is not known here is refused, never skipped.
"""

import dataclasses
from collections.abc import Callable, Mapping

import pyarrow as pa

from beam_jobs.errors import SqlError
from beam_jobs.sql_functions import TABLE_FUNCTIONS
from beam_jobs.sql_tree import Node
from beam_jobs.sql_values import (
    NOTHING,
    Columns,
    Rows,
    Value,
    beside,
    bindings_of,
    equated_places,
    expressions_in,
    merged,
    places_of,
    stacked,
    united,
)

_EXPRESSIONS = frozenset(
    f"BOUND_{kind}"
    for kind in ("AGGREGATE", "CASE", "CAST", "COMPARISON", "BETWEEN", "CONJUNCTION", "FUNCTION", "OPERATOR", "UNNEST")
) | {"BOUND_WINDOW"}
_FIELD_ACCESS = frozenset({"struct_extract", "array_extract"})
_ROWID = ""  # in place of a column's name: DuckDB reads a row's number in storage where it needs rows and no column
_SIMPLER = "Write the query in simpler terms, or split the step in two."


def follow(plan: Node, schemas: Mapping[str, pa.Schema]) -> Rows:
    """What a query yields whose plan reads the tables of `schemas`.

    Raises:
      SqlError: the plan has an operator or expression whose flow is not known.
    """
    rows = Flow(schemas).rows(plan)
    if any(column == _ROWID for _, column in rows.filters | rows.sources):
        raise _unknown("rowid")
    return rows


class Flow:
    """Follows values through a plan whose tables are those of `schemas`."""

    def __init__(self, schemas: Mapping[str, pa.Schema]) -> None:
        self._schemas = schemas
        self._named: dict[int, Rows] = {}

    def rows(self, operator: Node) -> Rows:
        """What the operator yields.

        Raises:
          SqlError: it, or something below it, is of a kind whose flow is not known.
        """
        rule = _OPERATORS.get(operator["type"])
        if rule is None:
            raise _unknown(str(operator["type"]).removeprefix("LOGICAL_").replace("_", " "))
        return rule(self, operator)

    def _below(self, operator: Node) -> list[Rows]:
        return [self.rows(child) for child in operator.get("children", ())]

    # expressions

    def _value(self, expression: Node, rows: Rows) -> Value:
        kind = expression["expression_class"]
        if kind in ("BOUND_CONSTANT", "BOUND_LAMBDA"):
            return Value()
        if kind in ("BOUND_REF", "BOUND_COLUMN_REF"):
            return self._column(expression, rows)
        if kind not in _EXPRESSIONS:
            raise _unknown(str(kind).removeprefix("BOUND_").replace("_", " "))
        arguments = []
        for argument in list(expressions_in(expression)):  # no frames in between, as expressions may nest deeply
            arguments.append(self._value(argument, rows))
        name = expression["qname"]["path"][-1] if kind == "BOUND_FUNCTION" else ""
        if name == "struct_pack":
            names = [str(argument).lower() for argument in expression["named_arguments"]]
            return Value(united(arguments), fields=dict(zip(names, arguments, strict=True)))
        if name in _FIELD_ACCESS and arguments[0].fields:
            wanted = expression["children"][1].get("value", {}).get("value")
            return arguments[0].fields.get(str(wanted).lower(), Value(united(arguments)))
        return Value(united(arguments))

    def _column(self, expression: Node, rows: Rows) -> Value:
        if expression["expression_class"] == "BOUND_REF":
            return rows.columns[int(expression.get("index", 0))]
        binding = (expression["binding"].get("table_index", 0), expression["binding"].get("column_index", 0))
        if binding not in rows.bindings:
            raise _unknown("a column of a table further out")
        return rows.columns[rows.bindings.index(binding)]

    def _sources(self, part: Node, rows: Rows) -> Columns:
        """The sources of all expressions in a part of the plan, without those of the operators below it."""
        own = {key: inner for key, inner in part.items() if key != "children"}
        return united(self._value(expression, rows) for expression in expressions_in(own))

    # tables

    def _get(self, operator: Node) -> Rows:
        function, table = operator["qname"]["path"][-1], operator.get("function_data", {}).get("table")
        wanted = [int(column.get("index", 0)) for column in operator.get("column_indexes", ())]
        if function == "seq_scan" and table in self._schemas:
            names = dict(enumerate(self._schemas[table].names))
            columns = [Value(frozenset({(table, names.get(i, _ROWID))}), copied=True) for i in wanted]
            found = Rows(tuple(columns), bindings_of(operator, len(columns)))
            return found.picked(operator.get("projection_ids"))
        if function in TABLE_FUNCTIONS:
            return self._table_function(operator, len(wanted))
        raise _unknown(f"the table function '{function}'")

    def _table_function(self, operator: Node, count: int) -> Rows:
        """Rows made from arguments; the columns that a LATERAL call hands on follow them."""
        bindings = bindings_of(operator, count)
        if not operator.get("children"):
            return Rows((Value(),) * count, bindings)
        (below,) = self._below(operator)
        handed_on = operator.get("projected_input", [])
        arguments = united(value for i, value in enumerate(below.columns) if i not in handed_on)
        columns = (Value(arguments),) * count + tuple(below.columns[i] for i in handed_on)
        bindings += tuple(below.bindings[i] for i in handed_on)
        return Rows(columns, bindings, below.filters | arguments)

    def _values(self, operator: Node) -> Rows:
        (below,) = self._below(operator)
        below = below.decided_by(below.filters) if below.single else below
        width = len(operator["expr_types"])
        cells = [self._value(cell, below) for cell in expressions_in(operator["expressions"])]
        columns = tuple(merged(cells[i::width]) for i in range(width))
        return Rows(columns, bindings_of(operator, width), below.filters)

    def _dummy(self, operator: Node) -> Rows:
        return Rows((Value(),), bindings_of(operator, 1), key=frozenset(), single=True)

    def _empty(self, operator: Node) -> Rows:
        bindings = [(b.get("table_index", 0), b.get("column_index", 0)) for b in operator["bindings"]]
        return Rows((Value(),) * len(bindings), tuple(bindings), key=frozenset())

    # one input

    def _projection(self, operator: Node) -> Rows:
        (below,) = self._below(operator)
        expressions = operator["expressions"]
        columns = tuple(self._value(expression, below) for expression in expressions)
        at = {place: i for i, place in enumerate(places_of(expressions)) if place is not None}
        key = frozenset(at[p] for p in below.key) if below.key is not None and below.key <= set(at) else None
        return Rows(columns, bindings_of(operator, len(columns)), below.filters, key, below.single)

    def _chosen(self, operator: Node) -> Rows:
        """The rows below, fewer (FILTER, LIMIT, DISTINCT) or in another order."""
        (below,) = self._below(operator)
        filters = below.filters | self._sources(operator, below)
        targets = places_of(operator.get("distinct_targets", ()))
        distinct = frozenset(place for place in targets if place is not None)
        key = distinct if below.key is None and targets and None not in targets else below.key
        single = below.single and operator["type"] in ("LOGICAL_ORDER_BY", "LOGICAL_DISTINCT")
        places = operator.get("projection_map") or operator.get("projections")
        return Rows(below.columns, below.bindings, filters, key, single).picked(places)

    def _aggregate(self, operator: Node) -> Rows:
        (below,) = self._below(operator)
        groups = tuple(self._value(group, below) for group in operator.get("groups", ()))
        folded = tuple(self._value(expression, below) for expression in operator.get("expressions", ()))
        sets = operator.get("grouping_sets", [])
        told = len(operator.get("grouping_functions", ()))
        bindings = bindings_of(operator, len(groups), "group_index")
        bindings += bindings_of(operator, len(folded), "aggregate_index")
        bindings += bindings_of(operator, told, "groupings_index")
        filters = below.filters | united(groups)
        key = frozenset(range(len(groups))) if len(sets) < 2 else None
        return Rows(groups + folded + (Value(),) * told, bindings, filters, key, single=not groups and not sets)

    def _window(self, operator: Node) -> Rows:
        (below,) = self._below(operator)
        added = tuple(self._value(window, below) for window in operator["expressions"])
        bindings = below.bindings + bindings_of(operator, len(added), "window_index")
        return Rows(below.columns + added, bindings, below.filters, below.key, below.single)

    def _unnest(self, operator: Node) -> Rows:
        (below,) = self._below(operator)
        added = tuple(self._value(expression, below) for expression in operator["expressions"])
        bindings = below.bindings + bindings_of(operator, len(added), "unnest_index")
        return Rows(below.columns + added, bindings, below.filters | united(added))

    # several inputs

    def _join(self, operator: Node) -> Rows:
        left, right = self._below(operator)
        conditions, kind = operator.get("conditions", []), operator["join_type"]
        decided = self._decided(operator, left, right)
        narrowed = decided | (right.filters - left.filters)
        unique = right.key is not None and right.key <= equated_places(conditions)
        from_subquery = bool(operator.get("mark_types")) or not conditions
        match kind:
            case "MARK":
                mark = Rows((Value(narrowed),), ((int(operator["mark_index"]), 0),))
                return beside(operator, left, mark, left)
            case "SEMI" | "ANTI":
                return beside(operator, left, Rows((), ()), left, right.filters | decided)
            case "SINGLE" | "LEFT" if kind == "SINGLE" or (unique and from_subquery):
                return beside(operator, left, right.decided_by(narrowed), left)
            case "INNER" | "LEFT" | "RIGHT" | "FULL" | "OUTER":
                frame = left if unique and kind in ("INNER", "LEFT") else None
                return beside(operator, left, right, frame, left.filters | right.filters | decided)
        raise _unknown(f"{kind} JOIN")

    def _decided(self, operator: Node, left: Rows, right: Rows) -> Columns:
        """The sources of a join's conditions, which compare the two sides or are about both at once."""
        both = Rows(left.columns + right.columns, left.bindings + right.bindings)
        rest = {key: part for key, part in operator.items() if key != "conditions"}
        found = self._sources(rest, both)
        for condition in operator.get("conditions", ()):
            if "right" in condition:
                found |= self._value(condition["left"], left).sources | self._value(condition["right"], right).sources
            else:
                found |= self._sources(condition, both)
        return found

    def _product(self, operator: Node) -> Rows:
        left, right = self._below(operator)
        if operator["type"] == "LOGICAL_CROSS_PRODUCT" and right.single:
            return beside(operator, left, right.decided_by(right.filters - left.filters), left)
        if operator["type"] == "LOGICAL_CROSS_PRODUCT" and left.single:
            return beside(operator, left.decided_by(left.filters - right.filters), right, None, right.filters)
        return beside(operator, left, right, None, left.filters | right.filters)

    def _set_operation(self, operator: Node) -> Rows:
        branches = self._below(operator)
        filters = NOTHING.union(*(branch.filters for branch in branches))
        if operator["type"] == "LOGICAL_UNION":
            columns = stacked(branches)
        else:
            columns = branches[0].columns
            filters = filters.union(*(branch.sources for branch in branches))
        return Rows(columns, bindings_of(operator, len(columns)), filters)

    # common table expressions

    def _cte(self, operator: Node) -> Rows:
        named, query = operator["children"]
        self._named[operator.get("table_index", 0)] = self.rows(named)
        return self.rows(query)

    def _recursion(self, operator: Node) -> Rows:
        """What the recursion yields once another round adds nothing."""
        first, again = operator["children"]
        name = operator.get("table_index", 0)
        found = self.rows(first)
        while True:
            self._named[name] = found
            more = self.rows(again)
            filters = found.filters | more.filters | self._sources(operator, found)
            if not operator.get("union_all"):
                filters |= found.sources | more.sources
            columns = stacked([found, more])
            if (columns, filters) == (found.columns, found.filters):
                return found
            found = Rows(columns, bindings_of(operator, len(columns)), filters)

    def _reference(self, operator: Node) -> Rows:
        named = self._named.get(operator.get("cte_index", 0))
        if named is None:
            raise _unknown("a reference to a CTE out of reach")
        return dataclasses.replace(named, bindings=bindings_of(operator, len(named.columns)))


def _unknown(construct: str) -> SqlError:
    return SqlError(f"The origin of the query's columns cannot be followed through {construct}.", _SIMPLER)


_OPERATORS: dict[str, Callable[[Flow, Node], Rows]] = {
    f"LOGICAL_{name}": rule
    for names, rule in (
        ("GET", Flow._get),
        ("EXPRESSION_GET", Flow._values),
        ("DUMMY_SCAN", Flow._dummy),
        ("EMPTY_RESULT", Flow._empty),
        ("PROJECTION", Flow._projection),
        ("FILTER ORDER_BY LIMIT DISTINCT", Flow._chosen),
        ("AGGREGATE_AND_GROUP_BY", Flow._aggregate),
        ("WINDOW", Flow._window),
        ("UNNEST", Flow._unnest),
        ("COMPARISON_JOIN ANY_JOIN ASOF_JOIN", Flow._join),
        ("CROSS_PRODUCT POSITIONAL_JOIN", Flow._product),
        ("UNION EXCEPT INTERSECT", Flow._set_operation),
        ("MATERIALIZED_CTE", Flow._cte),
        ("RECURSIVE_CTE", Flow._recursion),
        ("CTE_REF", Flow._reference),
    )
    for name in names.split()
}
