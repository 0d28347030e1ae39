"""`kill -9` in the middle of a search and of the training after it: `--resume` goes on where each was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sales_project import Braid, Project, assert_nothing_half_written, contents, latest

from pipeline import runs

TRAIN = """
  rounds: 12
  threads: 1
  early_stopping_rounds: 0
  parameters: {subsample: 0.8}
  tune: {trials: 5, space: {eta: {low: 0.05, high: 0.5, log: true}, max_depth: [2, 3, 6]}}
"""
KILLED = """
import os, signal, sys
from beam_jobs import progress
from components.trainer import checkpoints, training
from pipeline.cli import main

checkpoints.SECONDS_BETWEEN, checkpoints.SHARE_OF_TIME, training.ROUNDS_A_NOTE = 0.0, 1e9, 2
commands = [["run", "sales.yaml", "--workspace", "ws", "--workers", "1"]]
commands += [[*commands[0], "--resume", "latest"]] * 2
for note, arguments in zip(sys.argv[1:], commands, strict=True):
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)

        def kill(step):
            if step.note.startswith(note):
                os.kill(os.getpid(), signal.SIGKILL)

        with progress.listening(kill):
            main.main(arguments)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def step(run: runs.Run, name: str) -> runs.Step:
    (found,) = [one for one in run.steps if one.name == name]
    return found


@pytest.mark.long
def test_killed_while_it_searches_and_while_it_trains(project: Project, braid: Braid) -> None:
    project.configure(("\n  rounds: 10\n", TRAIN))
    assert braid("run", "sales.yaml", "--workspace", "whole", "--workers", "1").code == 0
    (project.folder / "sales.schema.pbtxt").unlink()
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, "trial 3 of 5, round 10", "trial 5 of 5", "round 9 "],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.stdout.split() == ["-9", "-9", "-9"], killed.stderr[-3_000:]
    ended = braid("run", "sales.yaml", "--workspace", "ws", "--workers", "1", "--resume", "latest")
    assert ended.code == 0 and "cannot go on" not in ended.err, ended.err
    resumed = latest(project.workspace)
    assert step(resumed, "tune").properties["resumed_from"] == "trial 5"
    assert step(resumed, "train").properties["resumed_from"] == "round 9"
    assert contents(resumed) == contents(latest(project.folder / "whole"))
    assert_nothing_half_written(project.workspace)
    assert list(project.workspace.rglob(".resume")) == []
