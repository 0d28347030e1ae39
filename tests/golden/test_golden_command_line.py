"""What the commands print."""

import pytest
from golden import Golden

from pipeline.cli.deploy import command as deploy
from pipeline.cli.lineage import QUESTIONS
from pipeline.cli.main import COMMANDS, main

DEPLOYED = tuple(deploy.commands)
CONFIGURATIONS = ("flights", "taxi")
NESTED = [*(f"lineage {question}" for question in QUESTIONS), *(f"deploy {what}" for what in DEPLOYED)]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    main(list(arguments))
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("command", ["", *COMMANDS, *NESTED])
def test_help(golden: Golden, capsys: pytest.CaptureFixture[str], command: str) -> None:
    words = [*command.split(), "--help"]
    name = "-".join(["help", *command.split()])
    golden.check(f"{name}.txt", printed(capsys, *words), f"braid {' '.join(words)}")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_check(golden: Golden, capsys: pytest.CaptureFixture[str], configuration: str) -> None:
    file = f"configs/pipelines/{configuration}.yaml"
    made = printed(capsys, "check", file, "--workspace", str(golden.workspace))
    golden.check(f"check-{configuration}.txt", made, f"braid check {file}")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_config(golden: Golden, capsys: pytest.CaptureFixture[str], configuration: str) -> None:
    file = f"configs/pipelines/{configuration}.yaml"
    golden.check(f"config-{configuration}.txt", printed(capsys, "config", file), f"braid config {file}")
