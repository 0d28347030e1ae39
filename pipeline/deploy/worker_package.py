"""The wheel that remote workers install: `beam_jobs`, and of `components` only what the steps' jobs run there.

The same code gives the same bytes, whatever the machine, the clock or the commit: the wheel's digest is the code's. What it was
built from (commit, changed files) is told beside it.
"""

import ast
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from beam_jobs.errors import listed, nearest
from pipeline.deploy.wheel_file import About, write_wheel
from pipeline.deploy.worker_pins import LockError, Pin, closure, read_lock, requirements
from pipeline.errors import RunError

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_ABOUT = About("braid-worker", "What Braid's Beam jobs run on workers")
_OURS = ("beam_jobs", "components")
_UNPICKLED_BY_NAME = "beam_jobs"


@dataclass(frozen=True)
class WorkerNeeds:
    """What the job of a step needs on a worker.

    Attributes:
      modules: those of Braid that its graph names; what they import comes along.
      packages: those of the lock that they import; what those need comes along.
    """

    modules: tuple[str, ...]
    packages: tuple[str, ...]


DATA = WorkerNeeds(
    modules=(),  # all of `beam_jobs` is in every wheel
    packages=(
        "apache-beam",
        "duckdb",
        "numpy",
        "pyarrow",
        # Cloud Storage through Beam.
        "google-apitools",
        "google-auth-httplib2",
        "google-cloud-storage",
    ),
)
STEPS: Mapping[str, WorkerNeeds] = {
    "ingest": DATA,
    "prepare": DATA,
    "statistics": WorkerNeeds(
        ("components.arrow_statistics.profiling",),
        (*DATA.packages, "tensorflow-data-validation", "tensorflow-metadata"),
    ),
    "transform": WorkerNeeds(
        ("components.transform.analysis_job",),
        (*DATA.packages, "tensorflow", "tensorflow-metadata", "tensorflow-transform", "tfx-bsl"),
    ),
    "evaluate": WorkerNeeds(("components.evaluator.evaluation",), DATA.packages),
    "evaluate_tfma": WorkerNeeds(
        ("components.evaluator.evaluation", "components.evaluator.tfma_metrics"),
        (*DATA.packages, "tensorflow-model-analysis"),
    ),
    "score": WorkerNeeds(("components.scorer.predictions",), DATA.packages),
}
"""By the kind of step; jobs of one kind share a wheel."""
FAMILIES: Mapping[str, WorkerNeeds] = {
    "xgboost": WorkerNeeds(("components.xgboost_scoring",), ("xgboost",)),
    "keras": WorkerNeeds(("components.keras_scoring",), ("tensorflow", "tf-keras")),
}
"""What jobs that use models need beside it, by the models' family; `components.scoring` loads these by name."""


@dataclass(frozen=True)
class WorkerPackage:
    """What workers install.

    Attributes:
      wheel: its path.
      digest: SHA-256 of its bytes, in hexadecimal.
      modules: what it holds, by dotted name.
      pins: the packages that it needs.
      commit: of the repository, '' where there is none.
      changed: files of the wheel that differ from the commit, or are not in it.
    """

    wheel: str
    digest: str
    modules: tuple[str, ...]
    pins: tuple[Pin, ...]
    commit: str
    changed: tuple[str, ...]

    @property
    def requirements(self) -> str:
        """The pins as a requirements file with hashes."""
        return requirements(self.pins)

    @property
    def requirements_digest(self) -> str:
        """SHA-256 of that file."""
        return hashlib.sha256(self.requirements.encode()).hexdigest()

    @property
    def facts(self) -> dict[str, str | int]:
        """What to record of it."""
        return {
            "worker_wheel": os.path.basename(self.wheel),
            "worker_digest": self.digest,
            "worker_requirements_digest": self.requirements_digest,
            "worker_commit": self.commit,
            "worker_changed_files": listed(self.changed),
            "worker_dirty": int(bool(self.changed)),
        }


