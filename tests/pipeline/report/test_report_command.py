"""`braid report`."""

import json
import os
from pathlib import Path

import pytest

from pipeline.cli.main import main
from tests.pipeline.report.report_world import RUN, whole_run


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    whole_run(tmp_path / "workspace")
    return tmp_path / "workspace"


def asked(workspace: Path, *arguments: str) -> None:
    main(["report", *arguments, "--workspace", str(workspace)])


def test_it_writes_the_page(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked(workspace, RUN, "--to", "out/report.html")
    assert capsys.readouterr().out == "Wrote out/report.html.\n"
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!DOCTYPE html>")
    asked(workspace)
    assert capsys.readouterr().out == f"Wrote {RUN}.html.\n"
    assert (tmp_path / f"{RUN}.html").read_text() == (tmp_path / "out" / "report.html").read_text()


def test_programs_get_json(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(workspace, RUN, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["run"]["name"] == RUN
    asked(workspace, RUN, "--json", "--to", str(tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text()) == printed


def test_a_file_that_cannot_be_written_leaves_nothing(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit) as stop:
        asked(workspace, RUN, "--to", str(tmp_path / "folder"))
    assert stop.value.code == 1
    told = capsys.readouterr().err
    assert "cannot be written" in told
    assert "Name another file with --to." in told
    assert os.listdir(tmp_path / "folder") == []
    assert sorted(os.listdir(tmp_path)) == ["folder", "workspace"]


def test_a_run_that_is_not_there(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        asked(workspace, "run-7")
    assert "There is no run 'run-7'." in capsys.readouterr().err
