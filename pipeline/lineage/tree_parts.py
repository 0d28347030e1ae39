"""What drawing upwards and downwards have in common: the branches, and references to those drawn elsewhere."""

from collections import deque
from dataclasses import dataclass, field

from pipeline.lineage.facts import Source
from pipeline.lineage.graph import Graph
from pipeline.lineage.outline import Branch, Line, places


@dataclass
class Drawing:
    """A tree as it grows, the nearest steps first, so that each is drawn where it is nearest to the root.

    Attributes:
      graph: what is drawn.
      sources: the source files of an artifact.
      near: the executions that are not too deep.
      roots: the tops of the trees.
      artifacts: where each artifact is drawn.
      executions: where each execution is drawn.
    """

    graph: Graph
    sources: dict[int, list[Source]]
    near: set[int]
    roots: list[Branch] = field(default_factory=list)
    artifacts: dict[int, Branch] = field(default_factory=dict)
    executions: dict[int, Branch] = field(default_factory=dict)
    waiting: deque[tuple[Branch, tuple[int, ...]]] = field(default_factory=deque)
    _references: list[tuple[Branch, int, Branch]] = field(default_factory=list)

    def refer(self, branch: Branch, line: Line, target: Branch) -> None:
        """Adds a line to `branch` about what is drawn elsewhere, at `target`."""
        self._references.append((branch, len(branch.lines), target))
        branch.lines.append(line)

    def resolve(self, width: int) -> None:
        """Says of each reference whether it means something above or below; called when everything is drawn."""
        found = places(self.roots, width)
        for branch, number, target in self._references:
            where = "above" if found[id(target)] <= found[id(branch)] else "below"
            branch.lines[number] = (*branch.lines[number], (f" (see {where})", "dim"))
