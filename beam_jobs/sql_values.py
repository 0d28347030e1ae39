"""What flows through a plan: the origin of one value, and the rows that an operator yields."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.sql_tree import Node

Columns = frozenset[tuple[str, str]]
"""Columns of the declared tables: pairs of table and column, as declared."""

NOTHING: Columns = frozenset()


@dataclass(frozen=True)
class Value:
    """What a column of a plan's operator is computed from.

    Attributes:
      sources: the columns whose values flow into it.
      copied: it is the one source column, unchanged.
      fields: of a struct that the query builds, each field's own origin, by name in lower case.
    """

    sources: Columns = NOTHING
    copied: bool = False
    fields: Mapping[str, "Value"] = field(default_factory=dict)

    def decided_by(self, columns: Columns) -> "Value":
        """The same value, where `columns` decide which one it is."""
        fields = {name: value.decided_by(columns) for name, value in self.fields.items()}
        return Value(self.sources | columns, False, fields)


@dataclass(frozen=True)
class Rows:
    """What an operator of a plan yields.

    Attributes:
      columns: in order.
      bindings: DuckDB's own names for the columns: the index of a table and of a column in it.
      filters: the columns that decide which rows there are, how often, and in which order.
      key: places of columns that no two rows share; empty when there is at most one row, None when nothing is known.
      single: there is exactly one row.
    """

    columns: tuple[Value, ...]
    bindings: tuple[tuple[int, int], ...]
    filters: Columns = NOTHING
    key: frozenset[int] | None = None
    single: bool = False

    @property
    def sources(self) -> Columns:
        """The sources of all columns."""
        return united(self.columns)

    def decided_by(self, columns: Columns) -> "Rows":
        """The rows as values of other rows, where `columns` decide what stands in them and no longer which there are."""
        return dataclasses.replace(self, columns=tuple(v.decided_by(columns) for v in self.columns), filters=NOTHING)

    def picked(self, places: Sequence[int] | None) -> "Rows":
        """The rows with only the columns in these places; with all, when there is no list of places."""
        if not places:
            return self
        to = {place: i for i, place in enumerate(places)}
        key = frozenset(to[p] for p in self.key) if self.key is not None and self.key <= set(to) else None
        columns, bindings = tuple(self.columns[p] for p in places), tuple(self.bindings[p] for p in places)
        return Rows(columns, bindings, self.filters, key, self.single)


def united(values: Iterable[Value]) -> Columns:
    """The sources of all values."""
    return NOTHING.union(*(value.sources for value in values))


def merged(values: Sequence[Value]) -> Value:
    """One column out of several that stand one below the other."""
    if all(value == values[0] for value in values):
        return values[0]
    alike = all(value.fields.keys() == values[0].fields.keys() for value in values)
    names = values[0].fields if alike else ()
    return Value(united(values), fields={name: merged([value.fields[name] for value in values]) for name in names})


def bindings_of(operator: Node, count: int, index: str = "table_index") -> tuple[tuple[int, int], ...]:
    """The bindings of `count` columns that the operator makes, under the table index that it has in the field `index`."""
    return tuple((int(operator.get(index, 0)), i) for i in range(count))


def expressions_in(tree: Any) -> Iterator[Node]:
    """The expressions right inside a part of the plan, without what a function keeps for itself."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, part in parts:
        if isinstance(part, dict) and "expression_class" in part:
            yield part
        elif isinstance(part, dict | list) and key != "function_data":
            yield from expressions_in(part)


def places_of(expressions: Iterable[Node]) -> list[int | None]:
    """For each expression the place of the column that it just hands on, or None."""
    return [int(e.get("index", 0)) if e["expression_class"] == "BOUND_REF" else None for e in expressions]


def stacked(branches: Sequence[Rows]) -> tuple[Value, ...]:
    """The columns of rows below other rows."""
    return tuple(merged(values) for values in zip(*(branch.columns for branch in branches), strict=True))


def beside(operator: Node, left: Rows, right: Rows, frame: Rows | None, filters: Columns = NOTHING) -> Rows:
    """The columns of both sides of a join, as far as it hands them on.

    Args:
      frame: the left side, when none of its rows comes twice; None when it may.
      filters: what decides which rows there are, beside the frame's.
    """
    one, other = left.picked(operator.get("left_projection_map")), right.picked(operator.get("right_projection_map"))
    both = Rows(one.columns + other.columns, one.bindings + other.bindings, filters)
    if frame is None:
        return both
    return dataclasses.replace(both, filters=filters | frame.filters, key=one.key, single=frame.single and not filters)


def equated_places(conditions: Iterable[Node]) -> set[int]:
    """The places of the right side's columns that conditions equate with something of the left."""
    alike = ("COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM")
    sides = [c["right"] for c in conditions if c.get("comparison") in alike and "right" in c]
    return {place for place in places_of(sides) if place is not None}
