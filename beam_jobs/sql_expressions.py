"""The SQL that computes each column of a query's answer: the item of a SELECT list, found behind all renaming."""

import re
from collections.abc import Iterator

import duckdb

from beam_jobs.sql_relations import Source
from beam_jobs.sql_scopes import Scope, Scopes
from beam_jobs.sql_tree import Node, parse, to_sql, walk

_PARENTHESISED = frozenset({"BETWEEN", "COMPARISON", "CONJUNCTION", "FUNCTION", "OPERATOR"})
_QUOTED = re.compile(r"""'(?:[^']|'')*'|count_star\(\)|(?P<dot>\.?)"(?P<name>(?:[^"]|"")*)"(?P<call>\(?)""")
_NEEDS_QUOTES_AS_FUNCTION = "position"

Item = Node | tuple[Source, str]
"""An expression of a SELECT list, or a column that its `*` stands for."""


class Expressions:
    """Tells what a query that `scopes` visited writes for its columns; '' where that cannot be told."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, scopes: Scopes) -> None:
        self._connection = connection
        self._schemas = scopes.schemas
        self._scopes = {id(scope.node): scope for scope in scopes.found}
        self._items: dict[tuple[int, int | None], list[Item]] = {}
        words = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'unreserved'"
        self._free = {word for (word,) in connection.execute(words).fetchall()}
        self._frame = parse(connection, "SELECT 0")

    def of(self, query: Node, name: str, place: int | None = None, count: int | None = None) -> str:
        """The SQL that computes a column of the query's answer.

        Args:
          query: a SELECT, set operation, recursion, table function or VALUES.
          name: the column's name, in lower case.
          place: where it stands; it is found by its name alone when this is not known.
          count: how many columns the query has, if that is known.
        """
        if query["type"] in ("SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"):
            return self._of_branches(query, name, place, count)
        if query["type"] == "TABLE_FUNCTION":
            return self._text(query["function"])
        if (scope := self._scopes.get(id(query))) is None:
            return ""
        items = self._items_of(scope, count)
        if place is None or place >= len(items):
            named = [item for item in [*items, *scope.node["select_list"]] if _name(item) == name]
            return self._behind(named[0], scope) if named else ""
        return self._behind(items[place], scope)

    def column(self, *names: str) -> str:
        """The reference to a column, quoted where it has to be."""
        return self._text({"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": list(names)})

    def _items_of(self, scope: Scope, count: int | None) -> list[Item]:
        key = id(scope.node), count
        if key not in self._items:
            self._items[key] = list(_items(scope, count))
        return self._items[key]

    def _of_branches(self, query: Node, name: str, place: int | None, count: int | None) -> str:
        """The branches' expressions; only the first one's where the others merely choose among its rows."""
        kind = str(query.get("setop_type", "UNION"))
        word = " UNION ALL " if query.get("setop_all", query.get("union_all")) else " UNION "
        branches = query.get("children") or (query["left"], query["right"])
        if not kind.startswith("UNION"):
            return self.of(branches[0], name, place, count)
        if kind == "UNION":
            written = [self.of(branch, name, place, count) for branch in branches]
        else:
            written = [found for branch in branches if (found := self.of(branch, name))]
        return "" if "" in written else word.join(dict.fromkeys(written))

    def _behind(self, item: Item, scope: Scope) -> str:
        """The SQL of an item; where it only hands on a column, what computes that."""
        if isinstance(item, tuple):
            source, name = item
            return ("" if name in scope.clause.merged else self._in(source, name)) or self.column(name)
        if item["class"] != "COLUMN_REF":
            return self._text(item)
        *owner, name = (part.lower() for part in item["column_names"])
        if not owner and name in scope.clause.merged:
            return self._text(item)
        sources = [source for source in scope.clause.sources if owner in ([], [source.alias])]
        found = [source for source in sources if name in (source.relation.columns or ())]
        aliased = "" if owner or found else self._aliased(item, name, scope)
        found = found or [source for source in sources if source.relation.columns is None]
        return aliased or (self._in(found[0], name) if len(found) == 1 else "") or self._text(item)

    def _aliased(self, item: Node, name: str, scope: Scope) -> str:
        """What an earlier item of the same SELECT list computes under that name, or ''."""
        items = scope.node["select_list"]
        earlier = items[: next((i for i, other in enumerate(items) if other is item), 0)]
        named = [other for other in earlier if other["alias"].lower() == name]
        return self._behind(named[0], scope) if named else ""

    def _in(self, source: Source, name: str) -> str:
        """What computes the source's column of that name, or ''."""
        relation = source.relation
        if relation.base:
            declared = {column.lower(): column for column in self._schemas[relation.base].names}
            return self.column(relation.base, declared[name]) if name in declared else ""
        if relation.query is None:
            return ""
        known = relation.columns is not None and name in relation.columns
        return self.of(relation.query, name, relation.columns.index(name) if relation.columns and known else None)

    def _text(self, item: Node) -> str:
        if item["class"] == "STAR" and not item["columns"]:
            return ""
        node = {**self._frame["node"], "select_list": [{**item, "alias": ""}]}
        text = to_sql(self._connection, {**self._frame, "node": node}).removeprefix("SELECT ")
        text = _QUOTED.sub(self._as_usual, text)
        return text[1:-1] if item["class"] in _PARENTHESISED and _is_enclosed(text) else text

    def _as_usual(self, found: re.Match[str]) -> str:
        """A name without the quotes that DuckDB puts around every word of its grammar, where it can do without."""
        name = found["name"]
        if name is None:
            return "count(*)" if found[0] == "count_star()" else found[0]
        called = found["call"] and name.lower() != _NEEDS_QUOTES_AS_FUNCTION
        free = found["dot"] or called or name.lower() in self._free
        return f"{found['dot']}{name}{found['call']}" if free and re.fullmatch(r"[A-Za-z_]\w*", name) else found[0]


def _items(scope: Scope, count: int | None) -> Iterator[Item]:
    """The SELECT list with its stars spread out, as far as it is known how many columns each item makes."""
    spread = [_spread(item, scope) for item in scope.node["select_list"]]
    unknown = sum(items is None for items in spread)
    width = None if count is None else count - sum(len(items or ()) for items in spread)
    if width and not unknown:
        return
    for item, items in zip(scope.node["select_list"], spread, strict=True):
        if items is not None:
            yield from items
        elif width is None or unknown not in (1, width):
            return
        else:
            yield from [item] * (width if unknown == 1 else 1)


def _spread(item: Node, scope: Scope) -> list[Item] | None:
    """The columns that an item of a SELECT list makes, or None when only DuckDB knows."""
    if item["class"] == "STAR" and not item["columns"]:
        columns = [column and (column[2] or column[:2]) for column in scope.clause.star_columns(item)]
        return None if None in columns else [column for column in columns if column]
    inside = walk(item, enter_subqueries=False)
    several = any(node.get("class") == "STAR" or node.get("function_name") == "unnest" for node in inside)
    return None if several else [item]


def _name(item: Item) -> str:
    if isinstance(item, tuple):
        return item[1]
    plain = item["column_names"][-1] if item["class"] == "COLUMN_REF" else ""
    return str(item["alias"] or plain).lower()


def _is_enclosed(text: str) -> bool:
    """Whether the first character is a parenthesis that the last one closes."""
    depth, quote = 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character == "(") - (character == ")")
        if depth == 0 and not quote:
            return place == len(text) - 1
    return False