def needs_of(steps: Iterable[str], families: Iterable[str] = ()) -> WorkerNeeds:
    """What workers need for steps of these kinds together.

    Args:
      steps: names of `STEPS`.
      families: of the models that they use, names of `FAMILIES`.

    Raises:
      RunError: there is no such kind or family.
    """
    chosen = [*(_known(STEPS, step, "kind of step with a job for workers") for step in steps)]
    chosen += [_known(FAMILIES, family, "family of models for workers") for family in families]
    modules = dict.fromkeys(name for needs in chosen for name in needs.modules)
    packages = dict.fromkeys(name for needs in chosen for name in needs.packages)
    return WorkerNeeds(tuple(modules), tuple(packages))


def _known(every: Mapping[str, WorkerNeeds], name: str, what: str) -> WorkerNeeds:
    if name not in every:
        raise RunError(f"There is no {what} '{name}'.{nearest(name, every)}", f"There are: {listed(every)}.")
    return every[name]


def build(needs: WorkerNeeds, folder: str, project: str = PROJECT) -> WorkerPackage:
    """Writes the wheel into the folder and finds the pins.

    Args:
      needs: see `needs_of`.
      folder: where the wheel goes.
      project: the source tree, with `lock/requirements.txt`.

    Raises:
      LockError: the lock lacks a package that a worker needs.
      RunError: a module does not exist, or its code does not parse.
    """
    files = modules_for(needs.modules, project)
    lock = os.path.join(project, "lock", "requirements.txt")
    pins = closure(read_lock(lock), needs.packages)
    direct = [pin for pin in pins if pin.name in needs.packages]
    contents = {path: _read(os.path.join(project, path)) for path in files.values()}
    wheel, digest = write_wheel(_ABOUT, contents, [pin.requirement for pin in direct], folder)
    commit, changed = _state_of(project, tuple(contents))
    return WorkerPackage(wheel, digest, tuple(files), tuple(pins), commit, changed)


def modules_for(modules: Iterable[str], project: str = PROJECT) -> dict[str, str]:
    """All of `beam_jobs`, these modules and what they import of Braid, wherever in them; paths in the project by name.

    Raises:
      RunError: there is no such module, it is none for workers, or it does not parse.
    """
    every = sorted(os.listdir(os.path.join(project, _UNPICKLED_BY_NAME)))
    todo = [f"{_UNPICKLED_BY_NAME}.{name[:-3]}" for name in every if name.endswith(".py")]
    todo += modules
    found: dict[str, str] = {}
    while todo:
        name = todo.pop().removesuffix(".__init__")
        if name in found:
            continue
        path = _path_of(name, project)
        if path is None:
            raise RunError(
                f"There is no module '{name}' for workers in '{project}'.",
                f"Workers get modules of {listed(_OURS)} alone.",
            )
        found[name] = path
        todo += [parent] if (parent := name.rpartition(".")[0]) else []
        todo += [one for one in _imported(path, project) if one not in found]
    return dict(sorted(found.items()))


def _path_of(name: str, project: str) -> str | None:
    """The module's file in the project; None where the name is no module of ours."""
    if name.partition(".")[0] not in _OURS:
        return None
    base = name.replace(".", "/")
    candidates = (f"{base}.py", f"{base}/__init__.py")
    return next((path for path in candidates if os.path.isfile(os.path.join(project, path))), None)


def _imported(path: str, project: str) -> Iterator[str]:
    """The modules of ours that a file imports: at its top, in functions, or for types."""
    try:
        tree = ast.parse(_read(os.path.join(project, path)), path)
    except SyntaxError as error:
        raise RunError(f"'{path}', line {error.lineno}: {error.msg}.", "Mend it: workers would fail on it.") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if _path_of(name, project) else str(node.module) for name in names]
        else:
            continue
        yield from (name for name in names if _path_of(name, project))


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _state_of(project: str, paths: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The commit, and those of the files that it does not hold as they are."""
    commit = _git(project, "rev-parse", "HEAD").strip()
    if not commit:
        return "", ()
    told = _git(project, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *_OURS)
    changed = {entry[3:] for entry in told.split("\0") if entry}
    return commit, tuple(sorted(changed & set(paths)))


def _git(project: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", project, *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


__all__ = ["DATA", "FAMILIES", "STEPS", "LockError", "WorkerNeeds", "WorkerPackage", "build", "modules_for", "needs_of"]
