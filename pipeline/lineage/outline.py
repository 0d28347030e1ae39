"""Text as a tree of branches: guides at the left, long lines wrapped under themselves, however deep it goes.

A branch too deep for the width is drawn further down, from the left margin, and both places bear its number.
"""

import itertools
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

Span = tuple[str, str]
"""A text and its style, as rich names styles; '' for none."""
Line = tuple[Span, ...]
NBSP = "\u00a0"
"""A blank that no line is broken at; it is drawn as a plain one."""

_WIDTH = 140  # for guides, where lines may be as long as they come
_INDENT = 3
_LEAST_TEXT = 44  # columns left to the text of the deepest branch
_BLANKS = re.compile(r"(?<=[^ ])(?= )")
_BREAKS = "/,;=&?"  # within a word that is longer than a line


@dataclass
class Branch:
    """One node: its lines, the first of them its title, and what hangs on it."""

    lines: list[Line]
    children: list["Branch"] = field(default_factory=list)


def render(roots: list[Branch], width: int = 0) -> Iterator[Line]:
    """The lines of the trees, one tree after the other; broken where they are longer than `width`, unless that is 0."""
    for _, prefix, line, hanging in _drawn(roots, width):
        yield from _wrapped(prefix, line, hanging, width)


def places(roots: list[Branch], width: int = 0) -> dict[int, int]:
    """Where each branch comes, from the top, by its identity."""
    found: dict[int, int] = {}
    for branch, *_ in _drawn(roots, width):
        found.setdefault(id(branch), len(found))
    return found


_Drawn = tuple[Branch, str, Line, str]
"""A line of a branch, with the guides before it and before what it wraps to."""


def _drawn(roots: list[Branch], width: int) -> Iterator[_Drawn]:
    deepest = max(((width or _WIDTH) - _LEAST_TEXT) // _INDENT, 2)
    waiting, numbers = deque(roots), itertools.count(1)
    while waiting:
        yield from _section(waiting.popleft(), deepest, waiting, numbers)


def _section(root: Branch, deepest: int, later: deque[Branch], numbers: Iterator[int]) -> Iterator[_Drawn]:
    """One tree from the left margin; what is too deep is put off till later."""
    todo = [(root, "", "", 0)]
    while todo:
        branch, before_title, before, depth = todo.pop()
        put_off = depth == deepest and bool(branch.children)
        inner = before + ("│  " if branch.children and not put_off else "   ")
        for prefix, line in zip(itertools.chain([before_title], itertools.repeat(inner)), branch.lines, strict=False):
            yield branch, prefix, line, inner
        if put_off:
            number = f"({next(numbers)})"
            yield branch, inner, (("goes on below at ", ""), (number, "bold")), inner
            later.append(Branch([((number, "bold"), (" ", ""), *branch.lines[0])], branch.children))
            continue
        for child in reversed(branch.children):
            last = child is branch.children[-1]
            todo.append((child, before + ("└─ " if last else "├─ "), before + ("   " if last else "│  "), depth + 1))


def _wrapped(prefix: str, line: Line, hanging: str, width: int) -> Iterator[Line]:
    """A line in as many lines as it needs."""
    shown: list[Span] = [(prefix, "dim")] if prefix else []
    used = len(prefix)
    hanging += "  "
    for word in _words(line, width - len(hanging) if width else 0):
        length = sum(len(text) for text, _ in word)
        if width and used + length > width and used > len(hanging):
            yield tuple(shown)
            shown, used = [(hanging, "dim")], len(hanging)
            length -= len(word[0][0]) - len(word[0][0].lstrip(" "))
            word[0] = (word[0][0].lstrip(" "), word[0][1])
        for text, style in word:
            _append(shown, text.replace(NBSP, " "), style)
        used += length
    yield tuple(shown)


def _append(line: list[Span], text: str, style: str) -> None:
    """Adds to the last span where it has the same style."""
    if line and line[-1][1] == style:
        text = line.pop()[0] + text
    line.append((text, style))


def _words(line: Line, longest: int) -> Iterator[list[Span]]:
    """The words, each with the blanks before it, in one style or several; one that no line could hold comes in pieces."""
    word: list[Span] = []
    for text, style in line:
        for part in _BLANKS.split(text):
            if part.startswith(" ") and word:
                yield from _pieces(word, longest)
                word = []
            if part:
                word.append((part, style))
    yield from _pieces(word, longest)


def _pieces(word: list[Span], longest: int) -> Iterator[list[Span]]:
    if not longest or sum(len(text) for text, _ in word) <= longest:
        yield word
        return
    for text, style in word:
        rest = text
        while len(rest) > longest:
            end = max(rest.rfind(mark, 1, longest) for mark in _BREAKS) + 1
            end = end if end > longest // 3 else longest
            yield [(rest[:end], style)]
            rest = rest[end:]
        yield [(rest, style)]
