"""`braid lineage up` and `down` from the command line: forms, files, terminals, mistakes, and what they load."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flights_world import flights
from openlineage_events import assert_valid
from store_factory import World, sqlite_store, write

from pipeline.cli.main import main

Lineage = Callable[..., tuple[int, str, str]]
HEAVY = ("tfx", "tensorflow", "apache_beam")
LATE = ("duckdb", "pyarrow", "numpy", "pydantic", "jsonschema")


@pytest.fixture
def lineage(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lineage:
    """Puts a question to the flights' store: its exit code, and what it printed."""
    flights(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRAID_STORE", raising=False)

    def ask(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            main(["lineage", *arguments, "--workspace", str(tmp_path)])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return ask


def test_every_form(lineage: Lineage) -> None:
    forms = {
        name: lineage("up", "run-1/push", "--format", name)
        for name in ("tree", "json", "dot", "mermaid", "openlineage", "html")
    }
    assert {(code, err) for code, _, err in forms.values()} == {(0, "")}
    printed = {name: out for name, (_, out, _) in forms.items()}
    assert printed["tree"] == lineage("up", "run-1/push")[1]
    assert printed["tree"].startswith("PushedModel 7  serving now from ")
    assert json.loads(printed["json"])["totals"]["executions"] == 6
    assert printed["json"] == lineage("up", "run-1/push", "--json")[1]
    assert printed["dot"].startswith("digraph lineage {")
    assert printed["mermaid"].startswith("flowchart LR\n")
    assert printed["html"].startswith("<!DOCTYPE html>")
    events = [json.loads(line) for line in printed["openlineage"].splitlines()]
    assert len(events) == 12
    for event in events:
        assert_valid(event)


def test_downwards(lineage: Lineage) -> None:
    code, out, _ = lineage("down", "run-1/flights.table")
    assert code == 0
    assert "Models and predictions made from it:\n  PushedModel 7  serving now from " in out
    assert json.loads(lineage("down", "run-1/flights.table", "--json")[1])["serving"] == [5, 7]


@pytest.mark.parametrize(
    ("file", "start"),
    [
        ("a.json", "{\n"),
        ("a.dot", "digraph"),
        ("a.GV", "digraph"),
        ("a.mmd", "flowchart"),
        ("a.ndjson", '{"eventType":"START"'),
        ("a.html", "<!DOCTYPE"),
        ("a.txt", "PushedModel 7"),
    ],
)
def test_a_file_by_its_ending(file: str, start: str, lineage: Lineage, tmp_path: Path) -> None:
    assert lineage("up", "run-1/push", "--out", file) == (0, f"Wrote {file}.\n", "")
    assert (tmp_path / file).read_text(encoding="utf-8").startswith(start)


def test_the_named_form_goes_before_the_ending(lineage: Lineage, tmp_path: Path) -> None:
    assert lineage("up", "run-1/push", "--out", "a.json", "--format", "dot")[0] == 0
    assert (tmp_path / "a.json").read_text().startswith("digraph")


def test_depth_in_every_form(lineage: Lineage) -> None:
    _, out, err = lineage("up", "run-1/push", "--json", "--depth", "2")
    document = json.loads(out)
    assert (err, document["left_out"]) == ("3 more steps left out by --depth 2; --depth 0 shows all.\n", 3)
    assert sorted(e["step"] for e in document["executions"]) == ["evaluate", "push", "train"]
    assert {e["execution"] for e in document["events"]} == {e["id"] for e in document["executions"]}
    assert "(5 more steps left out)" in lineage("up", "run-1/push", "--format", "dot", "--depth", "1")[1]
    assert "\n... 3 more steps; --depth 0 shows all\n" in lineage("up", "run-1/push", "--depth", "2")[1]
    assert lineage("up", "run-1/push", "--json", "--depth", "0")[2] == ""


def test_mermaid_says_when_it_is_too_much(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, artifact = World(), 0
    world.artifact("Examples")
    for _ in range(300):
        made = world.artifact("Examples")
        world.execute("step", {"in": [artifact]}, {"out": [made]})
        artifact = made
    write(world, sqlite_store(tmp_path / "metadata.sqlite"))
    main(["lineage", "up", "301", "--store", str(tmp_path / "metadata.sqlite"), "--format", "mermaid"])
    printed = capsys.readouterr()
    assert printed.err.startswith("600 edges and ")
    assert printed.err.strip() in printed.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run-1/pusch",), "Did you mean 'push'?"),
        (("run-9/push",), "There is no run 'run-9'."),
        (("9999",), "There is no artifact 9999"),
        (("/nowhere/at/all",), "Nothing in this store is called '/nowhere/at/all'"),
        (("run-1/push", "--out", "no/such/folder/a.html"), "'no/such/folder/a.html': No such file or directory"),
        (("run-1/push", "--format", "svg"), "'svg' is not one of"),
        (("run-1/push", "--json", "--format", "dot"), "--json and --format dot contradict each other"),
        (("run-1/push", "--depth", "-1"), "-1 is not in the range"),
        ((), "Missing argument 'X'"),
    ],
)
@pytest.mark.parametrize("question", ["up", "down"])
def test_mistakes_are_told(question: str, arguments: tuple[str, ...], told: str, lineage: Lineage) -> None:
    code, out, err = lineage(question, *arguments)
    assert code in (1, 2)
    assert out == ""
    assert told in " ".join(err.split())
    assert "Traceback" not in err


def test_nothing_is_written_for_a_question_that_fails(lineage: Lineage, tmp_path: Path) -> None:
    assert lineage("up", "run-9/push", "--out", "a.html")[0] == 1
    assert not (tmp_path / "a.html").exists()


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli.main", "lineage", *arguments, "--workspace", str(folder)]


def on_a_terminal(arguments: list[str], columns: int) -> str:
    """What a program prints on a terminal so wide."""
    parent, child = pty.openpty()
    settings = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    settings.pop("NO_COLOR", None)
    started = subprocess.Popen(arguments, stdout=child, stderr=child, env=settings)
    os.close(child)
    printed = b""
    while True:
        try:
            some = os.read(parent, 65_536)
        except OSError:  # the program has closed its end
            break
        printed += some
    assert started.wait() == 0
    os.close(parent)
    return printed.decode()


def test_a_terminal_of_eighty_columns(tmp_path: Path) -> None:
    flights(tmp_path)
    printed = on_a_terminal(command(tmp_path, "up", "run-1/push"), 80)
    assert "\x1b[" in printed
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "6 artifacts, 6 executions, 1 run, 1 source file"


def test_elsewhere_lines_are_whole_and_without_colour(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    flights(folder)
    done = subprocess.run(command(folder, "up", "run-1/push"), capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert f"│  {folder}/push/8\n" in done.stdout


def test_an_output_that_knows_only_ascii(tmp_path: Path) -> None:
    flights(tmp_path)
    done = subprocess.run(
        command(tmp_path, "up", "run-1/push"),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.isascii()
    assert b"\n|- model: Model 5" in done.stdout


LOADED = """
import sys
from pipeline.cli.main import main
main(sys.argv[2:])
print([name for name in sys.argv[1].split(",") if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("form", ["tree", "json", "dot", "mermaid", "html", "openlineage"])
@pytest.mark.parametrize("question", ["up", "down"])
def test_only_what_is_needed_is_loaded(question: str, form: str, tmp_path: Path) -> None:
    flights(tmp_path)
    unwanted = HEAVY if form == "openlineage" else (*HEAVY, *LATE)
    arguments = ["lineage", question, "run-1/train", "--format", form, "--workspace", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, ",".join(unwanted), *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_the_python_of_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "howto-lineage.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / ".braid").mkdir()
    flights(tmp_path / ".braid")
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("latest/push", "run-1/push"), "howto-lineage.md", "exec"), {})
    assert capsys.readouterr().out == "{'artifacts': 6, 'executions': 6, 'runs': 1, 'source_files': 1}\n"
