"""`braid init`: the configurations that it writes are sound, and its refusals say what to do."""

import os
import pty
import re
import select
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline import loading, planning
from pipeline.cli import main

PLANTS = "name,height (cm),seen,sort,empty\n" + "".join(
    f"p{i},{i * 7 % 31}.5,2020/{1 + i % 12:02}/{1 + i % 28:02},{'grass' if i % 3 else 'tree'},\n" for i in range(150)
)


@pytest.fixture
def plants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "plants.csv"
    path.write_text(PLANTS)
    return path


def init(*arguments: str, answers: str = "") -> Result:
    """Runs `braid init` as the program does, but for the wording of errors."""
    return CliRunner().invoke(main.braid, ["init", *arguments], input=answers)


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, int | str | None]:
    """The message and the exit status of the whole program."""
    with pytest.raises(SystemExit) as stop:
        main.main(["init", *arguments])
    return capsys.readouterr().err, stop.value.code


def test_the_configuration_is_sound_and_says_what_was_decided(plants: Path) -> None:
    result = init("plants.csv", "--label", "sort")
    assert result.exit_code == 0, result.output
    config = yaml.safe_load(Path("plants.yaml").read_text())
    assert config == {
        "name": "plants",
        "sources": {"plants": {"path": "plants.csv"}},
        "prepare": {
            "plants_typed": {
                "stream": "plants",
                "sql": 'SELECT * REPLACE (\n  CAST(try_strptime("seen", \'%Y/%m/%d\') AS DATE) AS "seen"\n)\nFROM "plants"\n',
            }
        },
        "examples": {
            "table": "plants_typed",
            "label": "sort",
            "split": {"by": "time", "column": "seen", "eval_from": "2020-08-04", "test_from": "2020-10-14"},
        },
        "select": {"exclude": ["seen", "name", "empty"]},
    }
    comments = re.findall(r"# (.*)", Path("plants.yaml").read_text())
    assert {"two classes: grass, tree", "rows are split by it", "no value in any row"} <= set(comments)
    plan = planning.plan(loading.load("plants.yaml"))
    assert plan.examples.query.output.names == ["name", "height (cm)", "seen", "sort", "empty"]
    assert "predicts  sort (two classes: grass, tree)" in result.output


def test_paths_count_from_the_written_file(plants: Path) -> None:
    Path("configs").mkdir()
    assert init("plants.csv", "--label", "sort", "--output", "configs/p.yaml", "--name", "mine").exit_code == 0
    config = yaml.safe_load(Path("configs/p.yaml").read_text())
    assert (config["name"], config["sources"]["plants"]["path"]) == ("mine", "../plants.csv")
    planning.plan(loading.load("configs/p.yaml"))


@pytest.mark.parametrize(
    "names",
    [
        ("a.b", "select", "größe", "x y", 'q"uote', "it's"),
        ("a: b", "# c", "- d", "[e]", "{f}", "<g>"),
        ("yes", "1", "null", "~", "a,b", "%Y"),
        ("a\nb", " c ", "d\n", "\te", "f\\", "g\nh"),
    ],
)
def test_any_column_name_makes_a_sound_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    rows = "".join(f"{i % 7},{i % 5}.5,{i},,word{i},{i % 2}\n" for i in range(60))
    Path("odd.csv").write_text(f"{header}\n{rows}")
    result = init("odd.csv", "--label", names[-1], "--header")
    assert result.exit_code == 0, result.output
    plan = planning.plan(loading.load("odd.yaml"))
    assert plan.loaded.config.examples.label == names[-1]
    assert set(plan.loaded.config.select.exclude) == {names[2], names[3], names[4]}


