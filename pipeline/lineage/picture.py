"""What a drawing of a lineage shows, whatever language it is drawn in: nodes with a few words, edges, runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.lineage import facts
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.facts import Source
from pipeline.lineage.graph import Graph
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.wording import is_final, printable, seconds_words, state_of, table_words

Kind = Literal["table", "model", "file", "artifact", "execution"]
Look = Literal["plain", "serving", "start", "cached", "failed", "gone"]
_TABLES = ("SourceTable", "PreparedTable", "Examples", "Rejects")
_MOST_SOURCES = 12  # of one table


@dataclass(frozen=True)
class Node:
    """An artifact, an execution or a source file.

    Attributes:
      id: a letter and a number.
      kind: what its shape is by.
      look: what it stands out by.
      lines: its words.
      run: the run that it belongs to, that of its maker for an artifact; '' for none.
      source: the source file.
    """

    id: str
    kind: Kind
    look: Look
    lines: tuple[str, ...]
    run: str
    source: Source | None = None


@dataclass(frozen=True)
class Edge:
    """The way of the data from one node to another."""

    tail: str
    head: str
    label: str = ""


@dataclass(frozen=True)
class Picture:
    """All that is drawn."""

    caption: str
    hidden_resolvers: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def by_run(self) -> dict[str, list[Node]]:
        """The nodes of each run, those of none under ''."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.run, []).append(node)
        return found


def picture(lineage: Lineage, left_out: int = 0) -> Picture:
    """Puts a lineage into words and edges, in the order of its ids; the caption tells how many steps are left out."""
    graph = Graph(lineage)
    found = graph.lineage
    files = list(_files(facts.source_files(found)))
    nodes = [
        *(node for _, _, node in files),
        *(_execution(execution) for _, execution in sorted(found.executions.items())),
        *(_artifact(graph, artifact) for _, artifact in sorted(found.artifacts.items())),
    ]
    edges = [
        *(Edge(node.id, f"e{graph.maker(artifact)}") for artifact, _, node in files),
        *(
            Edge(f"a{event.artifact}", f"e{event.execution}", printable(event.key))
            if event.is_input
            else Edge(f"e{event.execution}", f"a{event.artifact}", printable(event.key))
            for event in sorted(found.events, key=lambda e: (e.execution, not e.is_input, e.key, e.artifact))
        ),
    ]
    return Picture(
        _caption(graph, left_out),
        graph.hidden_resolvers,
        tuple({node.id: node for node in nodes}.values()),
        tuple(dict.fromkeys(edges)),
    )


def _caption(graph: Graph, left_out: int) -> str:
    words = "Everything that made" if graph.lineage.direction == "up" else "Everything made from"
    deeper = f" ({left_out:,} more steps left out)" if left_out else ""
    return f"{words} {printable(graph.lineage.subject)}{deeper}"


def _files(sources: dict[int, list[Source]]) -> Iterator[tuple[int, int, Node]]:
    """The artifact that was read from it, its number, and the node of each source file; a file may have several versions."""
    numbers: dict[Source, int] = {}
    for artifact, files in sources.items():
        for source in files[:_MOST_SOURCES]:
            number = numbers.setdefault(source, len(numbers))
            digest = f"digest {source.digest[:12]}" if source.digest else "digest not recorded"
            lines = (printable(source.path.rstrip("/").rpartition("/")[2] or source.path), printable(digest))
            yield artifact, number, Node(f"f{number}", "file", "plain", lines, "", source)
        if len(files) > _MOST_SOURCES:
            more = (f"{len(files) - _MOST_SOURCES:,} more files",)
            yield artifact, -artifact, Node(f"m{artifact}", "file", "plain", more, "")


def _execution(execution: Execution) -> Node:
    looks: dict[str, Look] = {"CACHED": "cached", "FAILED": "failed", "CANCELED": "failed"}
    told = ", ".join(filter(None, (state_of(execution), seconds_words(execution))))
    lines = (printable(execution.step), told)
    return Node(f"e{execution.id}", "execution", looks.get(execution.state, "plain"), lines, printable(execution.run))


def _artifact(graph: Graph, artifact: Artifact) -> Node:
    maker = graph.maker(artifact.id)
    run = graph.lineage.executions[maker].run if maker is not None else ""
    counts = table_words(artifact)
    kind: Kind = "model" if is_final(artifact) else "table" if artifact.type in _TABLES else "artifact"
    lines = (f"{printable(artifact.type)} {artifact.id}", *([printable(counts)] if counts else []))
    if artifact.id in graph.lineage.serving:
        lines = (*lines, "serving now")
    return Node(f"a{artifact.id}", kind, _look(graph, artifact), lines, printable(run))


def _look(graph: Graph, artifact: Artifact) -> Look:
    if artifact.id in graph.lineage.serving:
        return "serving"
    if artifact.state in ("DELETED", "ABANDONED", "MARKED_FOR_DELETION"):
        return "gone"
    return "start" if artifact.id in graph.lineage.start else "plain"
