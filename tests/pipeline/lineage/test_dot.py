"""Graphviz's language: read back by its own parser where there is one, and by another."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import pydot
import pytest
from flights_world import flights
from hostile import TEXT, hostile_lineage
from store_factory import random_world, sqlite_store, write

from pipeline.lineage import ancestry, dot
from pipeline.lineage.archive import Archive
from pipeline.lineage.graph import Graph

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dot_parser", "ignore::DeprecationWarning:pydot")


def parsed(text: str) -> pydot.Dot:
    (graph,) = pydot.graph_from_dot_data(text)
    return graph


def nodes(graph: pydot.Dot) -> dict[str, pydot.Node]:
    """The nodes of a graph and of its clusters."""
    inner = [node for cluster in graph.get_subgraphs() for node in cluster.get_nodes()]
    return {
        node.get_name(): node
        for node in [*graph.get_nodes(), *inner]
        if node.get_name() not in ("node", "edge", "graph")
    }


def shown(quoted: str) -> str:
    """The text that Graphviz shows for a quoted label."""
    text = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), quoted.removeprefix('"').removesuffix('"'))
    return text.replace("&amp;", "&")


def test_shapes_runs_and_marks(tmp_path: Path) -> None:
    graph = parsed(dot.text(ancestry.down(flights(tmp_path).archive, "run-1/flights.table")))
    found = nodes(graph)
    shapes = {name: node.get_shape().strip('"') for name, node in found.items()}
    assert (shapes["a1"], shapes["a3"], shapes["a5"], shapes["a6"], shapes["e4"]) == (
        "cylinder", "cylinder", "box3d", "box", "oval",
    )  # fmt: skip
    assert found["a5"].get_fillcolor() == '"palegreen"'
    assert found["e7"].get_style() == '"dashed"'
    assert found["e8"].get_color() == '"red"'
    assert "e9" not in found  # a resolver that led nowhere
    clusters = {shown(c.get_label()): {n.get_name() for n in c.get_nodes()} for c in graph.get_subgraphs()}
    assert clusters == {"run-1": {"e2", "e3", "e4", "e5", "e6", "a3", "a4", "a5", "a6", "a7"}, "run-2": {"e7", "e8"}}
    edges = {(e.get_source(), e.get_destination(), shown(e.get_label())) for e in graph.get_edges()}
    assert ("a5", "e6", "model") in edges
    assert ("e6", "a7", "pushed_model") in edges


def test_source_files_upwards(tmp_path: Path) -> None:
    graph = parsed(dot.text(ancestry.up(flights(tmp_path).archive, "run-1/push")))
    assert shown(nodes(graph)["f0"].get_label()) == "flights.csv\ndigest 4e1da34a4e1d"
    assert ("f0", "e1") in {(edge.get_source(), edge.get_destination()) for edge in graph.get_edges()}


def test_any_text_is_shown_as_it_is(tmp_path: Path) -> None:
    graph = parsed(dot.text(hostile_lineage(tmp_path)))
    labels = {name: shown(node.get_label()) for name, node in nodes(graph).items()}
    assert labels["e1"].split("\n")[0] == TEXT
    assert labels["a1"] == f"SourceTable 1\n{TEXT}: 3 rows"
    assert {shown(edge.get_label()) for edge in graph.get_edges()} == {TEXT, "model", "b"}
    assert {shown(cluster.get_label()) for cluster in graph.get_subgraphs()} == {TEXT, "run-1"}


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_itself_shows_it_as_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        ["dot", "-Tplain"], input=dot.text(hostile_lineage(tmp_path)), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "SourceTable 1" in done.stdout


@pytest.mark.parametrize("seed", range(8))
def test_any_graph(seed: int, tmp_path: Path) -> None:
    world = random_world(random.Random(seed), 40)
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    for id_ in written.artifacts[::9]:
        for ask in (ancestry.up, ancestry.down):
            lineage = Graph(ask(archive, str(id_))).lineage
            graph = parsed(dot.text(lineage))
            assert set(nodes(graph)) == {f"a{i}" for i in lineage.artifacts} | {f"e{i}" for i in lineage.executions}
            ends = {(edge.get_source(), edge.get_destination()) for edge in graph.get_edges()}
            assert ends == {
                (f"a{e.artifact}", f"e{e.execution}") if e.is_input else (f"e{e.execution}", f"a{e.artifact}")
                for e in lineage.events
            }
