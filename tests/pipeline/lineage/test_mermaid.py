"""Mermaid's language: each line by a grammar stricter than Mermaid's own, each text read back character by character."""

import re
from pathlib import Path

from flights_world import flights
from hostile import TEXT, hostile_lineage
from store_factory import World, sqlite_store, write

from pipeline.lineage import ancestry, mermaid
from pipeline.lineage.archive import Archive

LABEL = r'"((?:[^"#<>&`%{}\[\]|;\\$!\']|#\d+;|<br/>)+)"'  # nothing that Mermaid, Markdown or HTML reads anything into
NODE = rf"(?P<id>[aefm]\d+)(?P<shape>\[\({LABEL}\)\]|\{{\{{{LABEL}\}}\}}|\[/{LABEL}/\]|\(\[{LABEL}\]\)|\[{LABEL}\])(?::::(?P<look>\w+))?"
GRAMMAR = {
    "node": re.compile(rf"(?:  |    ){NODE}"),
    "edge": re.compile(rf"  (?P<tail>[aefm]\d+)(?: -- {LABEL})? --> (?P<head>[aefm]\d+)"),
    "subgraph": re.compile(rf"  subgraph r\d+\[{LABEL}\]"),
    "end": re.compile(r"  end"),
    "class": re.compile(r"  classDef \w+ [\w:#,. -]+"),
    "comment": re.compile(r"  %% [^{}]*"),
}


def read(text: str) -> list[tuple[str, re.Match[str]]]:
    """Each line's kind and parts."""
    first, *lines = text.splitlines()
    assert first == "flowchart LR"
    found = []
    for line in lines:
        matches = [(kind, match) for kind, rule in GRAMMAR.items() if (match := rule.fullmatch(line))]
        assert len(matches) == 1, line
        found.append(matches[0])
    return found


def shown(match: re.Match[str]) -> str:
    """The text that Mermaid shows for the label in a line."""
    label = next(
        (part for name, part in enumerate(match.groups()) if part and part in match[0] and f'"{part}"' in match[0]), ""
    )
    return re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label.replace("<br/>", "\n"))


def test_shapes_runs_and_marks(tmp_path: Path) -> None:
    found = read(mermaid.text(ancestry.down(flights(tmp_path).archive, "run-1/flights.table")))
    nodes = {match["id"]: match for kind, match in found if kind == "node"}
    openings = {id_: re.sub(r'".*', "", match["shape"]) for id_, match in nodes.items()}
    assert (openings["a1"], openings["a5"], openings["a6"], openings["e4"]) == ("[(", "{{", "[", "([")
    looks = {id_: match["look"] for id_, match in nodes.items() if match["look"]}
    assert looks == {"a1": "start", "a5": "serving", "a7": "serving", "e7": "cached", "e8": "failed"}
    assert shown(nodes["e8"]) == "select\nfailed, 1.5 s"
    assert [shown(match) for kind, match in found if kind == "subgraph"] == ["run-1", "run-2"]
    assert sum(kind == "end" for kind, _ in found) == 2
    edges = {(match["tail"], match["head"], shown(match)) for kind, match in found if kind == "edge"}
    assert {("a5", "e6", "model"), ("e6", "a7", "pushed_model")} <= edges
    assert {match[0].split()[1] for kind, match in found if kind == "class"} == set(looks.values())


def test_source_files_upwards(tmp_path: Path) -> None:
    found = read(mermaid.text(ancestry.up(flights(tmp_path).archive, "run-1/push")))
    files = [match for kind, match in found if kind == "node" and match["id"].startswith("f")]
    assert [shown(file) for file in files] == ["flights.csv\ndigest 4e1da34a4e1d"]


def test_any_text_is_shown_as_it_is(tmp_path: Path) -> None:
    found = read(mermaid.text(hostile_lineage(tmp_path)))
    nodes = {match["id"]: shown(match) for kind, match in found if kind == "node"}
    assert nodes["e1"].split("\n")[0] == TEXT
    assert nodes["a1"] == f"SourceTable 1\n{TEXT}: 3 rows"
    assert {shown(match) for kind, match in found if kind == "edge"} == {TEXT, "model", "b"}
    assert {shown(match) for kind, match in found if kind == "subgraph"} == {TEXT, "run-1"}


def test_a_subject_cannot_give_directives(tmp_path: Path) -> None:
    world = World()
    world.artifact("Model", "/m/%%{init: {}}%%\n  evil")
    write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    found = read(mermaid.text(ancestry.up(Archive(store), "/m/%%{init: {}}%%\n  evil")))
    assert [kind for kind, _ in found] == ["comment", "node", "class"]


def test_it_says_when_it_is_more_than_mermaid_draws(tmp_path: Path) -> None:
    world = World()
    for _ in range(mermaid.MOST_EDGES // 2):
        world.execute("train", {"examples": [world.artifact("Examples")]}, {"model": [world.artifact("Model")]})
    world.execute("choose", {"model": list(range(1, mermaid.MOST_EDGES, 2))}, {"best": [world.artifact("Model")]})
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    small = mermaid.text(ancestry.up(archive, str(written.artifacts[1])))
    assert mermaid.too_large(small) == ""
    large = mermaid.text(ancestry.up(archive, str(written.artifacts[-1])))
    warning = mermaid.too_large(large)
    assert warning.startswith("751 edges and ")
    assert "--depth N" in warning
    assert f"  %% {warning}\n" in large
    read(large)
