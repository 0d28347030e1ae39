"""The tree: every record where it is nearest to the root, references that hold, lines that fit, whatever the graph."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flights_world import DIGEST, flights
from store_factory import World, random_world, sqlite_store, write

from pipeline.lineage import ancestry, outline, tree
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.archive import Archive
from pipeline.lineage.graph import Graph
from pipeline.lineage.outline import Branch

STEPS = 2_000


def up(world: World, folder: Path, artifact: int) -> Lineage:
    written = write(world, store := sqlite_store(folder / "up.sqlite"))
    return ancestry.up(Archive(store), str(written.artifacts[artifact]))


def down(world: World, folder: Path, artifact: int) -> Lineage:
    written = write(world, store := sqlite_store(folder / "down.sqlite"))
    return ancestry.down(Archive(store), str(written.artifacts[artifact]))


def test_upwards_from_a_pushed_model(tmp_path: Path) -> None:
    told = tree.text(ancestry.up(flights(tmp_path).archive, "run-1/push"))
    assert (
        told.replace(str(tmp_path), "/w")
        == f"""\
PushedModel 7  serving now from /w/serving/1
│  /w/push/8
│  made by run-1/push ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
├─ model: Model 5  serving now from /w/serving/1
│  │  /w/train/6
│  │  made by run-1/train ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │  params.eta=0.1 rounds=400
│  ├─ examples: Examples 3
│  │  │  /w/departures/4
│  │  │  departures: 336,773 read = 9,430 filtered + 327,343 kept
│  │  │  made by run-1/departures ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │  │  sql=(3 lines) step=departures stream=flights
│  │  └─ sources: SourceTable 1
│  │     │  /w/flights/table/1
│  │     │  flights: 336,776 read = 3 rejected + 336,773 kept
│  │     │  made by run-1/flights ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │     │  max_reject_fraction=0.01 path=/data/flights.csv
│  │     └─ file /data/flights.csv
│  │           30.1 MB, digest {DIGEST}
│  └─ importances: FeatureImportances 4
│     │  /w/select/5
│     │  made by run-1/select ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│     └─ examples: Examples 3 (see above)
└─ model_blessing: ModelBlessing 6
   │  /w/evaluate/7
   │  made by run-1/evaluate ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
   ├─ examples: Examples 3 (see above)
   └─ model: Model 5  serving now (see above)

6 artifacts, 6 executions, 1 run, 1 source file
"""
    )


def test_downwards_from_a_source(tmp_path: Path) -> None:
    told = tree.text(ancestry.down(flights(tmp_path).archive, "run-1/flights.table"))
    assert (
        told.replace(str(tmp_path), "/w")
        == """\
SourceTable 1
│  /w/flights/table/1
│  flights: 336,776 read = 3 rejected + 336,773 kept
├─ run-1/departures ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │  → examples: Examples 3
│  │    departures: 336,773 read = 9,430 filtered + 327,343 kept
│  ├─ run-1/select ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │  │  → importances: FeatureImportances 4
│  │  └─ run-1/train (see below)
│  ├─ run-1/train ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │  │  → model: Model 5  serving now from /w/serving/1
│  │  │    /w/train/6
│  │  ├─ run-1/evaluate (see below)
│  │  └─ run-1/push ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │        → pushed_model: PushedModel 7  serving now from /w/serving/1
│  │          /w/push/8
│  ├─ run-1/evaluate ✓ complete, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│  │  │  → blessing: ModelBlessing 6
│  │  └─ run-1/push (see above)
│  └─ run-2/select ✗ failed, 1.5 s, code fd2c080 (dirty), lock 05e9e0a
│        StepError: No feature is left.
│        traceback in /w/traceback.txt
└─ run-2/departures = from the cache, code and lock not recorded
      → examples: Examples 3 (see above)

Models and predictions made from it:
  PushedModel 7  serving now from /w/serving/1, made by run-1/push
  Model 5  serving now from /w/serving/1, made by run-1/train