def test_semicolons_decimal_commas_and_no_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mess.csv").write_text("".join(f"{i % 9},5;{i % 4};{i % 7},25;{i % 5},5\n" for i in range(90)))
    result = init("mess.csv", "--label", "column_3")
    assert "The first line holds values, not names" in result.output
    plan = planning.plan(loading.load("mess.yaml"))
    assert [str(kind) for kind in plan.examples.query.output.types] == ["double", "int64", "double", "double"]
    assert plan.sources["mess"].config.delimiter == ";"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--label", "srt"], "The table has no column 'srt'. Did you mean 'sort'?", "Its columns: name, height (cm)"),
        (["--label", "empty"], "Column 'empty' is null in all 150 rows", "another label"),
        (["--label", "name"], "too many classes", "Group the values"),
        (["--label", "seen"], "cannot be learned", "Derive a number"),
        (["--label", "sort", "--time", "sen"], "no column 'sen'. Did you mean 'seen'?", "Its columns"),
        (["--label", "sort", "--time", "name"], "by 'name', which is of type string", "can: seen; `--time none`"),
        (["--label", "sort", "--time", "sort"], "by 'sort', which is the label", "--time none"),
        (["--label", "sort", "--name", "a-b"], "'a-b' cannot name a pipeline", "--name"),
        (["--label", "sort", "--output", "plants.csv"], "'plants.csv' exists", "--force"),
        (["--label", "sort", "--output", "no/such.yaml"], "'no/such.yaml' cannot be written", "--output"),
    ],
)
def test_refusals(
    plants: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str, hint: str
) -> None:
    told, status = fails(capsys, "plants.csv", *arguments)
    assert status == 1
    assert message in told
    assert hint in told
    assert plants.read_text() == PLANTS
    assert [path.name for path in plants.parent.iterdir()] == ["plants.csv"]


def test_a_constant_label_and_too_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("a,b\n" + "1,x\n2,x\n3,x\n")
    assert "Column 'b' is 'x' in all 3 rows looked at" in fails(capsys, "one.csv", "--label", "b")[0]
    Path("few.csv").write_text("a,b\n1,x\n2,y\n")
    assert "2 rows cannot be divided" in fails(capsys, "few.csv", "--label", "b")[0]
    Path("lone.csv").write_text("b\n" + "1.5\n2.5\n" * 20)
    assert "no column beside 'b'" in fails(capsys, "lone.csv", "--label", "b")[0]


def test_names_that_sql_cannot_tell_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("case.csv").write_text("A,a,y\n" + "1,2,3\n2,3,4\n" * 20)
    assert "columns 'A' and 'a', which are the same name in SQL" in fails(capsys, "case.csv", "--label", "y")[0]


def test_force_overwrites(plants: Path) -> None:
    Path("plants.yaml").write_text("mine")
    assert init("plants.csv", "--label", "sort").exit_code == 1
    assert Path("plants.yaml").read_text() == "mine"
    assert init("plants.csv", "--label", "sort", "--force").exit_code == 0
    assert Path("plants.yaml").read_text() != "mine"


def test_questions_are_asked_again_until_the_answer_serves(plants: Path) -> None:
    result = init(answers="plant.csv\nplants.csv\nsrt\nsort\nnone\n")
    assert result.exit_code == 0, result.output
    assert "Did you mean 'plants.csv'?" in result.output
    assert "Did you mean 'sort'?" in result.output
    assert re.search(r"height \(cm\) +double +0.5", result.output)
    assert yaml.safe_load(Path("plants.yaml").read_text())["examples"]["split"]["by"] == "hash"


def test_nobody_there_to_answer(
    plants: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        told, status = fails(capsys, "plants.csv")
    assert status == 2
    assert "give --label on the command line" in told


def test_in_a_terminal(plants: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "pipeline.cli.main", "init"])
    try:
        told = answered(terminal, b"glob): ", b"plants.csv\n") + answered(terminal, b"predict: ", b"sort\n")
        told += answered(terminal, b"[seen]: ", b"\n") + answered(terminal, b"Next: braid run plants.yaml\r\n", b"")
        _, status = os.waitpid(child, 0)
    finally:
        os.close(terminal)
    assert "Columns of plants" in told
    assert status == 0
    assert Path("plants.yaml").exists()


def answered(terminal: int, question: bytes, answer: bytes, seconds: float = 60) -> str:
    """Reads what the program says until it asks, and answers."""
    said, until = b"", time.monotonic() + seconds
    while question not in said:
        assert time.monotonic() < until, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 4096)
    os.write(terminal, answer)
    return said.decode()
