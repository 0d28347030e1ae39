"""What one FROM clause offers: its sources, and which of their columns are known to equal a partition column."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.sql_tree import Node, walk

Output = Sequence[tuple[str, str] | None]
"""Name and partition column (or '') of each output column, in order; None for some unknown ones."""


@dataclass(eq=False)
class Emission:
    """Whether a relation's rows come with the stream's `_at`; switched on from the query's top downwards."""

    feeds: tuple["Emission", ...] = ()
    on: bool = False

    def switch_on(self) -> None:
        """Makes the relation, and whatever it takes `_at` from, emit it."""
        if not self.on:
            self.on = True
            for feed in self.feeds:
                feed.switch_on()


@dataclass(frozen=True)
class Relation:
    """The rows of a table, CTE or subquery. All names are in lower case.

    Attributes:
      columns: in order, '' for one without a plain name; None when they are not known.
      tables: the split tables (read chunk by chunk, or partition by partition) that its rows depend on; empty when it
        has the same rows everywhere.
      keys: its columns that equal a partition column, with that column's name.
      carries: each row comes from one row of the stream, whose `_at` it can bring along.
      base: the declared table that it is, or ''.
      query: the SELECT, set operation, recursion, table function or VALUES that yields it; None for a table.
    """

    columns: tuple[str, ...] | None
    tables: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=dict)
    carries: bool = False
    base: str = ""
    emission: Emission = field(default_factory=Emission)
    query: Node | None = None

    def renamed(self, names: Sequence[str]) -> "Relation":
        """The relation under a column list, as in `AS t(a, b)`."""
        if not names:
            return self
        new = tuple(name.lower() for name in names)
        if self.columns is None:
            return dataclasses.replace(self, columns=None, keys={})
        columns = new + self.columns[len(new) :]
        keys = {columns[i]: self.keys[old] for i, old in enumerate(self.columns) if old in self.keys}
        return dataclasses.replace(self, columns=columns, keys=keys)


@dataclass(frozen=True)
class Source:
    """A relation in a FROM clause.

    Attributes:
      alias: the name it goes by, in lower case; '' for a subquery without one.
      nullable: an outer join may fill its columns with NULL.
    """

    alias: str
    relation: Relation
    nullable: bool = False


@dataclass(frozen=True)
class From:
    """A FROM clause.

    Attributes:
      sources: in order.
      merged: the columns that USING or NATURAL merged, with their partition column or ''.
      filters: the split tables that only decide which rows stay (the right side of SEMI and ANTI joins).
    """

    sources: tuple[Source, ...] = ()
    merged: Mapping[str, str] = field(default_factory=dict)
    filters: frozenset[str] = frozenset()

    @property
    def tables(self) -> frozenset[str]:
        """The split tables that its rows depend on."""
        return self.filters.union(*(source.relation.tables for source in self.sources))

    def with_nulls(self) -> "From":
        """The same, on the optional side of an outer join."""
        sources = tuple(dataclasses.replace(source, nullable=True) for source in self.sources)
        return From(sources, dict.fromkeys(self.merged, ""), self.filters)

    def resolve(self, expression: Node) -> tuple[str, Source | None]:
        """The partition column that a column reference equals wherever it is not NULL, or '', and its source."""
        if expression.get("class") != "COLUMN_REF":
            return "", None
        *owner, name = (part.lower() for part in expression["column_names"])
        if not owner and name in self.merged:
            return self.merged[name], None
        hits = [s for s in self.sources if name in s.relation.keys and owner in ([], [s.alias])]
        return (hits[0].relation.keys[name], hits[0]) if len(hits) == 1 else ("", None)

    def key(self, expression: Node) -> str:
        """The partition column that the expression equals in every row, or ''."""
        if expression.get("type") == "OPERATOR_COALESCE":
            return self._key_of_coalesce(expression["children"])
        column, source = self.resolve(expression)
        return "" if source is not None and source.nullable else column

    def _key_of_coalesce(self, arguments: Sequence[Node]) -> str:
        found = [self.resolve(argument) for argument in arguments]
        columns = {column for column, _ in found}
        sources = [source for _, source in found if source is not None]
        every = all(s in sources for s in self.sources if s.relation.tables)
        solid = every or any(not s.nullable for s in sources) or len(sources) < len(found)
        return columns.pop() if len(columns) == 1 and solid else ""

    def may_have(self, name: str) -> bool:
        """Whether a source has, or could have, a column of that name."""
        return any(s.relation.columns is None or name in s.relation.columns for s in self.sources)

    def star(self, star: Node) -> Iterator[tuple[str, str] | None]:
        """Name and partition column (or '') of each column that `*` or `t.*` stands for; None for some unknown ones."""
        renamed = {entry["key"]["column"].lower(): entry["value"].lower() for entry in star["rename_list"]}
        for column in self.star_columns(star):
            if column is None:
                yield None
                continue
            source, name, put = column
            key = self.key(put) if put else self._key_in(source, name, str(star["relation_name"]).lower())
            yield renamed.get(name, name), key

    def star_columns(self, star: Node) -> Iterator[tuple[Source, str, Node | None] | None]:
        """Each column that `*` or `t.*` stands for: its source, its name there, and the expression that REPLACE puts.

        None stands for some unknown columns.
        """
        owner = str(star["relation_name"]).lower()
        left_out = {name.lower() for name in star["exclude_list"]}
        left_out |= {entry["column"].lower() for entry in star["qualified_exclude_list"]}
        replaced = {entry["key"].lower(): entry["value"] for entry in star["replace_list"]}
        seen: set[str] = set()
        if owner and all(source.alias != owner for source in self.sources):
            yield None  # the fields of a struct
        for source in self.sources:
            if owner not in ("", source.alias):
                continue
            if source.relation.columns is None:
                yield None
                continue
            for name in source.relation.columns:
                if name in left_out or (name in seen and name in self.merged):
                    continue
                seen.add(name)
                yield source, name, replaced.get(name)

    def _key_in(self, source: Source, name: str, owner: str) -> str:
        if not owner and name in self.merged:
            return self.merged[name]
        return "" if source.nullable else source.relation.keys.get(name, "")


