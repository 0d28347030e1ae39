"""Fresh virtual environments for workers, made from pinned requirements alone and kept from one test run to the next."""

import os
import subprocess
from pathlib import Path

from debian_packages import NotAvailableError, cache_folder

from pipeline.errors import RunError
from pipeline.preflight import fresh_environment


def worker_python(requirements: str) -> Path:
    """Python of an environment with exactly these packages, and of Braid nothing.

    Raises:
      NotAvailableError: the packages cannot be had here, with pip's reasons.
    """
    try:
        return Path(fresh_environment.python_of(requirements, str(cache_folder())))
    except RunError as error:
        raise NotAvailableError(str(error)) from error


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
