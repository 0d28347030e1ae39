"""`braid lineage diff`."""

from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.padding import Padding

from pipeline.cli import options
from pipeline.cli.questions import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipeline.lineage.changes import Change
    from pipeline.lineage.differences import Difference

_TITLES = {
    "source file": "Source files",
    "configuration": "Configuration",
    "code": "Code",
    "step": "Steps of one pipeline only",
    "parameter": "Parameters of steps",
    "schema": "Schema file",
    "column": "Columns",
    "rows": "Rows",
    "content": "Tables with other content",
    "statistics": "Distributions",
    "feature": "Features",
    "model": "Models",
    "metric": "Metrics",
    "artifact": "Other outputs",
    "blessing": "Blessing",
    "push": "What was pushed",
    "outcome": "How steps ended",
}
_LONGEST = 60
_DIGITS = 10  # of a digest, for a person to compare


@click.command("diff")
@click.argument("before", metavar="RUN")
@click.argument("after", metavar="RUN")
@click.option(
    "--bound",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="How far a column's distribution may drift without being told.",
)
@click.option("--slices", is_flag=True, help="Show every metric of every slice.")
@options.workspace
@options.store
@options.as_json
def command(before: str, after: str, bound: float, slices: bool, workspace: str, store: str, as_json: bool) -> None:
    """Tell what changed from one RUN to another (`latest` is the newest), causes before their effects."""
    from pipeline import terminal
    from pipeline.lineage import differences

    found = differences.diff(opened.archive(workspace, store), before, after, bound)
    if as_json:
        options.print_json(found.to_dict())
    else:
        show(terminal.console(), found, slices)


def show(console: "Console", found: "Difference", slices: bool) -> None:
    """The changes under a title for each kind, then what is equal, then what could not be compared."""
    console.print(f"From [bold]{escape(found.before)}[/] to [bold]{escape(found.after)}[/]")
    if found.first_cause is None:
        console.print("No difference.")
    else:
        first = found.first_cause
        console.print(f"First cause: [bold]{first.kind}[/] {escape(first.where)}", soft_wrap=True)
    for kind, title in _TITLES.items():
        changes = [change for change in found.changes if change.kind == kind]
        if changes:
            console.print(f"\n[bold]{title}[/]")
            _metrics(console, changes, slices) if kind == "metric" else _changes(console, changes)
    changed = {change.kind for change in found.changes}
    equal = [f"{count:,} of {kind}" for kind, count in found.compared.items() if count and kind not in changed]
    if equal:
        console.print(f"\nCompared and the same: {', '.join(equal)}.")
    for sentence in found.unknown:
        console.print(f"[yellow]{escape(sentence)}[/]", soft_wrap=True)


def _changes(console: "Console", changes: "Sequence[Change]") -> None:
    from pipeline import terminal

    shown = terminal.table("", "before", "after", "")
    for change in changes:
        is_lines = "\n" in change.note
        before, after = ("", "") if is_lines else words_of_both(change.before, change.after)
        note = "see below" if is_lines else _note(change)
        shown.add_row(escape(change.where), escape(before), escape(after), escape(note))
    shown.show_header = False
    for column in shown.columns:
        column.overflow = "fold"
    console.print(Padding(shown, (0, 2)))
    for change in changes:
        if "\n" in change.note:
            console.print(f"\n  {escape(change.where)}")
            show_lines(console, change.note)


def _short(key: str, words: str) -> str:
    return words[:_DIGITS] if key == "digest" else words


def _note(change: "Change") -> str:
    if change.size is None:
        return change.note
    return f"{change.size:.4f} {change.note}"


def _metrics(console: "Console", changes: "Sequence[Change]", slices: bool) -> None:
    from pipeline import terminal

    shown = terminal.table("metric", "before", "after", "change", "")
    left_out = 0
    for change in changes:
        if "[" in change.where and change.beyond is not True and not slices:
            left_out += 1
            continue
        moved = "" if change.size is None else f"{change.size:+.4f}"
        style = "bold" if change.beyond else ""
        words = (change.where, value_words(change.before), value_words(change.after), moved, change.note)
        shown.add_row(*map(escape, words), style=style)
    console.print(Padding(shown, (0, 2)))
    if left_out:
        console.print(f"  and {left_out:,} of slices, within their intervals: --slices shows them")


def show_lines(console: "Console", note: str) -> None:
    """The difference of two texts, what is gone in red, what is new in green."""
    for line in note.splitlines():
        color = {"-": "red", "+": "green", "@": "cyan"}.get(line[:1], "")
        console.print(f"      {escape(line)}", style=color, soft_wrap=True)


def words_of_both(before: Any, after: Any) -> tuple[str, str]:
    """Two values in a few words each; of long texts that begin alike, from where they differ."""
    if isinstance(before, str) and isinstance(after, str) and min(len(before), len(after)) > _LONGEST:
        pairs = enumerate(zip(before, after, strict=False))
        alike = next((place for place, (old, new) in pairs if old != new), 0)
        if alike > _LONGEST // 2:
            return value_words(f"...{before[alike - 10 :]}"), value_words(f"...{after[alike - 10 :]}")
    return value_words(before), value_words(after)


def value_words(value: Any) -> str:
    """A value of a change in a few words."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(key, value_words(part))}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(value_words, value)) or "(none)"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
