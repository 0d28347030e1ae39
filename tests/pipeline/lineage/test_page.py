"""The page: its data, its safety, and its drawing, as far as browser and JavaScript are there to try it."""

import base64
import hashlib
import itertools
import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import setuptools
from flights_world import DIGEST, flights
from hostile import TEXT, hostile_lineage
from html_reader import Reader
from store_factory import World, sqlite_store, write

from pipeline.lineage import ancestry, page
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.archive import Archive

NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium") or shutil.which("google-chrome")


def test_the_data_are_the_records(tmp_path: Path) -> None:
    lineage = ancestry.up(flights(tmp_path).archive, "run-1/push")
    data = Reader(page.text(lineage)).data
    nodes = {node["id"]: node for node in data["nodes"]}
    assert data == page.data(lineage)
    assert set(nodes) == {f"a{i}" for i in lineage.artifacts} | {f"e{i}" for i in lineage.executions} | {"f0"}
    assert (data["start"], data["direction"], data["caption"]) == (["a7"], "up", "Everything that made run-1/push")
    assert (nodes["a5"]["kind"], nodes["a5"]["look"], nodes["e4"]["run"]) == ("model", "serving", "run-1")
    assert nodes["e4"]["record"]["properties"]["config"] == {"rounds": 400, "params": {"eta": 0.1}}
    assert nodes["f0"]["record"] == {"path": "/data/flights.csv", "digest": DIGEST, "size": 30_100_000}
    assert {"tail": "a5", "head": "e6", "label": "model"} in data["edges"]
    assert {"tail": "f0", "head": "e1", "label": ""} in data["edges"]
    assert data["totals"] == {"artifacts": 6, "executions": 6, "runs": 1, "source_files": 1}


def test_it_needs_nothing_but_itself(tmp_path: Path) -> None:
    reader = Reader(page.text(ancestry.up(flights(tmp_path).archive, "run-1/push")))
    assert not [name for name, found in reader.tags if {"src", "href", "srcset", "action"} & found.keys()]
    code = [text for found, text in reader.of("script") if "id" not in found] + [text for _, text in reader.of("style")]
    addresses = {address for text in code for address in re.findall(r"\w+://[^\s\"'`]+|url\([^)]*\)", text)}
    assert addresses == {"http://www.w3.org/2000/svg", "url(#arrow)"}


def test_only_its_own_script_and_style_may_run(tmp_path: Path) -> None:
    reader = Reader(page.text(hostile_lineage(tmp_path)))
    (policy,) = (str(found["content"]) for found, _ in reader.of("meta") if "http-equiv" in found)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    ((_, script),) = ((found, text) for found, text in reader.of("script") if "id" not in found)
    ((_, style),) = reader.of("style")
    for text, rule in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_no_text_of_the_store_becomes_markup(tmp_path: Path) -> None:
    calm = Reader(page.text(ancestry.up(flights(tmp_path).archive, "run-1/push")))
    text = page.text(hostile_lineage(tmp_path / "serving"))
    hostile = Reader(text)
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in calm.tags]
    assert text.count("<script") == text.count("</script>") == 2
    assert "alert(1)</script>" not in text
    assert "<!--" not in text
    labels = [line for node in hostile.data["nodes"] for line in node["lines"]]
    assert TEXT in labels  # whole, as text
    assert {edge["label"] for edge in hostile.data["edges"]} == {TEXT, "model", "b"}


def test_a_subject_is_a_title_as_it_was_written(tmp_path: Path) -> None:
    world = World()
    world.artifact("Model", f"/m/{TEXT}")
    write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    reader = Reader(page.text(ancestry.of_artifacts(Archive(store), f"/m/{TEXT}", "up", {1})))
    assert [text for _, text in (*reader.of("title"), *reader.of("h1"))] == [f"Everything that made /m/{TEXT}"] * 2


def test_its_parts_are_installed_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **settings: given.update(settings))
    folder = Path(page.__file__).parent
    runpy.run_path(str(folder.parents[1] / "setup.py"))
    parts = {path.name for path in folder.iterdir() if path.suffix in (".html", ".css", ".js")}
    patterns = given["package_data"]["pipeline.lineage"]
    assert parts == {path.name for pattern in patterns for path in folder.glob(pattern)}
    assert {"page.html", "page.css", "page.js"} <= parts


