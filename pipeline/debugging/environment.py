"""The environment that a step ran in: its lock, its Python, its code; found again, or told what differs."""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import listed
from pipeline.errors import RunError
from pipeline.run_facts import PROJECT

LOCK = os.path.join("lock", "requirements.txt")


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a run's environment; '' for what was not.

    Attributes:
      commit: of the code.
      dirty: whether the code differed from it.
      lock: the digest of the lock.
      python: the version.
    """

    commit: str
    dirty: bool
    lock: str
    python: str


def differences(recorded: Recorded, project: str = PROJECT) -> list[str]:
    """How this environment differs from the recorded one, in words; none when it does not."""
    found = list(_code(recorded, project))
    if recorded.lock and _lock_digest(project) != recorded.lock:
        found.append(
            "The packages were others: lock/requirements.txt differs. --env builds an environment from the run's."
        )
    minor, own = recorded.python.rpartition(".")[0], platform.python_version().rpartition(".")[0]
    if recorded.python and minor != own:
        found.append(f"Python was {recorded.python}; this is {platform.python_version()}.")
    return found


def _code(recorded: Recorded, project: str) -> list[str]:
    now = _git(project, "rev-parse", "HEAD")
    if not recorded.commit:
        return ["The run's code version was not recorded."]
    dirty = ["The code differed from its commit when the step ran; how, was not recorded."] if recorded.dirty else []
    if recorded.commit == now:
        changed = _git(project, "status", "--porcelain")
        return [
            *dirty,
            *(["The code has changed since, and is not committed."] if changed and not recorded.dirty else []),
        ]
    short = recorded.commit[:12]
    if not has_commit(recorded.commit, project):
        return [*dirty, f"The run's commit {short} is not in this repository: fetch it, then use --checkout."]
    files = _git(project, "diff", "--name-only", recorded.commit, "HEAD").splitlines()
    told = f"The code was at commit {short}; since then {len(files)} files have changed: {listed(files, 6)}."
    return [*dirty, f"{told} --checkout replays with that commit."]


def has_commit(commit: str, project: str = PROJECT) -> bool:
    """Whether the repository holds a commit."""
    return bool(_git(project, "cat-file", "-t", commit))


def lock_of(recorded: Recorded, project: str = PROJECT) -> str | None:
    """The text of the run's lock: the present one if it is the same, else that of the run's commit; None if neither is."""
    here = os.path.join(project, LOCK)
    if recorded.lock and _lock_digest(project) == recorded.lock:
        return storage.read_text(here)
    text = _git(project, "show", f"{recorded.commit}:{LOCK}") if recorded.commit else ""
    return f"{text}\n" if text and storage.text_digest(f"{text}\n") == recorded.lock else None


def checkout(recorded: Recorded, folder: str, project: str = PROJECT) -> str:
    """A git worktree of the run's commit, in a folder of its own.

    Raises:
      RunError: the commit was not recorded or is not there, or git cannot make it.
    """
    if not recorded.commit or not has_commit(recorded.commit, project):
        raise RunError(
            f"The run's commit {recorded.commit[:12] or '(not recorded)'} is not in this repository.",
            "Fetch it from where it is (git fetch --all); without --checkout the present code is replayed.",
        )
    if os.path.isdir(folder):
        return folder
    done = subprocess.run(
        ["git", "-C", project, "worktree", "add", "--detach", folder, recorded.commit],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RunError(
            f"git cannot check {recorded.commit[:12]} out: {done.stderr.strip()}", "Mend that, or leave --checkout out."
        )
    return folder


def build(requirements: str, folder: str, python: str) -> str:
    """A virtual environment with exactly the packages of a lock; returns its interpreter.

    Raises:
      RunError: that Python cannot be had, or the packages cannot be installed.
    """
    interpreter = os.path.join(folder, "bin", "python")
    if os.path.exists(os.path.join(folder, ".ready")):
        return interpreter
    minor = ".".join(python.split(".")[:2]) or ".".join(platform.python_version_tuple()[:2])
    base = sys.executable if platform.python_version().startswith(f"{minor}.") else shutil.which(f"python{minor}")
    if base is None:
        raise RunError(
            f"The run used Python {python}, and there is no 'python{minor}' on the PATH.",
            f"Install Python {minor}, or build the capsule's Dockerfile instead.",
        )
    for command in (
        [base, "-m", "venv", "--clear", folder],
        [interpreter, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", requirements],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise RunError(f"The environment cannot be built: {''.join(last)}", f"The command was: {' '.join(command)}")
    storage.write_text(os.path.join(folder, ".ready"), "")
    return interpreter


def dockerfile(python: str) -> str:
    """An image with the run's Python and packages, in which the capsule is replayed."""
    minor = ".".join((python or platform.python_version()).split(".")[:2])
    return f"""\
# docker build -t capsule . && docker run --rm -it -v "$PWD:/capsule" -v "<the project>:/project" capsule
FROM python:{minor}-slim-bookworm
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.txt
ENV PYTHONPATH=/project
WORKDIR /capsule
CMD ["python", "replay.py"]
"""


def _lock_digest(project: str) -> str:
    path = os.path.join(project, LOCK)
    return storage.content_digest(path) if storage.exists(path) else ""


def _git(project: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", project, *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
