"""The documentation tells the truth: its commands run, its settings are valid, its links lead somewhere."""

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pipeline import reference
from pipeline.cli import main
from pipeline.cli.deploy import command as deploy
from pipeline.cli.lineage import QUESTIONS
from pipeline.config import PipelineConfig

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")] if path.exists())
TUTORIAL = ROOT / "docs" / "tutorial.md"
FILLERS = re.compile(r"\b(simply|just|obviously|of course|easily|trivially)\b", re.IGNORECASE)
FENCE = re.compile(
    r"(?P<fails><!-- this one fails -->\n)?^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
NUMBER = re.compile(r"-?\d[\d.,]*")
BASE: dict[str, Any] = {
    "name": "base",
    "sources": {"sales": {"path": "sales.csv"}},
    "examples": {"table": "sales", "label": "y", "split": {"by": "hash", "columns": ["id"]}},
}


@dataclass(frozen=True)
class Block:
    """A fenced block; `words` are those behind the language, a file's name."""

    language: str
    words: str
    text: str
    fails: bool

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command with the lines of output shown under it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
        return found


def blocks(page: Path) -> Iterator[Block]:
    for match in FENCE.finditer(page.read_text()):
        language, _, words = match["info"].strip().partition(" ")
        yield Block(language, words, match["text"], bool(match["fails"]))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def masked(line: str) -> str:
    """The line without what differs from run to run: numbers, and the width of columns."""
    return " ".join(NUMBER.sub("#", line).split())


def test_there_is_something_to_test() -> None:
    names = {page.name for page in PAGES}
    assert {"tutorial.md", "configuration.md", "architecture.md"} <= names
    assert len([command for block in blocks(TUTORIAL) for command in block.commands]) > 10


@pytest.mark.slow
def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}")
    said: list[str] = []
    for block in blocks(TUTORIAL):
        if block.words:
            Path(block.words).write_text(block.text)
        if not block.language:
            assert_shown(block.text.splitlines(), said, "an output block")
        for command, shown in block.commands if block.language == "console" else ():
            status, output = executed(command, monkeypatch, capsys)
            assert bool(status) == block.fails, f"$ {command}\n{output}"
            said = [*said, *output.splitlines()]
            assert_shown(shown, output.splitlines(), command)


def executed(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str]:
    """The exit status of a command and what it printed; `braid` runs in this process, which has loaded TFX already."""
    program, *arguments = shlex.split(command)
    if program == "source":
        return int(not Path(arguments[0]).exists()), ""
    if program == "cd":
        monkeypatch.chdir(arguments[0])
        return 0, ""
    if program != "braid":
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    status: int | str | None = 0
    try:
        main.main(arguments)
    except SystemExit as stop:
        status = stop.code
    told = capsys.readouterr()
    return status, told.out + told.err


def assert_shown(shown: list[str], output: list[str], command: str) -> None:
    """Every shown line was printed, but for its numbers; one that ends in `...` may go on."""
    printed = [masked(line) for line in output]
    for line in filter(str.strip, shown):
        start = masked(line)
        found = start in printed
        if line.rstrip().endswith("..."):
            found = any(other.startswith(start.removesuffix("...").strip()) for other in printed)
        assert found, f"$ {command}\nnever said {line!r}, but:\n" + "\n".join(output)


@pytest.mark.parametrize("page", [page for page in PAGES if page != TUTORIAL], ids=lambda page: page.name)
def test_commands_elsewhere_are_sound(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    targets = set(re.findall(r"^([a-z-]+):.*##", Path("Makefile").read_text(), re.MULTILINE))
    for command, _ in (command for block in blocks(page) if block.language == "console" for command in block.commands):
        program, *arguments = shlex.split(command, comments=True)
        if program == "make":
            assert set(arguments) <= targets, command
        elif program.rpartition("/")[2] == "braid":
            check_usage(arguments)
        else:
            assert program in {"git", "cd", "source"}, f"{page.name}: no test runs '{command}'"


def check_usage(arguments: list[str]) -> None:
    """Lets click read a command line without obeying it; its configuration files must exist."""
    rest = list(itertools.dropwhile(lambda word: word.startswith("-"), arguments))
    if not rest:
        return
    context = click.Context(main.braid, info_name="braid", **main.braid.context_settings)
    command: click.Command | None = main.braid
    words = rest
    while isinstance(command, click.Group) and words:
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, f"there is no command '{name}'"
        context = click.Context(command, parent=context, info_name=name)
    assert command is not None
    command.make_context(str(context.info_name), list(words), parent=context.parent)
    for word in rest[1:]:
        assert not word.startswith("configs/") or Path(word).exists(), word


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make demo" in script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_blocks_are_valid_settings(page: Path) -> None:
    for block in blocks(page):
        if block.language != "yaml":
            continue
        snippet = yaml.safe_load(block.text)
        if "split" in snippet:
            snippet = {"examples": {**BASE["examples"], "split": snippet["split"]}}
        PipelineConfig.model_validate({**BASE, **snippet})


def test_every_command_is_documented() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    every = [*main.COMMANDS, *(f"lineage {question}" for question in QUESTIONS)]
    every += [f"deploy {what}" for what in deploy.commands]
    assert [name for name in every if f"braid {name}" not in text] == []


def test_the_configuration_reference_is_the_code() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference.reference(), (
        "renew it: python -m pipeline.reference > docs/configuration.md"
    )


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as a forge makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_filler_words(page: Path) -> None:
    assert FILLERS.findall(prose(page)) == []
