"""A second `braid run` of the flights, which reuses every step, against the bare import of TFX that it cannot do without."""

import os
import shutil
import subprocess
import sys

from benchmarks import flights_rows
from benchmarks.measure import compare, work

MODULE = "benchmarks.second_run"
ROOT = os.path.join(flights_rows.CACHE, "second-run")
CONFIG = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs", "pipelines", "flights.yaml"
)
COMMAND = [sys.executable, "-m", "pipeline.cli.main", "run", f"{ROOT}/flights.yaml", "--workspace", f"{ROOT}/workspace"]


def second() -> None:
    """The whole command in a process of its own."""
    with work():
        subprocess.run(COMMAND, check=True, capture_output=True)


def imports() -> None:
    """TFX's launcher, compiler and pipeline, imported in a process of their own."""
    modules = "tfx.orchestration.portable.launcher, tfx.dsl.compiler.compiler, tfx.orchestration.pipeline, tfx.components.util.examples_utils"
    with work():
        subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {modules}"], check=True, capture_output=True)


def main() -> None:
    """Prints the seconds that the run takes beyond TFX's import."""
    shutil.rmtree(ROOT, ignore_errors=True)
    os.makedirs(ROOT)
    shutil.copy(CONFIG, ROOT)
    subprocess.run(COMMAND, check=True, capture_output=True)
    measured = compare(MODULE, {"second": ("second",), "imports": ("imports",)}, 5)
    run, tfx = measured["second"].wall, measured["imports"].wall
    print(
        f"\nA second run of the flights: {run:.1f} s, of which TFX's import is {tfx:.1f} s: {run - tfx:.1f} s beyond it (medians of 5)"
    )
    shutil.rmtree(ROOT, ignore_errors=True)


if __name__ == "__main__":
    {"second": second, "imports": imports}[sys.argv[1]]()