def conjuncts(condition: Any) -> list[Node]:
    """The parts that AND joins, none for no condition."""
    if not condition:
        return []
    if condition.get("type") == "CONJUNCTION_AND":
        return [part for child in condition["children"] for part in conjuncts(child)]
    return [condition]


def equated(left: From, right: From, conditions: Sequence[Node]) -> set[str]:
    """The partition columns that the conditions equate between the two sides of a join."""
    found = set()
    for condition in conditions:
        if condition.get("type") not in ("COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM"):
            continue
        one, other = condition["left"], condition["right"]
        for a, b in ((one, other), (other, one)):
            column = left.resolve(a)[0]
            if column and column == right.resolve(b)[0]:
                found.add(column)
    return found


def subqueries(tree: Any) -> Iterator[Node]:
    """The queries inside expressions, without those inside these."""
    for node in walk(tree, enter_subqueries=False):
        if node.get("class") == "SUBQUERY":
            yield node["subquery"]["node"]


def joined(kind: str, left: From, right: From, names: Sequence[str]) -> From:
    """The FROM clause after a join of that kind, which merged the columns `names` (USING, NATURAL)."""
    merged = {**left.merged, **right.merged}
    for name in names:
        merged[name] = _merged_key(kind, _solid(left, name), _solid(right, name))
    if kind in ("SEMI", "ANTI"):
        return From(left.sources, left.merged, left.filters | right.tables)
    one = left.with_nulls() if kind in ("RIGHT", "OUTER") else left
    other = right.with_nulls() if kind in ("LEFT", "OUTER") else right
    kept = {name: key for name, key in merged.items() if name not in names}
    nulls = {n for side, was in ((one, left), (other, right)) if side is not was for n in was.merged}
    kept = {name: "" if name in nulls else key for name, key in kept.items()}
    columns = {**kept, **{name: merged[name] for name in names}}
    return From(one.sources + other.sources, columns, left.filters | right.filters)


def _merged_key(kind: str, left: str, right: str) -> str:
    match kind:
        case "RIGHT":
            return right
        case "OUTER":
            return left if left == right else ""
    return left


def named(clause: From, name: str) -> str:
    """The partition column that the column of that name equals wherever it is not NULL, or ''."""
    return clause.resolve({"class": "COLUMN_REF", "column_names": [name]})[0]


def _solid(clause: From, name: str) -> str:
    return clause.key({"class": "COLUMN_REF", "column_names": [name]})


def known(output: Output) -> list[tuple[str, str]]:
    """The output's columns without the unknown ones."""
    return [pair for pair in output if pair]


def first_keys(output: Output) -> dict[str, str]:
    """The partition column of each column that an outer query can name.

    Of columns with the same name it sees the first, and an unknown column may have any name.
    """
    first: dict[str, str] = {}
    for pair in output:
        if pair is None:
            break
        first.setdefault(*pair)
    return {name: key for name, key in first.items() if name and key}


def common_keys(branches: Sequence[Relation], by_name: bool) -> dict[str, str]:
    """The columns of a set operation that equal the same partition column in every branch."""
    if by_name:
        return {n: k for n, k in branches[0].keys.items() if all(b.keys.get(n) == k for b in branches)}
    if any(branch.columns is None for branch in branches):
        return {}
    places = zip(*(branch.columns or () for branch in branches), strict=False)
    keys = {names[0]: {b.keys.get(n, "") for b, n in zip(branches, names, strict=True)} for names in places}
    return {name: found.pop() for name, found in keys.items() if len(found) == 1 and found != {""}}
