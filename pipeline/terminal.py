"""How every command prints: one console, one style of table, the same words for the same things."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

MARKS = {
    "COMPLETE": "[green]✓[/]",
    "CACHED": "[cyan]=[/]",
    "FAILED": "[red]✗[/]",
    "CANCELED": "[yellow]✗[/]",
    "RUNNING": "[yellow]…[/]",
}


def ledger_words(ledger: Mapping[str, float]) -> str:
    """`336,776 read = 9,430 filtered + 327,346 kept`, leaving out what is zero."""
    counts = {key: int(value) for key, value in ledger.items()}
    parts = [f"{counts[key]:,} {key}" for key in ("rejected", "filtered", "merged") if counts[key]]
    words = f"{counts['read']:,} read = " + " + ".join([*parts, f"{counts['kept']:,} kept"])
    if counts["multiplied"]:
        words += f"; {counts['written']:,} written = {counts['kept']:,} kept + {counts['multiplied']:,} multiplied"
    return words


def console(stderr: bool = False) -> Console:
    """A console; wide enough for a table when nobody's terminal says how wide."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=140)


def table(*header: str, title: str | None = None) -> Table:
    """A table as every command shows them: without lines, under a title at the left."""
    return Table(*header, title=title, title_justify="left", box=None, pad_edge=False)
