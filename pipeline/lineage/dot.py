"""A lineage in Graphviz's language: a shape a kind, a cluster a run."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.picture import Node, Picture, picture

_SHAPES = {"table": "cylinder", "model": "box3d", "file": "note", "artifact": "box", "execution": "oval"}
_LOOKS = {
    "plain": {},
    "serving": {"style": "filled", "fillcolor": "palegreen", "color": "darkgreen", "penwidth": "3"},
    "start": {"style": "filled", "fillcolor": "lightyellow", "penwidth": "2"},
    "cached": {"style": "dashed"},
    "failed": {"style": "filled", "fillcolor": "mistyrose", "color": "red"},
    "gone": {"style": "dotted"},
}


def text(lineage: Lineage, left_out: int = 0) -> str:
    """A `digraph` that flows from left to right, as the data did."""
    return "\n".join(_lines(picture(lineage, left_out))) + "\n"


def _lines(drawn: Picture) -> Iterator[str]:
    yield "digraph lineage {"
    yield from _settings({"rankdir": "LR", "label": drawn.caption, "labelloc": "t", "fontname": "sans-serif"}, "  ")
    yield f"  node [{_attributes({'fontname': 'sans-serif', 'fontsize': '10'})}]"
    yield f"  edge [{_attributes({'fontname': 'sans-serif', 'fontsize': '8'})}]"
    for number, (run, nodes) in enumerate(drawn.by_run().items()):
        yield from _cluster(number, run, nodes) if run else (f"  {_node(node)}" for node in nodes)
    for edge in drawn.edges:
        label = f" [{_attributes({'label': edge.label})}]" if edge.label else ""
        yield f"  {edge.tail} -> {edge.head}{label}"
    yield "}"


def _cluster(number: int, run: str, nodes: Iterable[Node]) -> Iterator[str]:
    yield f"  subgraph cluster_{number} {{"
    yield from _settings({"label": run, "style": "rounded", "color": "gray"}, "    ")
    yield from (f"    {_node(node)}" for node in nodes)
    yield "  }"


def _settings(values: Mapping[str, str], indent: str) -> Iterator[str]:
    return (f"{indent}{key}={_quoted(value)}" for key, value in values.items())


def _node(node: Node) -> str:
    look = {"shape": _SHAPES[node.kind], "label": "\n".join(node.lines), **_LOOKS[node.look]}
    return f"{node.id} [{_attributes(look)}]"


def _attributes(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={_quoted(value)}" for key, value in values.items())


def _quoted(text: str) -> str:
    """A quoted string that shows as `text`: no escape, no entity and no end of the string is read in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", "\\n")
    return f'"{escaped}"'
