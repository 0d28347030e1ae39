"""The recorded environment: what differs from it, its commit checked out, its lock installed."""

import dataclasses
import hashlib
import platform
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from beam_jobs import storage
from pipeline.debugging import environment
from pipeline.debugging.environment import Recorded
from pipeline.errors import RunError

UNKNOWN = "0123456789" * 4


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with two commits."""
    made = tmp_path / "project"
    (made / "lock").mkdir(parents=True)
    (made / "beam_jobs").mkdir()
    (made / "pipeline" / "debugging").mkdir(parents=True)
    (made / "beam_jobs" / "kernel.py").write_text("old\n")
    (made / "lock" / "requirements.txt").write_text("a==1\n")
    git(tmp_path, "init", "-q", str(made))
    git(made, "add", ".")
    git(made, "commit", "-qm", "first")
    (made / "pipeline" / "debugging" / "replaying.py").write_text("")
    (made / "beam_jobs" / "kernel.py").write_text("new\n")
    (made / "lock" / "requirements.txt").write_text("a==2\n")
    git(made, "add", ".")
    git(made, "commit", "-qm", "second")
    return made


def recorded(project: Path, commit: str = "HEAD") -> Recorded:
    found = git(project, "rev-parse", commit)
    lock = storage.text_digest(git(project, "show", f"{found}:lock/requirements.txt") + "\n")
    return Recorded(found, False, lock, platform.python_version())


def test_nothing_differs_where_nothing_has_changed(project: Path) -> None:
    assert environment.differences(recorded(project), str(project)) == []
    (project / "beam_jobs" / "kernel.py").write_text("newer\n")
    assert environment.differences(recorded(project), str(project)) == [
        "The code has changed since, and is not committed."
    ]


def test_what_differs_is_told(project: Path) -> None:
    first = dataclasses.replace(recorded(project, "HEAD~1"), python="3.9.1", dirty=True)
    dirty, code, lock, python = environment.differences(first, str(project))
    assert "differed from its commit" in dirty
    assert f"at commit {first.commit[:12]}; since then 3 files have changed: beam_jobs/kernel.py, " in code
    assert "--env" in lock
    assert python == f"Python was 3.9.1; this is {platform.python_version()}."
    assert environment.differences(Recorded("", False, "", ""), str(project)) == [
        "The run's code version was not recorded."
    ]


@pytest.mark.parametrize("commit", [UNKNOWN, "--help", "HEAD", ""])
def test_a_commit_that_is_not_there(project: Path, tmp_path: Path, commit: str) -> None:
    missing = dataclasses.replace(recorded(project), commit=commit)
    with pytest.raises(RunError, match="is not in this repository") as refused:
        environment.checkout(missing, str(tmp_path / "code"), str(project))
    assert "git fetch" in refused.value.hint and "without --checkout" in refused.value.hint
    assert not (tmp_path / "code").exists()


def test_a_worktree_of_the_commit_is_made_once(project: Path, tmp_path: Path) -> None:
    first, place = recorded(project, "HEAD~1"), str(tmp_path / "capsule" / "code")
    assert environment.checkout(first, place, str(project)) == place
    kernel = Path(place) / "beam_jobs" / "kernel.py"
    assert kernel.read_text() == "old\n"
    kernel.write_text("a breakpoint()\n")
    assert environment.checkout(first, place, str(project)) == place
    assert kernel.read_text() == "a breakpoint()\n"
    with pytest.raises(RunError, match=f"holds commit {first.commit[:12]}, not {recorded(project).commit[:12]}"):
        environment.checkout(recorded(project), place, str(project))
    shutil.rmtree(tmp_path / "capsule")
    environment.checkout(recorded(project), place, str(project))
    assert kernel.read_text() == "new\n"
    assert git(project, "status", "--porcelain") == ""


def test_code_that_cannot_replay(project: Path, tmp_path: Path) -> None:
    environment.check_replays(str(project))
    old = environment.checkout(recorded(project, "HEAD~1"), str(tmp_path / "old"), str(project))
    with pytest.raises(RunError, match="is older than `braid debug`"):
        environment.check_replays(old)
    with pytest.raises(RunError, match="is no checkout of this project"):
        environment.check_replays(str(tmp_path))


def test_the_lock_of_the_run(project: Path) -> None:
    assert environment.lock_of(recorded(project), str(project)) == "a==2\n"
    assert environment.lock_of(recorded(project, "HEAD~1"), str(project)) == "a==1\n"
    for lost in ({"commit": UNKNOWN, "lock": "ab"}, {"lock": "ab"}, {"commit": "", "lock": ""}):
        assert environment.lock_of(dataclasses.replace(recorded(project), **lost), str(project)) is None


def wheel(folder: Path, name: str) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "ANSWER = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
    return path


@pytest.mark.slow
def test_an_environment_from_a_hashed_lock(tmp_path: Path) -> None:
    built = wheel(tmp_path, "tiny")
    digest = hashlib.sha256(built.read_bytes()).hexdigest()
    requirements, place = tmp_path / "requirements.txt", tmp_path / "venv"
    requirements.write_text(f"{built.as_uri()} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(RunError, match="The environment cannot be built: ") as refused:
        environment.build(str(requirements), str(place), platform.python_version())
    assert "pip install" in refused.value.hint
    requirements.write_text(f"{built.as_uri()} --hash=sha256:{digest}\n")
    python = environment.build(str(requirements), str(place), platform.python_version())
    done = subprocess.run([python, "-c", "import tiny; print(tiny.ANSWER)"], capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
    made = Path(python).stat().st_ctime_ns
    assert environment.build(str(requirements), str(place), "") == python
    assert Path(python).stat().st_ctime_ns == made


def test_a_python_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    with pytest.raises(RunError, match=r"used Python 3\.2\.1, and there is no 'python3\.2' on the PATH") as refused:
        environment.build(str(tmp_path / "requirements.txt"), str(tmp_path / "venv"), "3.2.1")
    assert "Dockerfile" in refused.value.hint
    assert "FROM python:3.2-slim" in environment.dockerfile("3.2.1")
    assert "FROM python:3.11-slim" in environment.dockerfile("3.11.7\nRUN evil")
