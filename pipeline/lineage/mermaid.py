"""A lineage in Mermaid's language, for pages that draw it: a shape a kind, a subgraph a run."""

from collections.abc import Iterable, Iterator

from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.picture import Node, Picture, picture

MOST_EDGES, MOST_CHARACTERS = 500, 50_000
"""What Mermaid draws unless the page that draws it is set up for more; a diagram cannot raise it itself."""
_SHAPES = {
    "table": ('[("', '")]'),
    "model": ('{{"', '"}}'),
    "file": ('[/"', '"/]'),
    "artifact": ('["', '"]'),
    "execution": ('(["', '"])'),
}
_CLASSES = {
    "serving": "fill:#c8f7c5,stroke:#1b7f3b,stroke-width:4px,color:#000",
    "start": "fill:#fff8c5,stroke-width:2px,color:#000",
    "cached": "stroke-dasharray:5 3",
    "failed": "fill:#ffe0e0,stroke:#c00,color:#000",
    "gone": "stroke-dasharray:1 3",
}
_PLAIN = frozenset(" _-./,=()+:*")


def text(lineage: Lineage, left_out: int = 0) -> str:
    """A `flowchart` that flows from left to right, as the data did; a comment in it says so where Mermaid may refuse it."""
    drawn = picture(lineage, left_out)
    body = "\n".join(_body(drawn))
    comments = [_comment(drawn.caption), *_beyond(len(drawn.edges), len(body))]
    return "\n".join(["flowchart LR", *(f"  %% {comment}" for comment in comments), body]) + "\n"


def too_large(diagram: str) -> str:
    """What to know of a diagram that is beyond Mermaid's limits; '' for one that is not."""
    return next((line.removeprefix("  %% ") for line in diagram.splitlines()[2:3] if line.startswith("  %% ")), "")


def _beyond(edges: int, characters: int) -> Iterator[str]:
    if edges > MOST_EDGES or characters > MOST_CHARACTERS:
        yield (
            f"{edges:,} edges and {characters:,} characters: Mermaid draws at most {MOST_EDGES} and {MOST_CHARACTERS:,}, "
            "unless its page sets maxEdges and maxTextSize. --depth N draws less; html and dot have no such limit."
        )


def _body(drawn: Picture) -> Iterator[str]:
    for number, (run, nodes) in enumerate(drawn.by_run().items()):
        yield from _subgraph(number, run, nodes) if run else (f"  {_node(node)}" for node in nodes)
    for edge in drawn.edges:
        label = f' -- "{_escaped(edge.label)}" --> ' if edge.label else " --> "
        yield f"  {edge.tail}{label}{edge.head}"
    used = {node.look for node in drawn.nodes}
    yield from (f"  classDef {look} {style}" for look, style in _CLASSES.items() if look in used)


def _subgraph(number: int, run: str, nodes: Iterable[Node]) -> Iterator[str]:
    yield f'  subgraph r{number}["{_escaped(run)}"]'
    yield from (f"    {_node(node)}" for node in nodes)
    yield "  end"


def _node(node: Node) -> str:
    before, after = _SHAPES[node.kind]
    look = f":::{node.look}" if node.look != "plain" else ""
    return f"{node.id}{before}{'<br/>'.join(map(_escaped, node.lines))}{after}{look}"


def _escaped(text: str) -> str:
    """The text with every character that Mermaid, Markdown or HTML might read anything into as a character code."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text) or " "


def _comment(text: str) -> str:
    """The text as a comment: one that neither ends the line nor begins a directive."""
    return text.replace("{", "(").replace("}", ")")
