"""The wheel of a kind of steps together with a fresh environment made from its pins."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from debian_packages import NotAvailableError

from cloud.worker_environment import worker_python
from pipeline.deploy.worker_package import WorkerPackage, build, needs_of


def package_of(steps: Sequence[str], folder: Path, families: Sequence[str] = ()) -> tuple[WorkerPackage, Path]:
    """Builds both; skips the test loudly where the packages cannot be had."""
    package = build(needs_of(steps, families), str(folder))
    try:
        return package, worker_python(package.requirements)
    except NotAvailableError as reason:
        pytest.skip(f"NOT TESTED: no environment for workers can be made here. {reason}")
