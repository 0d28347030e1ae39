"""The code of the real steps: what it holds and does not hold, and that it holds all that really runs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.code_closure import CodeClosure, changed, code_closure
from pipeline.code_modules import PACKAGES, PROJECT

STEPS = sorted(path.parent.name for path in Path(PROJECT, "components").glob("*/executor.py"))
MOST_RECORDED_BYTES = 40_000

EXPECTED = {
    "ingest": ["beam_jobs.ingest.ingest_chunk", "beam_jobs.csv_format.CsvParser", "beam_jobs.publish.publish"],
    "prepare": ["beam_jobs.kernel.run_query", "beam_jobs.sql.check_query", "beam_jobs.splits.SplitByHash"],
    "arrow_statistics": ["components.arrow_statistics.profiling.CountChunks", "components.tfdv_import.<module>"],
    "schema_file": ["components.schema_file.schema_text.infer_schema"],
    "data_gate": ["components.data_gate.validation.judge", "components.data_gate.findings.Finding"],
    "feature_selector": ["components.feature_selector.selection.select_features", "components.target.fit_target"],
    "trainer": ["components.trainer.training.train", "components.encoding.encode", "components.step_config.parse"],
    "evaluator": ["beam_jobs.judging.JudgeExamples", "components.evaluator.decision.Decision"],
    "pusher": ["components.pusher.pushing.push", "components.blessing.is_blessed"],
    "transform": ["components.transform.analysis.plan", "components.user_module.read_function"],
    "tuner": ["components.tuner.tuning.tune", "components.trainer.boosting.boost", "components.pruning.PrunedError"],
    "keras_trainer": ["components.keras_trainer.training.train", "components.feature_tensors.arrays"],
    "explainer": ["components.explainer.explaining.explain", "components.xgboost_scoring.XgboostScorer"],
    "table_check": ["components.data_gate.validation.judge", "components.arrow_statistics.profiling.CountChunks"],
    "scorer": ["beam_jobs.score.Score", "components.keras_scoring.KerasScorer", "beam_jobs.kernel.run_query"],
}
STRANGERS = {
    "ingest": ["beam_jobs.kernel", "beam_jobs.judging", "components.trainer"],
    "prepare": ["beam_jobs.csv_format", "beam_jobs.judging", "components.data_gate"],
    "trainer": ["components.data_gate", "components.pusher", "beam_jobs.kernel", "beam_jobs.judging"],
    "pusher": ["components.trainer", "beam_jobs.kernel", "components.data_gate"],
    "data_gate": ["components.trainer", "beam_jobs.kernel", "components.evaluator"],
    "tuner": ["components.pusher", "components.evaluator", "beam_jobs.kernel", "beam_jobs.judging"],
}


def code_of(step: str, roots: Mapping[str, str] | None = None) -> CodeClosure:
    return code_closure(f"components.{step}.executor.Executor", roots)


@pytest.fixture
def copied(tmp_path: Path) -> dict[str, str]:
    """The roots of a copy of the project's code."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(PROJECT, package), tmp_path / package, ignore=ignored)
    return {package: str(tmp_path / package) for package in PACKAGES}


def test_every_step_is_told_of() -> None:
    assert set(EXPECTED) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_holds_its_work_and_not_that_of_others(step: str) -> None:
    found = code_of(step).definitions
    assert {f"components.{step}.executor.Executor", *EXPECTED[step]} <= found.keys()
    strangers = STRANGERS.get(step, ["components.trainer.training", "components.pusher"])
    assert [name for name in found if name.startswith(("pipeline.", *(f"{module}." for module in strangers)))] == []


@pytest.mark.parametrize("step", STEPS)
def test_a_record_is_small(step: str) -> None:
    assert len(json.dumps(dict(code_of(step).definitions))) < MOST_RECORDED_BYTES


def test_comments_docstrings_and_layout_of_the_whole_project_do_not_count(copied: dict[str, str]) -> None:
    """Each file is told anew from its syntax tree, without its comments, and with another docstring."""
    import ast

    before = {step: code_of(step, copied) for step in STEPS}
    assert {step: code.digest for step, code in before.items()} == {step: code_of(step).digest for step in STEPS}
    for root in copied.values():
        for path in Path(root).rglob("*.py"):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
                    node.body[0] = ast.Expr(ast.Constant("Other words."))
            path.write_text("# A comment.\n" + ast.unparse(ast.fix_missing_locations(tree)) + "\n# The end.\n")
    assert {step: code_of(step, copied) for step in STEPS} == before