def scripts() -> str:
    folder = Path(page.__file__).parent
    return (folder / "page_layout.js").read_text()


def laid_out(lineage: Lineage, most: int, folded_runs: list[str]) -> dict[str, Any]:
    """What the page's own code shows of a lineage at first, and where, run by Node."""
    program = f"""
    const data = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const near = adjacency(data.nodes, data.edges);
    const away = data.direction === "up" ? near.back : near.out;
    const levels = levelsFrom(data.start, away, data.nodes.map((node) => node.id));
    const closed = closedBeyond(levels, away, {most});
    const visible = visibleFrom(data.start, away, closed);
    const drawn = folded(data.nodes, data.edges, visible, new Set({json.dumps(folded_runs)}));
    const found = layout(drawn.shown, drawn.wires, data.direction === "up");
    const places = Object.fromEntries(drawn.shown.map((node) => [node.id, found.places.get(node.id)]));
    process.stdout.write(JSON.stringify({{ places, wires: drawn.wires, closed: [...closed] }}));
    """
    done = subprocess.run(
        [str(NODE), "-e", scripts() + program],
        input=json.dumps(page.data(lineage)),
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_columns_follow_the_data_and_nothing_overlaps(tmp_path: Path) -> None:
    archive = flights(tmp_path).archive
    for lineage in (ancestry.up(archive, "run-1/push"), ancestry.down(archive, "run-1/flights")):
        found = laid_out(lineage, 120, [])
        places = found["places"]
        assert len(places) == len(page.data(lineage)["nodes"])
        assert found["closed"] == []
        assert all(places[wire["tail"]]["column"] < places[wire["head"]]["column"] for wire in found["wires"])
        by_column: dict[int, list[tuple[float, float]]] = {}
        for place in places.values():
            by_column.setdefault(place["column"], []).append((place["y"], place["y"] + place["height"]))
        for column in map(sorted, by_column.values()):
            assert all(above[1] < below[0] for above, below in itertools.pairwise(column))
        assert all(place["x"] > 0 and place["y"] > 0 for place in places.values())


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_what_is_far_is_closed_at_first(tmp_path: Path) -> None:
    world = World()
    artifact = world.artifact("Examples")
    for step in range(500):
        made = [world.artifact("Examples") for _ in range(3)]
        world.execute("prepare", {"in": [artifact]}, {"out": made}, run=f"run-{step}")
        artifact = made[0]
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    lineage = ancestry.down(Archive(store), str(written.artifacts[0]))
    found = laid_out(lineage, 120, [])
    assert 100 < len(found["places"]) <= 120
    assert len(found["closed"]) == 1
    assert len(laid_out(lineage, 3_000, [])["places"]) == 2_001


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_folded_runs_are_one_node_each_even_in_a_circle(tmp_path: Path) -> None:
    """Run 1 makes what run 2 reads, whose output run 1, gone on with, reads again."""
    world = World()
    first, second, third = (world.artifact("Examples") for _ in range(3))
    world.execute("a", {}, {"out": [first]}, run="run-1")
    world.execute("b", {"in": [first]}, {"out": [second]}, run="run-2")
    world.execute("c", {"in": [second]}, {"out": [third]}, run="run-1")
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    lineage = ancestry.up(Archive(store), str(written.artifacts[third]))
    found = laid_out(lineage, 120, ["run-1", "run-2"])
    assert set(found["places"]) == {"run:run-1", "run:run-2"}
    assert {(wire["tail"], wire["head"]) for wire in found["wires"]} == {
        ("run:run-1", "run:run-2"), ("run:run-2", "run:run-1"),
    }  # fmt: skip
    assert set(laid_out(lineage, 120, ["run-2"])["places"]) == {"a1", "a3", "e1", "e3", "run:run-2"}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_draws_it(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page.text(hostile_lineage(tmp_path)))
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom")
    done = subprocess.run(
        [str(CHROMIUM), *options, file.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    reader = Reader(done.stdout)
    drawn = [found for name, found in reader.tags if name == "g" and "node" in str(found.get("class")).split()]
    assert {str(found["data-id"]) for found in drawn} == {"a1", "e1", "a2", "e2", "e3", "a3"}
    assert "4 artifacts" not in done.stdout
    assert "3 artifacts, 3 executions, 2 runs; 6 of 6 nodes shown." in done.stdout
    assert [found for name, found in reader.tags if name == "script" and "id" not in found] == [{}]
