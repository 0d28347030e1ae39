"""The environment that a step ran in: its lock, its Python, its code; found again, or told what differs."""

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import listed
from pipeline.errors import RunError
from pipeline.run_facts import PROJECT

_COMMIT, _MINOR = re.compile(r"[0-9a-f]{7,64}"), re.compile(r"3\.\d+")
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
    return bool(_COMMIT.fullmatch(commit) and _git(project, "cat-file", "-t", commit))


def lock_of(recorded: Recorded, project: str = PROJECT) -> str | None:
    """The text of the run's lock: the present one if it is the same, else that of the run's commit; None if neither is."""
    here = os.path.join(project, LOCK)
    if recorded.lock and _lock_digest(project) == recorded.lock:
        return storage.read_text(here)
    text = _git(project, "show", f"{recorded.commit}:{LOCK}") if recorded.commit else ""
    return f"{text}\n" if text and storage.text_digest(f"{text}\n") == recorded.lock else None


def checkout(recorded: Recorded, folder: str, project: str = PROJECT) -> str:
    """A git worktree of the run's commit, in a folder of its own; one that is there already is used again.

    Raises:
      RunError: the commit was not recorded or is not there, or git cannot make it, or the folder holds another commit.
    """
    if not recorded.commit or not has_commit(recorded.commit, project):
        raise RunError(
            f"The run's commit {recorded.commit[:12] or '(not recorded)'} is not in this repository.",
            "Fetch it from where it is (git fetch --all); without --checkout the present code is replayed.",
        )
    if os.path.isdir(folder):
        held = _git(folder, "rev-parse", "HEAD")
        if held != recorded.commit:
            raise RunError(
                f"'{folder}' holds {f'commit {held[:12]}' if held else 'something else'}, not {recorded.commit[:12]}.",
                f"Remove it (git worktree remove {folder}), or name another place for the capsule with --to.",
            )
        return folder
    _git(project, "worktree", "prune")  # a capsule that was deleted leaves its worktree's record
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


def check_replays(code: str) -> None:
    """That a checkout of the project is one, and can replay.

    Raises:
      RunError: there is none, or it is older than capsules.
    """
    if os.path.isfile(os.path.join(code, "pipeline", "debugging", "replaying.py")):
        return
    if os.path.isdir(os.path.join(code, "beam_jobs")):
        raise RunError(
            f"The code in '{code}' is older than `braid debug`, so it holds no program that replays.",
            f"Without it the present code is replayed; `git diff` tells what has changed since: git -C {code} diff HEAD.",
        )
    raise RunError(f"'{code}' is no checkout of this project.", "Name the folder that holds beam_jobs/ and pipeline/.")


def build(requirements: str, folder: str, python: str) -> str:
    """A virtual environment with exactly the packages of a lock; returns its interpreter.

    Raises:
      RunError: that Python cannot be had, or the packages cannot be installed.
    """
    interpreter, ready = os.path.join(folder, "bin", "python"), os.path.join(folder, ".ready")
    digest = storage.content_digest(requirements)
    if os.path.exists(ready) and storage.read_text(ready) == digest:
        return interpreter
    minor = _minor(python)
    base = sys.executable if platform.python_version().startswith(f"{minor}.") else shutil.which(f"python{minor}")
    if base is None:
        raise RunError(
            f"The run used Python {python}, and there is no 'python{minor}' on the PATH.",
            f"Install Python {minor}, or build the capsule's Dockerfile instead.",
        )
    # What is not compiled as it is installed would be at every start, for 40 seconds.
    compiling = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for command in (
        [base, "-m", "venv", "--clear", folder],
        [
            interpreter,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--compile",
            "--no-deps",
            "--require-hashes",
            "-r",
            requirements,
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=compiling)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise RunError(f"The environment cannot be built: {''.join(last)}", f"The command was: {' '.join(command)}")
    storage.write_text(ready, digest)
    return interpreter


def dockerfile(python: str) -> str:
    """An image with the run's Python and packages, in which the capsule is replayed."""
    minor = _minor(python)
    return f"""\
# docker build -t capsule . && docker run --rm -it -v "$PWD:/capsule" -v "<the project>:/project" capsule
FROM python:{minor}-slim-bookworm
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.txt
ENV PYTHONPATH=/project
WORKDIR /capsule
CMD ["python", "replay.py"]
"""


def _minor(python: str) -> str:
    """Such as `3.11`, of a recorded version; this program's own where none was recorded."""
    found = _MINOR.match(python) or _MINOR.match(platform.python_version())
    return found.group() if found else ""


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
