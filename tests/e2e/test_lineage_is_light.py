"""No question about the past loads TFX, TensorFlow or Beam: each command in a process of its own, on a real run."""

import subprocess
import sys
from pathlib import Path

import pytest
from sales_project import Braid, Project, latest

ROOT = Path(__file__).parents[2]
HEAVY = ("tfx", "tensorflow", "apache_beam")
ASK = """
import sys
from pipeline.cli.main import main
code = 0
try:
    main(sys.argv[2:])
except SystemExit as end:
    code = end.code or 0
print(code, [name for name in sys.argv[1].split(",") if name in sys.modules], file=sys.stderr)
"""
QUESTIONS = (
    ("up", "latest/train"),
    ("up", "latest/train", "--format", "html", "--out", "up.html"),
    ("up", "latest/push", "--format", "openlineage"),
    ("down", "latest/sales.table", "--json"),
    ("file", "sales.csv"),
    ("file", "sales.csv", "--row", "7"),
    ("columns", "latest"),
    ("uses", "sales.amount"),
    ("rows", "sales", "id = 7"),
    ("rows", "sales", "id = 7", "--model", "latest"),
    ("diff", "{first}", "latest"),
    ("why", "latest/train"),
    ("verify",),
    ("waste",),
    ("gc",),
    ("pin", "latest"),
)

pytestmark = pytest.mark.slow


def test_every_question(project: Project, braid: Braid) -> None:
    assert braid().code == 0
    first = latest(project.workspace).name
    assert braid("run", "sales.yaml", "--workspace", "ws", "--set", "train.rounds=12").code == 0
    for question in QUESTIONS:
        words = [word.format(first=first) for word in question]
        done = subprocess.run(
            [sys.executable, "-c", ASK, ",".join(HEAVY), "lineage", *words, "--workspace", "ws"],
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, done.stderr
        assert done.stderr.splitlines()[-1] == "0 []", (words, done.stderr)
