"""The forms that an answer of `up` and `down` may take, and where it goes."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pipeline.lineage.ancestry import Lineage
    from pipeline.lineage.archive import Archive

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("tree", "json", "dot", "mermaid", "openlineage", "html")
_IN_ASCII = str.maketrans({"│": "|", "├": "|", "└": "`", "─": "-", "→": "->", "✓": "+", "✗": "x", "…": "..."})
_ENDINGS = {".json": "json", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".ndjson": "openlineage", ".html": "html"}


@dataclass(frozen=True)
class Form:
    """What was asked for.

    Attributes:
      format: one of `FORMATS`.
      out: the file to write; '' for standard output.
      depth: steps to show; 0 for all, None for what suits the format.
    """

    format: str
    out: str
    depth: int | None


def options(function: F) -> F:
    """--format, --json, --out and --depth, as the parameters `format_`, `as_json`, `out` and `depth`."""
    for option in (
        click.option(
            "--depth",
            type=click.IntRange(min=0),
            help="Steps to go from X; 0 for all.  [default: 12 in a tree, all in other formats]",
        ),
        click.option(
            "--out", default="", metavar="FILE", help="Write to FILE; its ending tells the format unless named."
        ),
        click.option("--json", "as_json", is_flag=True, help="Short for --format json."),
        click.option("--format", "format_", type=click.Choice(FORMATS), help="What to print.  [default: tree]"),
    ):
        function = option(function)
    return function


def form(format_: str | None, as_json: bool, out: str, depth: int | None) -> Form:
    """The form that the options ask for.

    Raises:
      click.UsageError: they contradict each other.
    """
    if as_json and format_ not in (None, "json"):
        raise click.UsageError(f"--json and --format {format_} contradict each other: name one.")
    by_ending = _ENDINGS.get(os.path.splitext(out)[1].lower(), "tree")
    return Form("json" if as_json else format_ or by_ending, out, depth)


def give(archive: "Archive", lineage: "Lineage", wanted: Form) -> None:
    """Prints or writes the answer."""
    if wanted.format == "tree":
        _tree(lineage, wanted)
        return
    from pipeline.lineage.graph import within

    near, left_out = within(lineage, wanted.depth or 0)
    _write(_texts(archive, near, wanted.format, left_out), wanted.out)
    if left_out:
        click.echo(f"{left_out:,} more steps left out by --depth {wanted.depth}; --depth 0 shows all.", err=True)


def _texts(archive: "Archive", lineage: "Lineage", format_: str, left_out: int) -> Iterable[str]:
    """The answer in pieces; only what the format needs is loaded."""
    if format_ == "json":
        from pipeline.lineage import as_json

        return [as_json.text(lineage, left_out)]
    if format_ == "dot":
        from pipeline.lineage import dot

        return [dot.text(lineage, left_out)]
    if format_ == "mermaid":
        from pipeline.lineage import mermaid

        diagram = mermaid.text(lineage, left_out)
        warning = mermaid.too_large(diagram)
        if warning:
            click.echo(warning, err=True)
        return [diagram]
    if format_ == "html":
        from pipeline.lineage import page

        return [page.text(lineage, left_out)]
    from pipeline.lineage import openlineage

    return openlineage.text(archive, lineage)


def _write(texts: Iterable[str], out: str) -> None:
    if not out:
        for text in texts:
            click.echo(text, nl=False)
        return
    with open(out, "w", encoding="utf-8") as stream:
        stream.writelines(texts)
    click.echo(f"Wrote {out}.")


def _tree(lineage: "Lineage", wanted: Form) -> None:
    from rich.text import Text

    from pipeline import terminal
    from pipeline.lineage import tree

    depth = tree.DEPTH if wanted.depth is None else wanted.depth
    if wanted.out:
        _write([tree.text(lineage, depth)], wanted.out)
        return
    console = terminal.console()
    for line in tree.lines(lineage, depth, console.width if console.is_terminal else 0):
        spans = ((_encodable(text, console.encoding), style) for text, style in line)
        console.print(Text.assemble(*spans), soft_wrap=True)


def _encodable(text: str, encoding: str) -> str:
    """The text for a terminal that may know no more than ASCII."""
    if encoding.lower().startswith("utf"):
        return text
    return text.translate(_IN_ASCII).encode(encoding, "backslashreplace").decode(encoding)
