"""A fresh virtual environment from a worker's pins, hashes checked; made once for the same pins and Python."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv

from pipeline.errors import RunError

SECONDS = 900
_WHOLE = "compiled"


def python_of(requirements: str, folder: str = "") -> str:
    """Python of an environment with exactly these packages, and of Braid nothing.

    Args:
      requirements: with hashes, as `pip install --require-hashes` takes them.
      folder: where environments are kept; the user's cache unless given.

    Raises:
      RunError: pip cannot install them.
    """
    digest = hashlib.sha256(f"{sys.version}\n{requirements}".encode()).hexdigest()[:16]
    root = os.path.join(folder or cache_folder(), f"worker-{digest}")
    os.makedirs(os.path.dirname(root), exist_ok=True)
    with open(f"{root}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may make the same one
        if not os.path.exists(os.path.join(root, _WHOLE)):
            shutil.rmtree(root, ignore_errors=True)
            _make(root, requirements)
    return os.path.join(root, "bin", "python")


def cache_folder() -> str:
    """Where environments are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "braid", "workers")


def _make(root: str, requirements: str) -> None:
    """In place, as scripts name their Python by its path; whole once its mark is there."""
    venv.create(root, symlinks=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = [sys.executable, "-m", "pip", "--quiet", "--python", os.path.join(root, "bin", "python"), "install"]
        command += ["--compile", "--no-deps", "--require-hashes", "-r", file.name]
        done = _run([*command, "--only-binary", ":all:"])
        if done.returncode:  # some packages come as sources alone
            done = _run(command)
    if done.returncode:
        shutil.rmtree(root, ignore_errors=True)
        raise RunError(
            f"pip cannot install what workers install: {done.stderr.strip()[-1000:]}",
            "See that the package index can be reached; leave --fresh out to check with what is installed here.",
        )
    with open(os.path.join(root, _WHOLE), "w"):
        pass


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
