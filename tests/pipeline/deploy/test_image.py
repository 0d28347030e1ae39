"""Images: what their Dockerfiles say holds, and says no more than is pinned."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from cloud.container_image import DockerfileError, Instruction, build, parse, pinned

from pipeline.deploy import image
from pipeline.deploy.image import BuildFolder
from pipeline.deploy.worker_pins import read_lock
from pipeline.errors import RunError


def contents(build_folder: BuildFolder) -> dict[str, str]:
    root = Path(build_folder.folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}


def lines(build_folder: BuildFolder) -> list[Instruction]:
    return parse((Path(build_folder.folder) / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    return image.write_worker(str(tmp_path_factory.mktemp("worker")), ["ingest", "score"], ["xgboost"])


@pytest.fixture(scope="module")
def orchestrator(tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    return image.write_orchestrator(str(tmp_path_factory.mktemp("orchestrator")))


@pytest.mark.parametrize("which", ["worker", "orchestrator"])
def test_all_that_is_copied_is_there_and_all_that_is_installed_is_pinned(
    which: str, request: pytest.FixtureRequest
) -> None:
    found: BuildFolder = request.getfixturevalue(which)
    copied: set[str] = set()
    for line in lines(found):
        if line.word == "COPY" and not line.rest.startswith("--from"):
            copied |= set(line.words[:-1])
        if line.word == "RUN" and line.words[:2] != ["python", "-m"]:
            assert pinned(line) in copied
    assert copied == set(found.files) == set(contents(found)) - {"Dockerfile"}


def test_the_worker_stands_on_the_image_of_the_locked_beam(worker: BuildFolder) -> None:
    version = read_lock("lock/requirements.txt")["apache-beam"].version
    assert lines(worker)[0] == Instruction("FROM", f"apache/beam_python3.11_sdk:{version}")
    pins = (Path(worker.folder) / "requirements.txt").read_text()
    assert f"apache-beam=={version} --hash=" in pins
    assert "\nxgboost==" in pins and "\ntensorflow==" not in pins
    assert all(" --hash=sha256:" in line for line in pins.splitlines())


def test_the_orchestrator_has_all_of_the_lock_and_of_braid(orchestrator: BuildFolder) -> None:
    pins = (Path(orchestrator.folder) / "requirements.txt").read_text().splitlines()
    assert len(pins) == len(read_lock("lock/requirements.txt"))
    (wheel,) = Path(orchestrator.folder).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = archive.read("braid-0.1.0.dist-info/entry_points.txt").decode()
    tracked = subprocess.run(
        ["git", "ls-files", "beam_jobs", "components", "pipeline"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(tracked) <= set(names)
    assert {"lock/requirements.txt", "configs/targets/dataflow.yaml"} <= set(names)
    assert "braid = pipeline.cli.main:program" in scripts
    assert not [name for name in names if name.startswith("tests") or name.endswith(".pyc")]


def test_the_orchestrators_wheel_installs_and_runs(orchestrator: BuildFolder, tmp_path: Path) -> None:
    import sys

    (wheel,) = Path(orchestrator.folder).glob("*.whl")
    pip = [sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--no-index", "--require-hashes"]
    command = [*pip, "-r", "braid.txt", "--target", str(tmp_path / "site")]
    subprocess.run(command, cwd=orchestrator.folder, check=True, capture_output=True)
    program = "import importlib.metadata as m; from pipeline.targets import loading; import pipeline.cli.main as main\n"
    program += "print(m.version('braid'), loading.FOLDER, loading.load('dataflow').runner); main.main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd="/",
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"0.1.0 {tmp_path / 'site' / 'configs' / 'targets'} dataflow")
    assert "deploy" in done.stdout
    assert wheel.name in (Path(orchestrator.folder) / "braid.txt").read_text()


def test_the_same_code_gives_the_same_files(worker: BuildFolder, tmp_path: Path) -> None:
    again = image.write_worker(str(tmp_path / "again"), ["ingest", "score"], ["xgboost"])
    assert contents(again) == contents(worker)
    assert again.tag == worker.tag
    other = image.write_worker(str(tmp_path / "again"), ["ingest"], [])
    assert other.tag != worker.tag
    assert len(contents(other)) == 4  # the wheel of before is gone


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no kind of step with a job for workers 'prepar'\. Did you mean 'prepare'"):
        image.write_worker(str(tmp_path / "none"), ["prepar"], [])
    shutil.copytree("lock", tmp_path / "project" / "lock", ignore=lambda *_: ["requirements.txt"])
    with pytest.raises(RunError, match=r"There is no lock"):
        image.write_orchestrator(str(tmp_path / "none"), str(tmp_path / "project"))


@pytest.mark.parametrize(
    "line",
    [
        "RUN pip install --no-deps -r requirements.txt",
        "RUN pip install --no-cache-dir --no-deps --require-hashes requests",
        "RUN pip install --no-cache-dir --no-deps --require-hashes --extra-index-url=x -r requirements.txt",
        "RUN curl https://example.com",
        "COPY ../secret /opt/",
        "COPY missing.txt /opt/",
        "ADD https://example.com /opt/",
    ],
)
def test_the_reader_of_dockerfiles_is_strict(line: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nWORKDIR /opt\nCOPY requirements.txt /opt/\n{line}\n")
    with pytest.raises(DockerfileError):
        build(tmp_path, tmp_path / "image")
