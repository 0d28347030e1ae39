"""What a query may not call: functions that answer differently each time, and whatever reads beyond the declared tables."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from beam_jobs import duck
from beam_jobs.errors import SqlError
from beam_jobs.sql_tree import Node, line_of, walk

TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
"""The table functions that read nothing."""

# Not marked as volatile in DuckDB's catalogue, though the answer depends on the clock, the version or a random sample.
_UNMARKED = frozenset({"version", "reservoir_quantile", "current_localtime", "current_localtimestamp"})
# Marked, so that it is not folded away, but without an answer at all.
_HARMLESS = frozenset({"error"})
# Parsed as columns; they are functions where no column has the name.
_BARE_WORDS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "user", "session_user"}
    | {"current_user", "current_role", "current_catalog", "current_schema", "current_database"}
)
_CLOCK = re.compile(r"time|date|now|today|^age$|^ago$")
_RANDOM = re.compile(r"random|uuid|reservoir")


@dataclass(frozen=True)
class Catalogue:
    """Names from DuckDB's list of functions, in lower case."""

    volatile: frozenset[str]
    aggregates: frozenset[str]


@cache
def catalogue() -> Catalogue:
    """Reads DuckDB's own list: volatile functions, macros that call one or look into the catalogue, and aggregates."""
    with duck.connect() as connection:
        rows = connection.execute(
            "SELECT lower(function_name), function_type, coalesce(stability, ''), coalesce(macro_definition, '') "
            "FROM duckdb_functions()"
        ).fetchall()
    volatile = {name for name, _, stability, _ in rows if stability not in ("", "CONSISTENT")} | _UNMARKED | _BARE_WORDS
    words = re.compile(rf"\b({'|'.join(sorted(volatile))}|duckdb_\w+)\b", re.IGNORECASE)
    macros = {name for name, kind, _, body in rows if kind == "macro" and words.search(body)}
    aggregates = {name for name, kind, _, _ in rows if kind == "aggregate"}
    return Catalogue(frozenset(volatile | macros) - _HARMLESS, frozenset(aggregates))


def check_functions(text: str, root: Node, columns: frozenset[str]) -> None:
    """Refuses what would make the query's answer depend on anything but the declared tables.

    Args:
      text: the query, for line numbers.
      columns: every column of the declared tables, in lower case.

    Raises:
      SqlError: a volatile function, a table function that is not allowed, a sample, PIVOT, or a parameter.
    """
    for node in walk(root):
        _check_construct(text, node)
        if node.get("type") == "TABLE_FUNCTION":
            _check_table_function(text, node)
        elif name := _called(node, columns):
            raise _volatile(name, line_of(text, node))


def _called(node: Node, columns: frozenset[str]) -> str:
    """The volatile function that the node calls, or ''."""
    if node.get("class") == "COLUMN_REF":
        name = node["column_names"][0].lower() if len(node["column_names"]) == 1 else ""
        return name if name in _BARE_WORDS - columns else ""
    if node.get("class") not in ("FUNCTION", "WINDOW"):
        return ""
    name = str(node["function_name"]).lower()
    from_clock = name == "age" and len(node["arguments"]) == 1
    return name if from_clock or name in catalogue().volatile else ""


def _volatile(name: str, line: str) -> SqlError:
    hint = "Leave it out, or take the value from a column of a declared table."
    if _RANDOM.search(name):
        hint = "hash(column) gives a number that looks random and stays the same."
    elif _CLOCK.search(name):
        hint = "Write the moment as a literal, such as TIMESTAMP '2024-01-01 00:00:00', or take it from a column."
    return SqlError(
        f"The query calls '{name}'{line}, whose answer changes from call to call; "
        "a chunk that is run again, or a result kept from an earlier run, must give the same rows.",
        hint,
    )


def _check_table_function(text: str, node: Node) -> None:
    name = str(node["function"]["function_name"]).lower()
    if name not in TABLE_FUNCTIONS:
        raise SqlError(
            f"The query may not call the table function '{name}'{line_of(text, node)}: it reads beyond the declared tables. "
            f"Allowed are {', '.join(sorted(TABLE_FUNCTIONS))}.",
            "Declare the file as a table of the step and read it by name.",
        )


def _check_construct(text: str, node: Node) -> None:
    refused: dict[tuple[str, Any], tuple[str, str]] = {
        ("type", "SHOW_REF"): ("DESCRIBE, SHOW and SUMMARIZE", "Select the columns themselves."),
        ("type", "PIVOT"): ("PIVOT and UNPIVOT", "Write max(x) FILTER (WHERE ...), or UNION ALL, for each value."),
        ("class", "PARAMETER"): ("parameters (? or $1)", "Write the value into the query."),
        ("class", "POSITIONAL_REFERENCE"): ("positional references (#1)", "Name the column."),
    }
    for key in ("type", "class"):
        if found := refused.get((key, node.get(key))):
            raise SqlError(f"The query may not use {found[0]}{line_of(text, node)}.", found[1])
    if node.get("sample"):
        raise SqlError(
            f"The query may not sample rows{line_of(text, node)}: a sample differs from run to run.",
            "hash(column) % 10 = 0 keeps the same tenth of the rows each time.",
        )
    if node.get("at_clause"):
        raise SqlError(f"The query may not read a table AT another time{line_of(text, node)}.", "Leave AT out.")
