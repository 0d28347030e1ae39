"""Images of containers without a container engine: a Dockerfile is read strictly, and what it says is done in a folder."""

import os
import shlex
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

from cloud.worker_environment import worker_python

PINNING = ("--no-cache-dir", "--no-deps", "--require-hashes")
_WORDS = ("FROM", "WORKDIR", "COPY", "RUN", "ENV", "ENTRYPOINT")


class DockerfileError(Exception):
    """The Dockerfile asks for what is not there, or for more than it may."""


@dataclass(frozen=True)
class Instruction:
    """One line."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.rest)


@dataclass
class Image:
    """What was built.

    Attributes:
      base: the image that it stands on.
      root: its files, without the base's.
      python: with its packages.
      site: where Braid was installed; None where that is with the packages.
      environment: its variables.
    """

    base: str
    root: Path
    python: Path
    site: Path | None
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: str = ""
    _at: str = "/"

    def path(self, inside: str) -> Path:
        """A path of the image, on this machine."""
        return self.root / os.path.join(self._at, inside).lstrip("/")


def parse(text: str) -> list[Instruction]:
    """The lines of a Dockerfile.

    Raises:
      DockerfileError: one is none that these images need.
    """
    found = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word not in _WORDS or not rest.strip() or rest.endswith("\\"):
            raise DockerfileError(f"No instruction of these Dockerfiles: {line!r}")
        found.append(Instruction(word, rest.strip()))
    if not found or found[0].word != "FROM":
        raise DockerfileError("A Dockerfile begins with FROM.")
    return found


def build(context: Path, folder: Path, literal: bool = False) -> Image:
    """Does what the Dockerfile in the context says.

    Args:
      context: the build folder.
      folder: for the image's files.
      literal: run pip's lines word for word in a fresh environment; else packages come from one that is kept.

    Raises:
      DockerfileError: a line cannot be followed.
    """
    image = Image("", folder / "root", Path(sys.executable), None)
    for one in parse((context / "Dockerfile").read_text()):
        match one.word:
            case "FROM":
                image.base = one.words[0]
            case "WORKDIR":
                image._at = one.rest
                image.path("").mkdir(parents=True, exist_ok=True)
            case "ENV":
                name, _, value = one.rest.partition("=")
                image.environment[name] = value
            case "COPY":
                _copy(one, context, image)
            case "RUN":
                _run(one, image, folder, literal)
            case "ENTRYPOINT":
                image.entrypoint = one.rest
    return image


def _copy(line: Instruction, context: Path, image: Image) -> None:
    *sources, target = line.words
    if not target.endswith("/"):
        raise DockerfileError(f"Several files go into a folder: {line.rest!r}")
    for source in sources:
        found = (context / source).resolve()
        if source.startswith("-") or not found.is_relative_to(context.resolve()) or not found.is_file():
            raise DockerfileError(f"The build folder holds no file {source!r}.")
        path = image.path(target) / found.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.read_bytes())


def pinned(line: Instruction) -> str:
    """The requirements file of a line that runs pip.

    Raises:
      DockerfileError: it would install what is not pinned by hashes.
    """
    words = line.words
    if words[:2] != ["pip", "install"] or words[-2] != "-r" or not set(PINNING) <= set(words):
        raise DockerfileError(f"Not pinned by hashes: {line.rest!r}")
    if set(words[2:-2]) - {*PINNING, "--no-index"}:
        raise DockerfileError(f"More than is known: {line.rest!r}")
    return words[-1]


def _run(line: Instruction, image: Image, folder: Path, literal: bool) -> None:
    requirements = image.path(pinned(line))
    if not requirements.is_file():
        raise DockerfileError(f"Nothing has copied {requirements.name!r}.")
    if literal:
        if image.site is None and image.python == Path(sys.executable):
            venv.create(folder / "environment", symlinks=True, with_pip=True)
            image.python = folder / "environment" / "bin" / "python"
        _pip([image.python, "-m", *line.words], image)
    elif "--no-index" in line.words:
        image.site = folder / "site"
        _pip([sys.executable, "-m", *line.words, "--target", image.site], image)
    else:
        image.python = worker_python(requirements.read_text())


def _pip(command: list[object], image: Image) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=image.path(""), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DockerfileError(f"{command}: {done.stderr[-2000:]}")
