"""Random projects with a known graph of what uses what: an edit changes the digest exactly when the graph says so."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.code_closure import CodeChange, changed, code_closure

MODULES = ("one", "two", "deep.three", "deep.four", "deep.er.five")
STYLES = ("from", "from as", "import", "import as", "relative", "inside", "inside as", "hub", "star", "lazy")
KINDS = ("function", "class", "value")


@dataclass(frozen=True)
class Node:
    """A definition `name` of a module, or, without a name, what the module does as it is imported."""

    module: str
    name: str

    @property
    def full(self) -> str:
        return f"app.{self.module}.{self.name or '<module>'}"


@dataclass(frozen=True)
class Edge:
    user: Node
    used: Node
    style: str

    @property
    def style_here(self) -> str:
        """Within a module a name is just a name; at a module's top level nothing is imported inside."""
        if self.user.module == self.used.module:
            return "own"
        return "from" if not self.user.name and self.style.startswith("inside") else self.style


@dataclass(frozen=True)
class Graph:
    kinds: dict[Node, str]
    edges: tuple[Edge, ...]
    acting: frozenset[str]

    def reached(self, entry: Node) -> set[Node]:
        """The plain closure; a module that is imported imports in turn, and does what it does."""
        found, todo, loaded = {entry}, [entry], set[str]()
        waiting = [entry.module]
        while todo or waiting:
            while waiting:
                module = waiting.pop()
                if module not in loaded:
                    loaded.add(module)
                    waiting += self.imports(module)
                    todo += [node for node in [Node(module, "")] if module in self.acting]
            if todo:
                node = todo.pop()
                found.add(node)
                waiting.append(node.module)
                for edge in self.edges:
                    if edge.user == node:
                        todo += [edge.used] if edge.used not in found else []
                        waiting += self.of_style(edge)
        return found

    def imports(self, module: str) -> list[str]:
        """The modules that a module imports at its top level; the hub imports all that it hands on."""
        if module == "hub":
            return [edge.used.module for edge in self.edges if edge.style_here == "hub"]
        mine = [edge for edge in self.edges if edge.user.module == module and not edge.style_here.startswith("inside")]
        return [found for edge in mine for found in self.of_style(edge)]

    def of_style(self, edge: Edge) -> list[str]:
        if edge.style_here == "own":
            return []
        if edge.style_here == "lazy":
            # The package's __getattr__ imports the module when it is asked, not before.
            return []
        return ["hub", edge.used.module] if edge.style_here == "hub" else [edge.used.module]


def nodes() -> st.SearchStrategy[list[Node]]:
    names = [Node(module, name) for module in MODULES for name in ("f", "g", "h")]
    return st.lists(st.sampled_from(names), min_size=3, max_size=len(names), unique=True)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    chosen = draw(nodes())
    kinds = {node: draw(st.sampled_from(KINDS)) for node in chosen}
    modules = sorted({node.module for node in chosen})
    acting = frozenset(draw(st.sets(st.sampled_from(modules), max_size=2)))
    users = st.sampled_from([*chosen, *(Node(module, "") for module in sorted(acting))])
    edge = st.builds(Edge, users, st.sampled_from(chosen), st.sampled_from(STYLES))
    edges = draw(st.lists(edge, max_size=2 * len(chosen), unique_by=lambda one: (one.user, one.used)))
    return Graph(kinds, tuple(edges), acting)


