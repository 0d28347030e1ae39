"""What the commands print."""

import pytest
from golden import Golden

from pipeline.cli.main import COMMANDS, main

CONFIGURATIONS = ("flights", "taxi")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    main(list(arguments))
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(golden: Golden, capsys: pytest.CaptureFixture[str], command: str) -> None:
    arguments = [*([command] if command else []), "--help"]
    name = f"help-{command}.txt" if command else "help.txt"
    golden.check(name, printed(capsys, *arguments), f"braid {' '.join(arguments)}")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_check(golden: Golden, capsys: pytest.CaptureFixture[str], configuration: str) -> None:
    file = f"configs/pipelines/{configuration}.yaml"
    made = printed(capsys, "check", file, "--workspace", str(golden.workspace))
    golden.check(f"check-{configuration}.txt", made, f"braid check {file}")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_config(golden: Golden, capsys: pytest.CaptureFixture[str], configuration: str) -> None:
    file = f"configs/pipelines/{configuration}.yaml"
    golden.check(f"config-{configuration}.txt", printed(capsys, "config", file), f"braid config {file}")
