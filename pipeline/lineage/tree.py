"""A lineage as text for people: X at the root, and step by step what made it, or what was made from it."""

from collections.abc import Iterator, Mapping

from pipeline.lineage import facts, tree_down, tree_up
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.facts import Source
from pipeline.lineage.graph import Graph
from pipeline.lineage.outline import Branch, Line, render
from pipeline.lineage.records import Artifact
from pipeline.lineage.tree_parts import Drawing
from pipeline.lineage.tree_words import counted, title
from pipeline.lineage.wording import is_final, name_of, printable

DEPTH = 12
"""Steps shown unless told otherwise."""
_MOST_FINAL = 20  # models and predictions listed again at the end


def text(lineage: Lineage, depth: int = DEPTH, width: int = 0) -> str:
    """The tree without styles; see `lines`."""
    return "".join("".join(part for part, _ in line).rstrip() + "\n" for line in lines(lineage, depth, width))


def lines(lineage: Lineage, depth: int = DEPTH, width: int = 0) -> Iterator[Line]:
    """The tree, and under it how much was left out and how much there is.

    Args:
      lineage: what `ancestry.up` or `ancestry.down` found.
      depth: steps from the start that are shown; 0 for all.
      width: columns to keep within; 0 for lines as long as they come.
    """
    graph, sources = Graph(lineage), facts.source_files(lineage)
    levels = graph.levels()
    drawing = Drawing(graph, sources, {id_ for id_, level in levels.items() if not depth or level <= depth})
    (tree_up if lineage.direction == "up" else tree_down).draw(drawing)
    drawing.resolve(width)
    yield from render(drawing.roots, width)
    ending = [
        *(_finals(graph) if lineage.direction == "down" else ()),
        *_left_out(graph, len(levels) - len(drawing.near)),
    ]
    yield ()
    yield from render([Branch([line]) for line in [*ending, _totals(lineage, sources)]], width)


def _finals(graph: Graph) -> Iterator[Line]:
    """Models and predictions, those that serve now first, then the newest."""
    lineage = graph.lineage
    found = [a for id_, a in lineage.artifacts.items() if is_final(a) and id_ not in lineage.start]
    if not found:
        yield (("No model and no predictions were made from it.", "bold"),)
        return
    yield (("Models and predictions made from it:", "bold"),)
    ordered = sorted(found, key=lambda a: (a.id not in lineage.serving, -a.id))
    for artifact in ordered[:_MOST_FINAL]:
        yield (("  ", ""), *title(artifact, lineage), *_made_by(graph, artifact))
    if len(found) > _MOST_FINAL:
        yield ((f"  ... {len(found) - _MOST_FINAL:,} more; --json lists all", "dim"),)


def _made_by(graph: Graph, artifact: Artifact) -> Line:
    maker = graph.maker(artifact.id)
    if maker is None:
        return ()
    return ((", made by ", ""), (printable(name_of(graph.lineage.executions[maker])), "cyan"))


def _left_out(graph: Graph, deeper: int) -> Iterator[Line]:
    if deeper:
        yield ((f"... {counted(deeper, 'more step')}; --depth 0 shows all", "bold"),)
    if graph.hidden_resolvers:
        counts = counted(graph.hidden_resolvers, "look-up")
        yield ((f"{counts} of earlier artifacts (resolvers) that led nowhere not shown", "dim"),)


def _totals(lineage: Lineage, sources: Mapping[int, list[Source]]) -> Line:
    total = facts.totals(lineage, sources)
    words = [counted(total.artifacts, "artifact"), counted(total.executions, "execution"), counted(total.runs, "run")]
    if lineage.direction == "up":
        words.append(counted(total.source_files, "source file"))
    return ((", ".join(words), "bold"),)
