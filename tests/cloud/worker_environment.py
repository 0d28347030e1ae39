"""Fresh virtual environments for workers, made from pinned requirements alone and kept from one test run to the next."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from debian_packages import NotAvailableError, cache_folder

SECONDS = 500
_COMPILED = "compiled"


def worker_python(requirements: str) -> Path:
    """Python of an environment with exactly these packages, and of Braid nothing.

    Args:
      requirements: with hashes, as `pip install --require-hashes` takes them.

    Raises:
      NotAvailableError: the packages cannot be had here, with pip's reasons.
    """
    digest = hashlib.sha256(f"{sys.version}\n{requirements}".encode()).hexdigest()[:16]
    root = cache_folder() / f"worker-{digest}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{root}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may run tests
        if not (root / _COMPILED).exists():
            shutil.rmtree(root, ignore_errors=True)
            _make(root, requirements)
    return root / "bin" / "python"


def _make(root: Path, requirements: str) -> None:
    """In place, as scripts name their Python by its path; whole once its mark is there."""
    venv.create(root, symlinks=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = [sys.executable, "-m", "pip", "--quiet", "--python", root / "bin" / "python", "install"]
        command += ["--compile", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", file.name]
        done = _run(command)
        if done.returncode:  # some packages come as sources alone
            done = _run([word for word in command if word not in ("--only-binary", ":all:")])
    if done.returncode:
        shutil.rmtree(root, ignore_errors=True)
        raise NotAvailableError(f"pip cannot install the worker's packages:\n{done.stderr[-2000:]}")
    (root / _COMPILED).touch()


def _run(command: list[object]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def missing_modules(python: Path, wheel: str, modules: tuple[str, ...]) -> str:
    """Imports the modules one after the other with the wheel as the only code of Braid; '' or what went wrong."""
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": wheel, "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [python, "-W", "error::ImportWarning", "-c", program, *modules],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode else ""
