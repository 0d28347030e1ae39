import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.deploy.worker_package import FAMILIES, STEPS, WorkerPackage, build, modules_for, needs_of
from pipeline.errors import RunError

PINS = "\n".join(f"{name}==1 \\\n    --hash=sha256:0a" for name in STEPS["prepare"].packages)
FILES = {
    "beam_jobs/__init__.py": '"""Jobs."""\n',
    "beam_jobs/reading.py": "import json\n",
    "components/__init__.py": '"""Steps."""\n',
    "components/scoring.py": "from components import encoding\n\n\ndef load():\n    import components.deep.model\n",
    "components/encoding.py": "from beam_jobs.reading import json\n",
    "components/unused.py": "import tfx\n",
    "components/deep/__init__.py": '"""Deep."""\n',
    "components/deep/model.py": "WEIGHTS = 1\n",
    "lock/requirements.txt": PINS,
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def built(project: Path, folder: str = "wheels") -> WorkerPackage:
    return build(needs_of(["prepare"]), str(project.parent / folder), str(project))


def git(project: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", project, *settings, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_same_code_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    first = built(project, "first")
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(project, copy, copy_function=shutil.copyfile)  # with other times and modes
    second = built(copy, "second")
    assert (first.digest, Path(first.wheel).name) == (second.digest, Path(second.wheel).name)
    assert Path(first.wheel).read_bytes() == Path(second.wheel).read_bytes()


def test_other_code_or_pins_give_another_wheel(project: Path) -> None:
    names = {Path(built(project).wheel).name}
    (project / "beam_jobs" / "reading.py").write_text("import csv\n")
    names.add(Path(built(project).wheel).name)
    (project / "lock" / "requirements.txt").write_text(PINS.replace("duckdb==1", "duckdb==2"))
    names.add(Path(built(project).wheel).name)
    assert len(names) == 3


def test_pip_takes_the_wheel(project: Path, tmp_path: Path) -> None:
    package = built(project)
    command = [
        sys.executable,
        "-m",
        "pip",
        "-q",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*command, package.wheel], check=True, capture_output=True)
    assert (tmp_path / "site" / "beam_jobs" / "reading.py").read_text() == FILES["beam_jobs/reading.py"]
    about = (tmp_path / "site" / "braid_worker-0.1.0.dist-info" / "METADATA").read_text()
    assert "Requires-Dist: duckdb==1\n" in about


def test_modules_come_with_what_they_import_and_nothing_else(project: Path) -> None:
    assert list(modules_for(["components.scoring"], str(project))) == [
        "beam_jobs",
        "beam_jobs.reading",
        "components",
        "components.deep",
        "components.deep.model",
        "components.encoding",
        "components.scoring",
    ]


@pytest.mark.parametrize("name", ["components.scorign", "pipeline.runner", "os"])
def test_a_module_that_is_not_there_is_refused(project: Path, name: str) -> None:
    with pytest.raises(RunError, match=f"no module '{name}'"):
        modules_for([name], str(project))


def test_code_that_does_not_parse_is_told_by_file_and_line(project: Path) -> None:
    (project / "beam_jobs" / "reading.py").write_text("\n\ndef (:\n")
    with pytest.raises(RunError, match=r"'beam_jobs/reading\.py', line 3"):
        built(project)


def test_commit_and_changed_files_are_told_beside_the_wheel(project: Path) -> None:
    assert (built(project).commit, built(project).changed) == ("", ())
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "all")
    clean = built(project)
    assert (clean.commit, clean.changed, clean.facts["worker_dirty"]) == (git(project, "rev-parse", "HEAD"), (), 0)
    git(project, "commit", "-q", "--allow-empty", "-m", "nothing")
    assert built(project).digest == clean.digest
    (project / "components" / "unused.py").write_text("")  # not in the wheel
    (project / "beam_jobs" / "reading.py").write_text("import csv\n")
    (project / "beam_jobs" / "new.py").write_text("")
    changed = built(project)
    assert changed.changed == ("beam_jobs/new.py", "beam_jobs/reading.py")
    assert changed.facts["worker_dirty"] == 1
    assert changed.digest != clean.digest


def test_kinds_of_steps_and_families_have_names() -> None:
    with pytest.raises(RunError, match=r"no kind of step with a job for workers 'prepar'\. Did you mean 'prepare'"):
        needs_of(["prepar"])
    with pytest.raises(RunError, match=r"no family of models for workers 'kears'\. Did you mean 'keras'"):
        needs_of(["score"], ["kears"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_brings_its_own_library_alone(family: str, tmp_path: Path) -> None:
    package = build(needs_of(["score"], [family]), str(tmp_path))
    names = {pin.name for pin in package.pins}
    assert names & {"xgboost", "tensorflow"} == {"xgboost" if family == "xgboost" else "tensorflow"}
    scorers = [name for name in package.modules if name.endswith("_scoring")]
    assert scorers == [f"components.{family}_scoring"]


@pytest.mark.parametrize("step", STEPS)
def test_a_wheel_of_the_project_has_neither_tfx_nor_the_pipeline(step: str, tmp_path: Path) -> None:
    package = build(needs_of([step]), str(tmp_path))
    assert "tfx" not in {pin.name for pin in package.pins}
    with zipfile.ZipFile(package.wheel) as wheel:
        names = wheel.namelist()
    assert "beam_jobs/prepare.py" in names
    assert not [name for name in names if name.startswith(("pipeline", "tests")) or name.endswith("executor.py")]
