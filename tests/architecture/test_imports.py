"""What importing a part of Braid loads: a command's help answers at once, a Beam worker needs no TFX."""

import os
import subprocess
import sys

import pytest
from source_tree import ROOT, imported_when_loaded, module_name, source_files

from pipeline.cli.lineage import QUESTIONS
from pipeline.cli.main import COMMANDS

HEAVY = ("tfx", "tensorflow", "apache_beam")
MOST_HELP_SECONDS = 0.5

HELP = """
import sys
from pipeline.cli.main import main
try:
    main(sys.argv[2:])
finally:
    print([name for name in sys.argv[1].split(",") if name in sys.modules], file=sys.stderr)
"""
FIRST_TO_LOAD = """
import importlib, sys
modules, unwanted = sys.argv[1].split(","), sys.argv[2].split(",")
for module in modules:
    importlib.import_module(module)
    loaded = [name for name in unwanted if name in sys.modules]
    if loaded:
        sys.exit(f"to import {module} loads {loaded}")
print("imported", len(modules))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), *(["lineage", name] for name in QUESTIONS)], ids=" ".join
)
def test_help_loads_no_heavy_library(command: list[str]) -> None:
    done = python(HELP, ",".join(HEAVY), *command, "--help")
    assert done.stdout.startswith(f"Usage: {' '.join(['braid', *command])}"), done.stderr
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_help_costs_little() -> None:
    """Processor time of the process, which does not depend on what else the machine does."""
    assert min(_help_seconds() for _ in range(3)) < MOST_HELP_SECONDS


def _help_seconds() -> float:
    started = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", HELP, "", "--help"],
        {**os.environ, "PYTHONPATH": str(ROOT)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
    )
    _, status, usage = os.wait4(started, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_utime + usage.ru_stime


def test_the_data_strand_loads_no_machine_learning() -> None:
    """A Beam worker has neither TFX nor what it needs installed."""
    modules = [module_name(path) for path in source_files() if path.parts[0] == "beam_jobs"]
    done = python(FIRST_TO_LOAD, ",".join(modules), "tfx,tensorflow,ml_metadata,xgboost")
    assert (done.returncode, done.stdout) == (0, f"imported {len(modules)}\n"), done.stderr


def test_defining_a_pipeline_loads_no_machine_learning_library() -> None:
    """TFX itself loads TensorFlow; the libraries of the steps load where a step runs."""
    wrappers = [path for path in source_files() if path.name in ("component.py", "executor.py")]
    modules = [module_name(path) for path in wrappers]
    done = python(FIRST_TO_LOAD, ",".join(modules), "xgboost,tensorflow_data_validation,tfx.components")
    assert (done.returncode, done.stdout) == (0, f"imported {len(modules)}\n"), done.stderr[-500:]


def test_the_command_line_imports_only_what_is_light() -> None:
    """At module level; what a command needs beyond that it imports as it runs."""
    light = {"click", "rich", "yaml", *sys.stdlib_module_names}
    own = {"beam_jobs.errors", "pipeline.errors", "pipeline.interruption", "pipeline.remote.leaving", "pipeline.cli"}
    for path in source_files():
        if module_name(path).startswith(("pipeline.cli", *own, "pipeline.settings")):
            for name in imported_when_loaded(path):
                ours = any(f"{name}.".startswith(f"{one}.") for one in own)
                assert ours or name.partition(".")[0] in light, f"{path} imports {name}"
