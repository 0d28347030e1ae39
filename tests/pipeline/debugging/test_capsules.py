"""Capsules as files: what they refuse, what they leave out, the programs and run configurations in them."""

import ast
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.debugging import editors, programs
from pipeline.debugging.capsule import Capsule, Stored, claim
from pipeline.errors import RunError
from pipeline.run_facts import PROJECT

CAPSULE = Capsule(
    run="nightly-1",
    step="orders",
    pipeline="nightly",
    execution=7,
    state="FAILED",
    project=PROJECT,
    paths=(),
    component="components.prepare.component.PrepareExamples",
    executor="components.prepare.executor.Executor",
    parameters={"config": '{"sql": "SELECT 1"}', "rounds": 3, "flag": True, "names": ["a"]},
    redirected=(),
    inputs={"sources": (Stored({"name": "Table"}, {"id": "3"}, "/data/3", "inputs/sources/3"),)},
    outputs={},
    facts={"python": "3.11.7"},
    error="It failed.",
)


def saved(folder: Path, **changes: object) -> Capsule:
    made = dataclasses.replace(CAPSULE, folder=str(folder), **changes)
    claim(str(folder))
    made.save()
    return made


def test_what_is_saved_is_loaded_wherever_it_lies_by_then(tmp_path: Path) -> None:
    made = saved(tmp_path / "here")
    assert Capsule.load(str(tmp_path / "here")) == made
    moved = (tmp_path / "here").rename(tmp_path / "there")
    assert Capsule.load(str(moved)) == made
    assert Capsule.load(str(moved)).path("inputs") == str(moved / "inputs")


def test_credentials_in_urls_are_left_out(tmp_path: Path) -> None:
    parameters = {"source": json.dumps({"path": "https://ann:s3cret@host/x.csv"}), "other": ["s3://k:s3cret@b/y"]}
    stored = Stored({"name": "Table"}, {"uri": "s3://k:s3cret@b/t"}, "s3://k:s3cret@b/t", "s3://k:s3cret@b/t")
    saved(tmp_path / "c", parameters=parameters, inputs={"t": (stored,)}, error="https://ann:s3cret@host/: no")
    text = (tmp_path / "c" / "capsule.json").read_text()
    assert "s3cret" not in text
    assert "https://host/x.csv" in text and "s3://b/t" in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is damaged: JSONDecodeError"),
        ("[]", "is damaged: TypeError"),
        ("{}", "is damaged: KeyError: 'format'"),
        (b"\xff\xfe", "is damaged: UnicodeDecodeError"),
        ('{"format": 2}', "is damaged: KeyError"),
        ('{"format": 2, "inputs": {"a": [{"b": 1}]}, "outputs": {}}', "is damaged: TypeError"),
        ('{"format": 1}', "has format 1, and this version of Braid reads format 2"),
    ],
)
def test_a_damaged_capsule_says_so(tmp_path: Path, content: str | bytes, says: str) -> None:
    (tmp_path / "capsule.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RunError, match=says) as refused:
        Capsule.load(str(tmp_path))
    assert "braid debug" in refused.value.hint


def test_no_capsule_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no capsule: 'capsule\.json' is missing"):
        Capsule.load(str(tmp_path))


def test_only_a_capsules_folder_or_an_empty_one_is_written_to(tmp_path: Path) -> None:
    for name in ("new", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        claim(str(tmp_path / name))
        claim(str(tmp_path / name))  # before anything else is in it
    saved(tmp_path / "capsule")
    claim(str(tmp_path / "capsule"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("42")
    with pytest.raises(RunError, match=r"is no capsule, and holds thesis\.tex: it is left alone"):
        claim(str(tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="is no folder"):
        claim(str(tmp_path / "mine" / "thesis.tex"))


def ran(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "replay.py"
    path.write_text(program)
    return subprocess.run([sys.executable, "-S", str(path)], capture_output=True, text=True, check=False)


def test_on_another_machine_the_program_says_what_is_missing(tmp_path: Path) -> None:
    moved = dataclasses.replace(CAPSULE, project="/no/such/project")
    done = ran(programs.replay(moved, sys.executable), tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"The project is not at /no/such/project on this machine: set CODE in {tmp_path}/replay.py to where it is.\n"
    )
    for program in (programs.replay(CAPSULE, "/the/venv/python"), programs.replay_failure(CAPSULE, "/the/venv/python")):
        done = ran(program, tmp_path)  # -S: no packages, as in a Python that is not the environment's
        assert done.returncode == 1
        assert done.stderr.startswith("No module named '") and "such as /the/venv/python." in done.stderr
        assert "Traceback" not in done.stderr


def test_programs_are_short_and_sound_whatever_the_names(tmp_path: Path) -> None:
    odd = dataclasses.replace(CAPSULE, run='a"""\nimport os\\', step="ö{x}", project="/a 'b'/\\c", paths=("/d",))
    for program in (programs.replay(odd, "py"), programs.replay_failure(odd, "py")):
        tree = ast.parse(program)
        assert len(program.splitlines()) < 50
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert imported == {"sys"}
    for bad in ("Executor", "os; x.Y", ""):
        with pytest.raises(RunError, match="names no class of a module"):
            programs.replay(dataclasses.replace(CAPSULE, executor=bad), "py")


def test_run_configurations_of_both_editors(tmp_path: Path) -> None:
    editors.write(str(tmp_path), "/the/project", "/the/venv/python", ["replay.py", "replay_failure.py"])
    launch = json.loads((tmp_path / ".vscode" / "launch.json").read_text())
    assert [one["name"] for one in launch["configurations"]] == ["replay.py", "replay_failure.py"]
    for one in launch["configurations"]:
        assert (one["type"], one["request"], one["python"]) == ("debugpy", "launch", "/the/venv/python")
        assert one["program"] == "${workspaceFolder}/" + one["name"]
        assert one["justMyCode"] is False and one["env"] == {"PYTHONPATH": "/the/project"}
    for name in ("replay", "replay_failure"):
        root = ElementTree.parse(tmp_path / ".idea" / "runConfigurations" / f"{name}.xml").getroot()
        options = {option.get("name"): option.get("value") for option in root.iter("option")}
        assert options["SCRIPT_NAME"] == f"$PROJECT_DIR$/{name}.py"
        assert options["SDK_HOME"] == "/the/venv/python"
        assert str(tmp_path) not in ElementTree.tostring(root, "unicode")
