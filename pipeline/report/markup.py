"""HTML and SVG as values: whatever is not markup already is escaped."""

import html
from collections.abc import Iterable, Sequence

_CONTROL = {code: None for code in range(32) if chr(code) not in "\n\t"}
"""Characters that HTML does not allow, whatever way they are written."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content = str | Html | None
"""What an element may hold; plain text is escaped, None left out."""


def element(name: str, *content: Content, **attributes: object) -> Html:
    """One element. An attribute's `_` is a `-`, at its end nothing; True stands for its bare name, None and False for none."""
    given = "".join(_attribute(key, value) for key, value in attributes.items())
    return Html(f"<{name}{given}>{join(content)}</{name}>")


def join(content: Iterable[Content]) -> Html:
    """One after the other."""
    return Html("".join(_escaped(one) for one in content if one is not None))


def table(
    header: Sequence[Content], rows: Iterable[Sequence[Content]], caption: str, numbers: Sequence[int] = ()
) -> Html:
    """A table whose first column names its rows.

    Args:
      header: the columns' names.
      rows: cells, as many as columns.
      caption: what it shows.
      numbers: places of the columns that are set right.
    """
    looks = dict.fromkeys(numbers, "number")
    head = [element("th", cell, scope="col", class_=looks.get(place)) for place, cell in enumerate(header)]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row", class_=looks.get(0)),
            *(element("td", cell, class_=looks.get(place)) for place, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    made = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", *body),
    )
    return element("div", made, class_="wide", tabindex="0", role="region", aria_label=caption)


def items(lines: Iterable[Content]) -> Html:
    """A list."""
    return element("ul", *(element("li", line) for line in lines))


def section(id_: str, title: str, *content: Content) -> Html:
    """A part of the page that can be linked to; nothing where it has no content."""
    held = join(content)
    return element("section", element("h2", title), held, id=id_) if held else Html("")


def folded(summary: str, *content: Content) -> Html:
    """What is shown when asked for."""
    return element("details", element("summary", summary), *content)


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escaped(str(value))}"'


def _escaped(text: str) -> str:
    return text if isinstance(text, Html) else html.escape(text.translate(_CONTROL))