1 look-up of earlier artifacts (resolvers) that led nowhere not shown
6 artifacts, 8 executions, 2 runs
"""
    )


def test_an_attempt_that_wrote_nothing(tmp_path: Path) -> None:
    archive = flights(tmp_path).archive
    upwards = tree.text(ancestry.up(archive, "run-2/select")).splitlines()
    assert upwards[0] == "run-2/select ✗ failed, 1.5 s, code fd2c080 (dirty), lock 05e9e0a"
    assert upwards[1] == "│  StepError: No feature is left."
    assert upwards[2:4] == [f"│  traceback in {tmp_path}/traceback.txt", "└─ examples: Examples 3"]
    assert upwards[-1] == "2 artifacts, 3 executions, 2 runs, 1 source file"
    downwards = tree.text(ancestry.down(archive, "run-2/select"))
    assert "wrote nothing that is on record, so nothing was made from it" in downwards
    assert downwards.endswith("No model and no predictions were made from it.\n0 artifacts, 1 execution, 1 run\n")


def test_what_is_not_recorded_is_said_to_be_so(tmp_path: Path) -> None:
    world = World()
    table = world.artifact("SourceTable", files='[{"path": "/data/a.csv"}]')
    model = world.artifact("Model", uri="")
    world.execute("read", {}, {"table": [table]}, told="nowhere")
    world.execute("fit", {"table": [table]}, {"model": [model]}, state="FAILED", events=("INPUT", "OUTPUT"))
    told = tree.text(up(world, tmp_path, model))
    for words in (
        "(no URI recorded)",
        "made by run-1/fit ✗ failed, 0.0 s, code and lock not recorded",
        "error not recorded",
        "made by (run not recorded)/component.read ✓",
        "file /data/a.csv",
        "size and digest not recorded",
    ):
        assert words in told


def test_nothing_made_it_and_nothing_was_made_from_it(tmp_path: Path) -> None:
    world = World()
    lone = world.artifact("Schema")
    told = tree.text(up(world, tmp_path, lone))
    assert told.endswith("nothing on record made it\n\n1 artifact, 0 executions, 0 runs, 0 source files\n")
    told = tree.text(down(world, tmp_path, lone))
    assert "nothing on record was made from it\n" in told
    assert told.endswith("No model and no predictions were made from it.\n1 artifact, 0 executions, 0 runs\n")


def chain(steps: int) -> World:
    world = World()
    artifact = world.artifact("Examples")
    for step in range(steps):
        made = world.artifact("Examples")
        world.execute(f"s{step % 10}", {"examples": [artifact]}, {"examples": [made]}, run=f"run-{step // 10}")
        artifact = made
    return world


def comb(steps: int) -> World:
    """Each model from new data and from the model before it."""
    world = World()
    model = world.artifact("Model")
    for step in range(steps):
        data, made = world.artifact("Examples"), world.artifact("Model")
        world.execute("read", {}, {"examples": [data]}, run=f"run-{step}")
        world.execute("train", {"champion": [model], "examples": [data]}, {"model": [made]}, run=f"run-{step}")
        model = made
    return world


def test_depth_says_how_much_is_hidden(tmp_path: Path) -> None:
    lineage = up(chain(200), tmp_path, 200)
    told = tree.text(lineage)
    assert told.count(" ✓ ") == 12
    assert "... made by run-18/s7\n" in told
    assert "\n... 188 more steps; --depth 0 shows all\n201 artifacts, 200 executions, 20 runs, 0 source files\n" in told
    assert tree.text(lineage, depth=199).count(" ✓ ") == 199
    assert "\n... 1 more step; --depth 0 shows all\n" in tree.text(lineage, depth=199)
    assert tree.text(lineage, depth=0).count(" ✓ ") == 200
    assert "--depth" not in tree.text(lineage, depth=200)


def test_depth_downwards(tmp_path: Path) -> None:
    told = tree.text(down(chain(20), tmp_path, 0), depth=5)
    assert told.count(" ✓ ") == 5
    assert "└─ ... 1 step read it\n" in told
    assert "\n... 15 more steps; --depth 0 shows all\n" in told


@pytest.mark.slow
@pytest.mark.parametrize("build", [chain, comb])
def test_two_thousand_steps_in_eighty_columns(build: Callable[[int], World], tmp_path: Path) -> None:
    world = build(STEPS)
    told = tree.text(up(world, tmp_path, len(world.artifacts) - 1), depth=0, width=80)
    assert max(map(len, told.splitlines())) <= 80
    titles = re.findall(r"^[│├└─ ]*(?:\w+: )?((?:Examples|Model) \d+)$", told, re.MULTILINE)
    assert sorted(titles) == sorted(set(titles))
    assert len(titles) == len(world.artifacts)
    put_off, taken_up = re.findall(r"goes on below at \((\d+)\)", told), re.findall(r"^\((\d+)\) ", told, re.MULTILINE)
    assert put_off
    assert put_off == taken_up == [str(i + 1) for i in range(len(put_off))]


def test_a_step_is_drawn_where_it_is_nearest(tmp_path: Path) -> None:
    """The first input leads to `data` by twelve steps, the second at once: there, its own inputs are within the depth."""
    world = World()
    raw, data, end = world.artifact("SourceTable", files="[]"), world.artifact("Examples"), world.artifact("Model")
    world.execute("read", {}, {"table": [raw]})
    world.execute("prepare", {"table": [raw]}, {"examples": [data]})
    artifact = data
    for step in range(12):
        made = world.artifact("Schema")
        world.execute(f"s{step}", {"in": [artifact]}, {"out": [made]})
        artifact = made
    world.execute("train", {"a": [artifact], "b": [data]}, {"model": [end]})
    lineage = up(world, tmp_path, end)
    told = tree.text(lineage)
    assert "├─ a: Schema 15\n" in told
    assert "└─ b: Examples 2\n" in told
    assert "   └─ table: SourceTable 1\n" in told
    assert "(see" not in told  # the long way ends before it gets to what it shares
    assert "in: Examples 2 (see below)\n" in tree.text(lineage, depth=0)


TITLE = re.compile(r"^[│├└─ ]*(?:\w+: )?((?:[A-Z][A-Za-z]+) \d+)( \(see (?:above|below)\))?$")
STATE = re.compile(r"[✓=✗…?] (?:complete|from the cache|failed|canceled|running|new)")


def drawn_and_referred(lines: list[str], pattern: re.Pattern[str]) -> tuple[list[str], list[tuple[int, str, str]]]:
    """What is drawn, and each reference with its line, its name and its direction."""
    drawn, referred = [], []
    for number, line in enumerate(lines):
        match = pattern.match(line)
        if match and "(see" in (match[2] or ""):
            referred.append((number, match[1], match[2]))
        elif match:
            drawn.append(match[1])
    return drawn, referred


@pytest.mark.parametrize("seed", range(12))
def test_any_graph(seed: int, tmp_path: Path) -> None:
    """Each artifact and each execution is drawn once; each reference points to where its record is; all lines fit."""
    world = random_world(random.Random(seed), 60)
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    for id_ in written.artifacts[::5]:
        lineage = ancestry.up(archive, str(id_))
        lines = tree.text(lineage, depth=0, width=80).splitlines()
        assert max(map(len, lines)) <= 80
        drawn, referred = drawn_and_referred(lines, TITLE)
        assert sorted(drawn) == sorted(f"{a.type} {a.id}" for a in lineage.artifacts.values())
        for number, name, where in referred:
            place = next(i for i, line in enumerate(lines) if re.search(rf"(?<!\w){name}$", line))
            assert (place < number) == ("above" in where)
        assert len(STATE.findall("\n".join(lines))) == len(lineage.executions)


@pytest.mark.parametrize("seed", range(12))
def test_any_graph_downwards(seed: int, tmp_path: Path) -> None:
    world = random_world(random.Random(seed), 60)
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    for id_ in written.artifacts[::5]:
        lineage = ancestry.down(archive, str(id_))
        lines = tree.text(lineage, depth=0, width=80).splitlines()
        assert max(map(len, lines)) <= 80
        told = "\n".join(lines)
        for artifact in lineage.artifacts.values():
            assert re.search(rf"{artifact.type} {artifact.id}\b(?! \(see)", told)
        shown = len(STATE.findall(told))
        grouped = sum(int(count) for count in re.findall(r"= (\d+) times", told))
        assert shown + grouped == len(Graph(lineage).lineage.executions)


def test_many_that_reused_the_same_are_one_line(tmp_path: Path) -> None:
    world = World()
    raw, data = world.artifact("SourceTable"), world.artifact("Examples")
    world.execute("prepare", {"table": [raw]}, {"examples": [data]}, run="first")
    for run in range(50):
        world.execute("prepare", {"table": [raw]}, {"examples": [data]}, run=f"run-{run}", state="CACHED")
    told = tree.text(down(world, tmp_path, raw))
    runs = "run-49, run-48, run-47, run-46, run-45, ... (50 in all)"
    assert f"└─ = 50 times prepare took its outputs from the cache: {runs}\n" in told
    assert "2 artifacts, 51 executions, 51 runs" in told


def test_no_text_of_the_store_commands_the_terminal(tmp_path: Path) -> None:
    world, evil = World(), "a\x1b[31m\r\nb\u202ec\ud7ff"
    artifact = world.artifact("Model", uri=f"/m/{evil}", table=evil, rows=1)
    properties = {"error": evil, "parameter": evil, "code_commit": evil, "lock_digest": evil}
    world.execute(evil, {evil: [world.artifact("Schema")]}, {evil: [artifact]}, run=evil, properties=properties)
    world.execute("failing", {evil: [artifact]}, {}, run=evil, state="FAILED", properties=properties)
    for told in (tree.text(up(world, tmp_path, artifact)), tree.text(down(world, tmp_path, artifact))):
        assert all(character.isprintable() or character == "\n" for character in told)
        assert "a\\x1b[31m" in told


@pytest.mark.parametrize("width", [60, 80, 132])
def test_words_wrap_under_themselves(width: int) -> None:
    path = "/".join(f"folder{i}" for i in range(40))
    branch = Branch([(("title", "bold"),), ((f"one two {path} three", ""),)], [Branch([(("leaf " * 30, ""),)])])
    lines = ["".join(text for text, _ in line) for line in outline.render([branch], width)]
    assert max(map(len, lines)) <= width
    assert "".join(line.strip("│└─ ") for line in lines).replace(" ", "").count("/folder") == 39
    assert all(line.startswith(("title", "│  ", "└─ ", "   ")) for line in lines)
    assert all(not line.rstrip().endswith("folder") for line in lines[1:8])  # broken at slashes