@pytest.mark.parametrize(
    ("file", "old", "new", "edited", "steps"),
    [
        ("components/trainer/training.py", "ROUNDS_A_NOTE = 10", "ROUNDS_A_NOTE = 11", "ROUNDS_A_NOTE", {"trainer"}),
        ("components/tfdv_import.py", "_fill_gap()\n\n", "_fill_gap()\nprint()\n\n", "<module>", {"arrow_statistics", "data_gate", "schema_file", "table_check"}),
        ("beam_jobs/errors.py", "_tagged_with_step = True", "_tagged_with_step = 1", "BraidError", set(STEPS)),
        ("beam_jobs/csv_format.py", "class CsvParser:", "class CsvParser(object):", "CsvParser", {"ingest"}),
        ("pipeline/errors.py", "class RunError(BraidError)", "class RunError(BraidError, OSError)", "RunError", set()),
    ],
)  # fmt: skip
def test_an_edit_concerns_the_steps_that_use_it(
    copied: dict[str, str], file: str, old: str, new: str, edited: str, steps: set[str]
) -> None:
    before = {step: code_of(step, copied) for step in STEPS}
    path = Path(copied["pipeline"]).parent / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    after = {step: code_of(step, copied) for step in STEPS}
    assert {step for step in STEPS if after[step].digest != before[step].digest} == steps
    full = f"{file.removesuffix('.py').replace('/', '.')}.{edited}"
    for step in steps:
        assert full in changed(before[step].definitions, after[step].definitions).edited


def test_all_steps_together_cost_little() -> None:
    """Of processor time, in a fresh process, and again once the files are known."""
    script = """
import sys, time
from pipeline.code_closure import code_closure
for _ in range(2):
    started = time.process_time()
    for step in sys.argv[1:]:
        code_closure(f"components.{step}.executor.Executor")
    print(time.process_time() - started)
assert not {"tfx", "apache_beam", "components"} & sys.modules.keys()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *STEPS], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    first, again = map(float, done.stdout.split())
    assert first < 2.0
    assert again < first / 2


def test_the_packages_of_the_steps_hold_nothing_but_python() -> None:
    """A file of another kind would be an input that no import tells of, unless the code reads it as package data."""
    for package in ("beam_jobs", "components"):
        files = [
            path for path in Path(PROJECT, package).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ]
        assert {path.suffix for path in files} == {".py"}


CONFIG = """\
name: sales
sources:
  sales: {path: sales.csv}
prepare:
  shops:
    stream: sales
    partition_by: [shop]
    sql: SELECT shop, avg(amount) AS usual FROM sales GROUP BY shop
  orders:
    stream: sales
    sql: |
      SELECT s.id, s.day, s.amount, s.shop, s.kind, p.usual, s.late = 1 AS late
      FROM sales s LEFT JOIN shops p ON s.shop = p.shop
examples:
  table: orders
  label: late
  split: {by: hash, columns: [id], shares: {train: 0.6, eval: 0.2, test: 0.2}}
select:
  exclude: [id, day]
train:
  - {name: boosted, rounds: 10, tune: {trials: 2}}
  - {name: deep, family: keras, epochs: 1}
evaluate:
  slices: [shop]
"""


@pytest.mark.slow
def test_whatever_a_step_really_runs_is_in_its_code(tmp_path: Path, copied: dict[str, str]) -> None:
    """Every function of the project that an executor called in a whole run, and every module that it loaded."""
    lines = ["id,day,amount,shop,kind,late"]
    for row in range(900):
        amount, late = row * 37 % 100, int(row * 37 % 100 + row % 7 > 50)
        lines.append(f"{row},2024-0{1 + row % 9}-01,{amount},{'nsew'[row % 4]},{'abc'[row % 3]},{late}")
    (tmp_path / "sales.csv").write_text("\n".join([*lines, "x,y,z"]) + "\n")
    (tmp_path / "sales.yaml").write_text(CONFIG)
    program = [sys.executable, str(Path(__file__).with_name("traced_run.py")), str(tmp_path), "sales.yaml", "ws"]
    around = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(program, cwd=tmp_path, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:] + done.stdout[-2_000:]
    ran: dict[str, list[list[str]]] = json.loads(done.stdout.splitlines()[-1])
    assert set(ran) == {f"components.{step}.executor" for step in STEPS}
    assert sum(map(len, ran.values())) > 500
    unseen = []
    for module, codes in ran.items():
        code = code_closure(f"{module}.Executor", copied)
        for file, name in codes:
            place = os.path.relpath(file, tmp_path).removesuffix(".py").replace(os.sep, ".")
            is_definition = name and not name.startswith("<")
            if file not in code.files or (
                is_definition and f"{place}.{name.partition('.')[0]}" not in code.definitions
            ):
                unseen.append((module, place, name))
    assert unseen == []