def write(graph: Graph, root: Path) -> None:
    hubs = {edge.used for edge in graph.edges if edge.style_here == "hub"}
    lazies = {edge.used for edge in graph.edges if edge.style_here == "lazy"}
    table = ", ".join(f'"{alias(node)}": ("app.{node.module}", "{node.name}")' for node in sorted(lazies, key=alias))
    lazy = f"import importlib\n_LAZY = {{{table}}}\ndef __getattr__(name):\n    module, real = _LAZY[name]\n"
    lazy += "    return getattr(importlib.import_module(module), real)\n"
    contents = {
        "lazy": lazy,
        "hub": "".join(f"from app.{n.module} import {n.name} as {alias(n)}\n" for n in sorted(hubs, key=alias)),
    }
    for module in MODULES:
        mine = [node for node in graph.kinds if node.module == module]
        contents[module] = module_text(graph, module, mine)
    for module, text in contents.items():
        path = root.joinpath("app", *module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def alias(node: Node) -> str:
    return f"{node.module.replace('.', '_')}_{node.name}"


def module_text(graph: Graph, module: str, mine: list[Node]) -> str:
    acts = [Node(module, "")] if module in graph.acting else []
    bodies = [lines for node in [*mine, *acts] for lines in definition(graph, node)]
    heads = [line for edge in graph.edges if edge.user.module == module for line in import_lines(edge)[:1] if line]
    return "\n".join([*dict.fromkeys(heads), *bodies]) + "\n"


def import_lines(edge: Edge) -> tuple[str, str, str]:
    """What stands at the top of the module, what inside the definition, and the expression that uses it."""
    module, name, other = edge.used.module, edge.used.name, alias(edge.used)
    package, _, last = f"app.{module}".rpartition(".")
    dots = "." * (edge.user.module.count(".") + 1)
    return {
        "own": ("", "", name),
        "from": (f"from app.{module} import {name} as {other}", "", other),
        "from as": (f"from {package} import {last} as m_{other}", "", f"m_{other}.{name}"),
        "import": (f"import app.{module}", "", f"app.{module}.{name}"),
        "import as": (f"import app.{module} as i_{other}", "", f"i_{other}.{name}"),
        "relative": (f"from {dots}{module} import {name} as r_{other}", "", f"r_{other}"),
        "inside": ("", f"from app.{module} import {name}", name),
        "inside as": ("", f"import app.{module} as inner", f"inner.{name}"),
        "hub": (f"from app import hub\nimport app.{module}", "", f"hub.{other}"),
        "star": (f"from app.{module} import *\nimport app.{module} as s_{other}", "", f"s_{other}.{name}"),
        "lazy": ("import app.lazy", "", f"app.lazy.{other}"),
    }[edge.style_here]


def definition(graph: Graph, node: Node) -> Iterator[str]:
    """The source of a node; every one holds its own full name as a text, which an edit replaces."""
    edges = [edge for edge in graph.edges if edge.user == node]
    if not node.name:
        yield f"print({node.full!r}, [{', '.join(import_lines(edge)[2] for edge in edges)}])"
        return
    used = {import_lines(edge)[2] for edge in edges}
    hidden = ", ".join(
        f"{name}=1" for name in ("f", "g", "h") if name not in used
    )  # parameters, not the module's names
    uses = []
    for place, edge in enumerate(edges):
        _, inside, expression = import_lines(edge)
        # A name bound inside is local to the whole function: each use has a function of its own.
        uses += [
            f"    def u{place}():",
            *[f"        {inside}"] * bool(inside),
            f"        return {expression}, {hidden[:1] or 0}",
        ]
    text = f"    text = {node.full!r}"
    if graph.kinds[node] == "class":
        uses = [line.replace("():", f"({hidden}):") for line in uses]
        yield "\n".join([f"class {node.name}:", text, *uses])
    elif graph.kinds[node] == "function" or any(import_lines(edge)[1] for edge in edges):
        yield "\n".join([f"def {node.name}({hidden}):", text, *uses])
    else:
        yield f"{node.name} = ({node.full!r}, lambda: [{', '.join(import_lines(edge)[2] for edge in edges)}])"


@settings(max_examples=150, deadline=None)
@given(graphs(), st.data())
def test_an_edit_counts_exactly_when_the_definition_is_reached(graph: Graph, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(list(graph.kinds)))
    reached = graph.reached(entry)
    with tempfile.TemporaryDirectory() as folder:
        write(graph, Path(folder))
        roots = {"app": f"{folder}/app"}
        before = code_closure(entry.full, roots)
        hidden = {"app.lazy.__getattr__", "app.lazy._LAZY"}
        assert set(before.definitions) - hidden == {node.full for node in reached}
        acts = [Node(module, "") for module in sorted(graph.acting)]
        for node in [*graph.kinds, *acts]:
            path = Path(folder).joinpath("app", *node.module.split(".")).with_suffix(".py")
            text = path.read_text()
            path.write_text(text.replace(repr(node.full), repr(f"{node.full} edited")))
            after = code_closure(entry.full, roots)
            edited = (node.full,) if node in reached else ()
            assert changed(before.definitions, after.definitions) == CodeChange((), (), edited)
            assert (after.digest != before.digest) == (node in reached)
            path.write_text(text)
