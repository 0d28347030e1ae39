"""Images for containers, as build folders: a Dockerfile and all that it copies, nothing of which is written by hand.

The same code and lock give the same files. Packages are installed with hashes and without looking for more, Braid as a
wheel, so that what runs is what the lock and the code say.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from beam_jobs import storage
from pipeline.deploy import staging, worker_package
from pipeline.deploy.wheel_file import About, write_wheel
from pipeline.deploy.worker_pins import Pin, read_lock, requirements
from pipeline.targets.target import Dataflow

PYTHON = "3.11"
ORCHESTRATOR_BASE, COMPILING_BASE = f"python:{PYTHON}-slim", f"python:{PYTHON}"
_VENV = "/opt/venv"
PACKAGES, BRAID = "requirements.txt", "braid.txt"
DOCKERFILE = "Dockerfile"
PROJECT = worker_package.PROJECT
_ABOUT = About("braid", "Braid", {"braid": "pipeline.cli.main:program"})
_TREES = {
    "beam_jobs": (".py",),
    "components": (".py",),
    "pipeline": (".py", ".html", ".css", ".js"),
    "configs": (".yaml",),
    "lock": ("requirements.txt",),
}
"""What an orchestrator needs of the project, by folder: files that end so."""
_TAG_DIGITS = 12


@dataclass(frozen=True)
class BuildFolder:
    """What `docker build` is given.

    Attributes:
      folder: where it lies.
      files: what it holds beside the Dockerfile.
      changed: files of the wheel that no commit holds as they are.
    """

    folder: str
    files: tuple[str, ...]
    changed: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """A tag for the image: another one for other content."""
        digest = hashlib.sha256()
        for name in (DOCKERFILE, *self.files):
            with open(os.path.join(self.folder, name), "rb") as stream:
                digest.update(name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()[:_TAG_DIGITS]


def write_worker(folder: str, kinds: Sequence[str], families: Sequence[str]) -> BuildFolder:
    """Writes the build folder of an image for workers.

    Args:
      folder: is made; what an earlier call wrote there is replaced.
      kinds: of steps whose jobs run there, names of `worker_package.STEPS`.
      families: of the models that they use, names of `worker_package.FAMILIES`.

    Raises:
      RunError: there is no such kind or family, or the lock lacks a package.
    """
    package = staging.package_of(kinds, families, folder)
    base = f"apache/beam_python{PYTHON}_sdk:{version_of(package.pins, 'apache-beam')}"
    lines = [f"FROM {base}", *installing("/opt/braid", os.path.basename(package.wheel))]
    written = write(folder, lines, package.pins, package.wheel, package.digest)
    return dataclasses.replace(written, changed=package.changed)


def write_orchestrator(folder: str, project: str = PROJECT) -> BuildFolder:
    """Writes the build folder of an image that runs the command `braid`: all of the lock, and Braid.

    Args:
      folder: see `write_worker`.
      project: the source tree.

    Raises:
      LockError: there is no sound lock.
    """
    pins = [*locked(project).values()]
    wheel, digest = write_wheel(_ABOUT, dict(_project_files(project)), [], folder)
    lines = [
        # Some packages come as sources alone; what compiles them is left behind.
        f"FROM {COMPILING_BASE} AS build",
        f"RUN python -m venv {_VENV}",
        f"ENV PATH={_VENV}/bin:$PATH",
        *installing("/opt/braid", os.path.basename(wheel)),
        f"FROM {ORCHESTRATOR_BASE}",
        f"COPY --from=build {_VENV} {_VENV}",
        f"ENV PATH={_VENV}/bin:$PATH",
        "WORKDIR /work",
        'ENTRYPOINT ["braid"]',
    ]
    return write(folder, lines, pins, wheel, digest)


def installing(place: str, wheel: str, packages: str = PACKAGES) -> list[str]:
    """The lines of a Dockerfile that install the pins and the wheel from the folder `place` of the image."""
    return [
        f"WORKDIR {place}",
        f"COPY {packages} {place}/",
        f"RUN pip install --no-cache-dir --no-deps --require-hashes -r {packages}",
        f"COPY {BRAID} {wheel} {place}/",
        f"RUN pip install --no-cache-dir --no-deps --no-index --require-hashes -r {BRAID}",
    ]


def write(
    folder: str,
    lines: Sequence[str],
    pins: Iterable[Pin],
    wheel: str,
    digest: str,
    more: Mapping[str, str] | None = None,
) -> BuildFolder:
    """Writes the Dockerfile and what `installing` copies beside the wheel, which lies in the folder already.

    Args:
      folder: the build folder; other wheels in it are removed.
      lines: of the Dockerfile.
      pins: the packages.
      wheel: its path.
      digest: its SHA-256.
      more: other files by name.
    """
    name = os.path.basename(wheel)
    texts = {PACKAGES: requirements(pins), BRAID: f"./{name} --hash=sha256:{digest}\n", **(more or {})}
    for other in os.listdir(folder):
        if other.endswith(".whl") and other != name:
            os.remove(os.path.join(folder, other))
    for file, text in {**texts, DOCKERFILE: "".join(f"{line}\n" for line in lines)}.items():
        storage.write_text(os.path.join(folder, file), text)
    return BuildFolder(folder, (*sorted(texts), name))


def locked(project: str = PROJECT) -> dict[str, Pin]:
    """The packages of the lock by name.

    Raises:
      LockError: there is no sound lock.
    """
    return read_lock(os.path.join(project, "lock", "requirements.txt"))


def in_registry(target: Dataflow, name: str, tag: str) -> str:
    """The name of an image in the project's own registry, the repository `braid`."""
    return f"{target.region}-docker.pkg.dev/{target.project}/braid/{name}:{tag}"


def version_of(pins: Iterable[Pin], name: str) -> str:
    """The version that a package is pinned to."""
    return next(pin.version for pin in pins if pin.name == name)


def _project_files(project: str) -> Iterator[tuple[str, bytes]]:
    for tree, endings in _TREES.items():
        for root, folders, files in os.walk(os.path.join(project, tree)):
            folders[:] = sorted(one for one in folders if one != "__pycache__")
            for name in sorted(files):
                if name.endswith(endings):
                    path = os.path.join(root, name)
                    with open(path, "rb") as stream:
                        yield os.path.relpath(path, project), stream.read()
