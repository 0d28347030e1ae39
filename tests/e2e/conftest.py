"""The `braid` command, tried as a user would, in this process: TFX is imported once for all."""

from pathlib import Path

import pytest
from sales_project import SALES, Braid, Outcome, Project

from pipeline.cli.main import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A sound project, the folder of which is the current one."""
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path)
    made.configure()
    made.write("sales.csv", SALES)
    return made


@pytest.fixture
def braid(capsys: pytest.CaptureFixture[str]) -> Braid:
    """Runs a command, `run sales.yaml --workspace ws` unless others are given."""

    def command(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = 0
        try:
            main(list(arguments or ("run", "sales.yaml", "--workspace", "ws")))
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return command
