"""Random queries over three small tables, from a grammar of what a prepare step may write."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from hypothesis import strategies as st

SCHEMAS = {
    "t": pa.schema(
        [("id", pa.int64()), ("k", pa.int64()), ("S", pa.string()), ("l", pa.list_(pa.int64())), ("v", pa.int64())]
    ),
    "b": pa.schema([("k", pa.int64()), ("S", pa.string()), ("y", pa.int64())]),
    "g": pa.schema([("k", pa.int64()), ("y", pa.int64()), ("Odd name", pa.string())]),
}
KINDS = {pa.int64(): "int", pa.string(): "text", pa.list_(pa.int64()): "list"}

Column = tuple[str, str]
"""The SQL of a column or of an expression, and its kind: int, text or list."""


class Query(NamedTuple):
    """A query or a FROM clause, and the columns that it offers."""

    sql: str
    columns: Sequence[Column]


class Grammar:
    """Draws queries; each method is a rule. All names are unique, so that every reference has one meaning."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self._named = 0
        self._ctes: list[Query] = []

    def _pick(self, *options: Any) -> Any:
        return self._draw(st.sampled_from(options))

    def _one_in(self, count: int) -> bool:
        return bool(self._draw(st.integers(1, count)) == count)

    def _name(self, letter: str) -> str:
        self._named += 1
        return f"{letter}{self._named}"

    # expressions

    def of_kind(self, kind: str, columns: Sequence[Column], depth: int) -> str:
        found = [sql for sql, its in columns if its == kind]
        if found and (depth <= 0 or self._one_in(2)):
            return str(self._pick(*found))
        if depth <= 0:
            return {"int": "1", "text": "'a'", "list": "[0, 2]"}[kind]
        return {"int": self._int, "text": self._text, "list": self._list}[kind](columns, depth - 1)

    def number(self, columns: Sequence[Column], depth: int = 0) -> str:
        return self.of_kind("int", columns, depth)

    def _int(self, columns: Sequence[Column], depth: int) -> str:
        a, b = self.number(columns, depth), self.number(columns, depth)
        rules: list[Callable[[], str]] = [
            lambda: f"({a} + {b})",
            lambda: f"({a} * 10 - {b})",
            lambda: f"coalesce({a}, {b})",
            lambda: f"nullif({a}, {b})",
            lambda: f"[{a}, {b}][2]",
            lambda: f"({{'A': {{'x': {a}, 'y': {b}}}, 'b': {b}}}).a.X",
            lambda: f"CASE WHEN {self.condition(columns, depth)} THEN {a} ELSE {b} END",
            lambda: f"({self.condition(columns, depth)})::BIGINT",
            lambda: f"length({self.of_kind('text', columns, depth)})",
            lambda: (
                f"list_max(list_transform({self.of_kind('list', columns, depth)}, lambda e, i: e * i + {self.number(columns)}))"
            ),
            lambda: self._folded(columns, depth),
        ]
        return str(self._pick(*rules)())

    def _text(self, columns: Sequence[Column], depth: int) -> str:
        text, number = self.of_kind("text", columns, depth), self.number(columns, depth)
        return str(self._pick(f"upper({text})", f"({text} || {number})", f"({number})::VARCHAR", f"({text})[1:1]"))

    def _list(self, columns: Sequence[Column], depth: int) -> str:
        a, b, values = self.number(columns, depth), self.number(columns), self.of_kind("list", columns, depth)
        return str(self._pick(f"[{a}, 1]", f"list_append({values}, {a})", f"[e + {b} FOR e IN {values} IF e > {b}]"))

    def condition(self, columns: Sequence[Column], depth: int = 0) -> str:
        a, b = self.number(columns, depth - 1), self.number(columns, depth - 1)
        rules: list[Callable[[], str]] = [
            lambda: f"{a} {self._pick('=', '<', '>=', '<>', 'IS DISTINCT FROM')} {b}",
            lambda: f"{a} {self._pick('IS NOT NULL', 'IN (1, 2)', 'BETWEEN 1 AND 2')}",
            lambda: f"{self.of_kind('text', columns, depth - 1)} LIKE 'a%'",
        ]
        if depth > 0:
            rules += [
                lambda: f"({self.condition(columns, depth - 1)} {self._pick('AND', 'OR')} {a} < {b})",
                lambda: f"NOT ({self.condition(columns, depth - 1)})",
                lambda: f"{self._pick('', 'NOT ')}EXISTS ({self._inside(columns, depth - 1).sql})",
                lambda: f"{a} {self._pick('IN', 'NOT IN', '>= ALL', '< ANY')} ({self._inside(columns, depth - 1).sql})",
            ]
        return str(self._pick(*rules)())

    def _inside(self, outer: Sequence[Column], depth: int) -> Query:
        """A query of one column that may look at the columns around it."""
        source, columns = self.source(depth)
        name = self._name("c")
        where = self.condition([*columns, *outer])
        return Query(f"SELECT {self.number(columns)} AS {name} FROM {source} WHERE {where}", [(name, "int")])

    def _folded(self, outer: Sequence[Column], depth: int) -> str:
        """A scalar subquery of one row."""
        source, columns = self.source(depth - 1)
        rules = ("max({})", "sum({})::BIGINT", "count({})", "count(*)", "min({}) + max({})")
        function = self._pick(*rules).replace("{}", self.number(columns))
        where = f" WHERE {self.condition([*columns, *outer])}" if self._one_in(2) else ""
        having = " HAVING count(*) > 1" if self._one_in(4) else ""
        return f"(SELECT {function} FROM {source}{where}{having})"

    # FROM

    def source(self, depth: int) -> Query:
        """One thing to read from, under a name of its own."""
        name = self._name("q")
        if depth <= 0 or self._one_in(2):
            tables = [Query(table, [(f'"{f.name}"', KINDS[f.type]) for f in SCHEMAS[table]]) for table in SCHEMAS]
            read = self._pick(*tables, *self._ctes)
            return Query(f"{read.sql} AS {name}", [(f"{name}.{column}", kind) for column, kind in read.columns])
        if self._one_in(8):
            columns = [(f"{name}.x", "int"), (f"{name}.z", "int")]
            return Query(f"(VALUES (1, 5), (2, (SELECT max(k) FROM b))) AS {name}(x, z)", columns)
        query = self.query(depth - 1)
        if self._one_in(3):
            query = Query(query.sql, [(self._name("r"), kind) for _, kind in query.columns])
            names = f"({', '.join(column for column, _ in query.columns)})"
        else:
            names = ""
        return Query(f"({query.sql}) AS {name}{names}", [(f"{name}.{column}", kind) for column, kind in query.columns])

    def clause(self, depth: int) -> Query:
        """A FROM clause."""
        if self._one_in(6):
            return self._using()
        clause = self.source(depth)
        while self._one_in(2):
            depth -= 1
            clause = self._pick(self._joined, self._joined, self._lateral)(clause, depth)
        return clause

    def _joined(self, left: Query, depth: int) -> Query:
        right = self.source(depth)
        both = [*left.columns, *right.columns]
        kinds = ["INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI", "CROSS"]
        if all("int" in (kind for _, kind in side.columns) for side in (left, right)):
            kinds += ["ASOF", "ASOF LEFT"]
        kind = self._pick(*kinds)
        a, b = self.number(left.columns), self.number(right.columns)
        condition = f"{a} {'>=' if kind.startswith('ASOF') else '='} {b}"
        if kind in ("INNER", "LEFT", "RIGHT", "SEMI", "ANTI"):
            condition = self._pick(condition, f"{condition} AND {self.condition(both)}", self.condition(both))
        on = "" if kind == "CROSS" else f" ON {condition}"
        return Query(f"({left.sql} {kind} JOIN {right.sql}{on})", left.columns if kind in ("SEMI", "ANTI") else both)

    def _lateral(self, left: Query, depth: int) -> Query:
        name = self._name("q")
        values = f"unnest({self.of_kind('list', left.columns, 1)})"
        kind = self._pick("CROSS", "LEFT")
        of_one = f"SELECT {self._folded(left.columns, depth)} AS e"
        rules = [
            ("CROSS JOIN", f"{values} AS {name}(e)", ""),
            (
                "CROSS JOIN",
                f"range({self._pick('2', *(sql for sql, its in left.columns if its == 'int'))}) AS {name}(e)",
                "",
            ),
            (f"{kind} JOIN LATERAL", f"({of_one}) AS {name}", " ON true" if kind == "LEFT" else ""),
            ("CROSS JOIN LATERAL", f"({self._inside(left.columns, 0).sql}) AS {name}(e)", ""),
        ]
        join, right, on = self._pick(*rules)
        return Query(f"({left.sql} {join} {right}{on})", [*left.columns, (f"{name}.e", "int")])

    def _using(self) -> Query:
        """A join that merges columns, which go without their table's name from then on."""
        kind = self._pick("", "LEFT ", "RIGHT ", "FULL ", "NATURAL ", "NATURAL LEFT ", "NATURAL FULL ")
        left, right = self._draw(st.permutations(sorted(SCHEMAS)))[:2]
        shared = [name for name in SCHEMAS[left].names if name in SCHEMAS[right].names]
        merged = shared if kind.startswith("NATURAL") else shared[:1]
        columns = {name: KINDS[SCHEMAS[left].field(name).type] for name in merged}
        for table in (left, right):
            columns |= {f'{table}."{f.name}"': KINDS[f.type] for f in SCHEMAS[table] if f.name not in merged}
        using = "" if kind.startswith("NATURAL") else f" USING ({merged[0].lower()})"
        return Query(f"{left} {kind}JOIN {right}{using}", list(columns.items()))

    # queries

    def query(self, depth: int) -> Query:
        rules = [self._plain, self._starred, self._grouped, self._windowed, self._folding, self._chained]
        if depth > 0:
            rules += [self._combined, self._with, self._recursive]
        return Query(*self._pick(*rules)(depth))

    def _select(self, items: Sequence[Column], rest: str) -> Query:
        columns = [(self._name("c"), kind) for _, kind in items]
        listed = (f"{sql} AS {name}" for (sql, _), (name, _) in zip(items, columns, strict=True))
        return Query(f"SELECT {', '.join(listed)} FROM {rest}", columns)

    def _items(self, columns: Sequence[Column], depth: int) -> list[Column]:
        kinds = self._draw(st.lists(st.sampled_from(["int", "int", "text", "list"]), min_size=1, max_size=3))
        return [(self.of_kind(kind, columns, depth), kind) for kind in kinds]

    def _where(self, columns: Sequence[Column], depth: int) -> str:
        return f" WHERE {self.condition(columns, depth)}" if self._one_in(2) else ""

    def _plain(self, depth: int) -> Query:
        source, columns = self.clause(depth)
        return self._select(self._items(columns, 2), source + self._where(columns, depth))

    def _folding(self, depth: int) -> Query:
        """DISTINCT, or the first rows of all."""
        source, columns = self.clause(depth)
        sql, output = self._select(self._items(columns, 1), source + self._where(columns, depth))
        if self._one_in(2):
            return Query(f"{sql} ORDER BY ALL LIMIT 2", output)
        return Query(sql.replace("SELECT ", "SELECT DISTINCT ", 1), output)

    def _chained(self, depth: int) -> Query:
        """An item and the WHERE clause use another item by its alias."""
        source, columns = self.clause(depth)
        first, second = self._name("c"), self._name("c")
        a, b = self.number(columns), self.number(columns)
        sql = f"SELECT {a} + {b} AS {first}, {first} * 2 AS {second} FROM {source} WHERE {second} > 1"
        return Query(sql, [(first, "int"), (second, "int")])

    def _starred(self, depth: int) -> Query:
        source, columns = self.source(depth)
        every = [(name.split(".", 1)[1], kind) for name, kind in columns]
        at = self._draw(st.integers(0, len(every) - 1))
        name, kind = every[at]
        new, rest = self._name("r"), [column for column in every if column != every[at]]
        renamed = [(new, kind) if column == every[at] else column for column in every]
        rules = [("*", every), (f"{columns[0][0].split('.')[0]}.*", every), ("COLUMNS(*)", every)]
        rules += [
            (f"* REPLACE ({self.of_kind(kind, columns, 1)} AS {name})", every),
            (f"* RENAME ({name} AS {new})", renamed),
        ]
        if rest:
            rules += [(f"* EXCLUDE ({name})", rest), ("COLUMNS(lambda c: c <> '" + name.strip('"') + "')", rest)]
        star, output = self._pick(*rules)
        return Query(f"SELECT {star} FROM {source}{self._where(columns, depth)}", output)

    def _grouped(self, depth: int) -> Query:
        source, columns = self.clause(depth)
        kind = self._pick("int", "text")
        group, item, other = self.of_kind(kind, columns, 0), self.number(columns, 1), self.number(columns)
        rules = (f"sum({item})::BIGINT", f"count({item})", "count(*)", f"min({item}) FILTER ({other} > 1)")
        rules += (f"len(list(DISTINCT {item}))", f"list(({item}, {other}) ORDER BY {other}, {item})[1][1]")
        items = [(self._pick(*rules), "int"), (f"max({other})", "int")]
        by = self._pick("", "{}", "ALL", "ROLLUP ({})") if (group, kind) in columns else ""
        if by:
            items, by = [(group, kind), *items], f" GROUP BY {by.replace('{}', group)}"
        having = f" HAVING {self._pick(*rules)} > 1" if self._one_in(3) else ""
        return self._select(items, source + self._where(columns, depth) + by + having)

    def _windowed(self, depth: int) -> Query:
        source, columns = self.clause(depth)
        value, key, group = self.number(columns, 1), self.number(columns), self.of_kind("text", columns, 0)
        over = self._pick("PARTITION BY {} ORDER BY " + key, "PARTITION BY {}", f"ORDER BY {key}", "").replace(
            "{}", group
        )
        function = self._pick(f"sum({value})", f"max({value})", f"count({value})", "rank()", "dense_rank()", "count(*)")
        items = [(f"({function} OVER ({over}))::BIGINT", "int"), *self._items(columns, 0)]
        qualify = f" QUALIFY rank() OVER (PARTITION BY {group} ORDER BY {key}) = 1" if self._one_in(3) else ""
        return self._select(items, source + self._where(columns, depth) + qualify)

    def _combined(self, depth: int) -> Query:
        words = ("UNION ALL", "UNION", "INTERSECT", "EXCEPT", "EXCEPT ALL", "UNION ALL BY NAME", "UNION BY NAME")
        word, names, branches = self._pick(*words), [self._name("c"), self._name("c")], []
        for order in (names, names[:: self._pick(1, -1)] if "NAME" in word else names):
            source, columns = self.clause(depth - 1)
            items = ", ".join(f"{self.number(columns, 1)} AS {name}" for name in order)
            branches.append(f"(SELECT {items} FROM {source}{self._where(columns, 0)})")
        return Query(f" {word} ".join(branches), [(name, "int") for name in names])

    def _with(self, depth: int) -> Query:
        """A CTE, under a name of its own or that of a table, which it hides."""
        inner, outer = self.query(depth - 1), self._ctes
        name = self._pick(self._name("w"), "g")
        if name == "g":
            return Query(f"WITH g AS ({inner.sql}) SELECT * FROM g", inner.columns)
        self._ctes = [*outer, Query(name, inner.columns)]
        sql, columns = self.query(depth - 1)
        self._ctes = outer
        sql = f"SELECT * FROM ({sql})" if sql.startswith("WITH") else sql
        return Query(f"WITH {name} AS {self._pick('', 'MATERIALIZED ')}({inner.sql}) {sql}", columns)

    def _recursive(self, depth: int) -> Query:
        source, columns = self.source(depth - 1)
        name, all_ = self._name("w"), self._pick("", " ALL")
        first = f"SELECT {self.number(columns)}, {self.number(columns)}, 0 FROM {source}"
        rules = (f"SELECT n, m + n, d + 1 FROM {name}", f"SELECT b.y, m, d + 1 FROM {name} JOIN b ON b.k = {name}.n")
        body = f"{first} UNION{all_} {self._pick(*rules)} WHERE d < 2"
        return Query(
            f"WITH RECURSIVE {name}(n, m, d) AS ({body}) SELECT n, m FROM {name}", [("n", "int"), ("m", "int")]
        )


@st.composite
def queries(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    return Grammar(draw).query(draw(st.sampled_from([0, 1, 1, 2, 2, 3]))).sql
