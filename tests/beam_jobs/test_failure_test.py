"""The pytest file that a failure becomes: it fails, and passes once the configuration is mended."""

import ast
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from failing_jobs import CAST, JOINED, PEOPLE, SUMMED, TEXTS, fail, failing_tables, only, saved
from small_tables import write_source

from beam_jobs import failure_test, failures
from beam_jobs.errors import DataError
from beam_jobs.failure_test import write_test
from beam_jobs.replay_failure import ShrunkFailure, shrink_failure
from beam_jobs.splits import SplitByColumn
from beam_jobs.table import ROW, Table

HASH = {"by": "hash", "columns": ["n"]}


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Table]:
    return failing_tables(tmp_path)


def configuration(path: Path, step: dict[str, Any], split: dict[str, Any] | None = None) -> str:
    """A pipeline whose second step learns from what the failing one writes."""
    examples = {"table": "step" if split else "rows", "label": "n", "split": split or HASH}
    prepare = {"step": step, **({} if split else {"rows": {"stream": "step", "sql": "SELECT * FROM step"}})}
    sources = {"texts": {"path": "texts.csv"}, "people": {"path": "people.csv"}}
    whole = {"name": "demo", "sources": sources, "prepare": prepare, "examples": examples}
    path.write_text(yaml.safe_dump(whole, sort_keys=False))  # a step reads what stands above it
    return str(path)


def run_pytest(path: str) -> tuple[int, str]:
    """Runs the file as a user would, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
        cwd=os.path.dirname(path),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("sql", "by"), [(JOINED, []), (SUMMED, ["who"])])
def test_it_fails_until_the_query_is_mended(tmp_path: Path, tables: dict[str, Table], sql: str, by: list[str]) -> None:
    config = configuration(tmp_path / "demo.yaml", {"stream": "texts", "sql": sql, "partition_by": by})
    fail(tmp_path / "out", sql, tables, by)
    path = write_test(shrink_failure(only(tmp_path / "out")), str(tmp_path / "case"), config)
    assert os.path.basename(path) == f"test_step_{only(tmp_path / 'out').number}.py"
    code, told = run_pytest(path)
    assert code == 1 and "1 failed" in told and "Could not convert string 'x'137'" in told
    mended = sql.replace("CAST", "TRY_CAST")
    configuration(tmp_path / "demo.yaml", {"stream": "texts", "sql": mended, "partition_by": by})
    code, told = run_pytest(path)
    assert (code, "1 passed" in told) == (0, True), told


def test_it_needs_none_of_the_tables(tmp_path: Path, tables: dict[str, Table]) -> None:
    """The rows that matter are in its folder, those of joined tables too."""
    tables["people"] = saved(tmp_path / "twice", pa.concat_tables([PEOPLE, PEOPLE.slice(4, 1)]))
    sql = "SELECT t.n, p.age FROM texts t JOIN people p USING (who)"
    config = configuration(tmp_path / "demo.yaml", {"stream": "texts", "sql": sql})
    fail(tmp_path / "out", sql, tables)
    path = write_test(shrink_failure(only(tmp_path / "out")), str(tmp_path / "case"), config)
    for name in ("texts", "twice", "people", "out"):
        (tmp_path / name).rename(tmp_path / f"no-{name}")
    assert sorted(os.listdir(tmp_path / "case")) == ["rows.1.parquet", "rows.json", "rows.parquet", "test_step_0.py"]
    assert "multiplies rows of 'texts'" in run_pytest(path)[1]
    configuration(tmp_path / "demo.yaml", {"stream": "texts", "sql": sql, "fan_out": True})
    assert run_pytest(path)[0] == 0


def test_a_split_that_refuses_a_value_is_mended_in_the_configuration(tmp_path: Path, tables: dict[str, Table]) -> None:
    sql = "SELECT who, n FROM texts"
    values = {"train": [f"p{n}" for n in range(7)], "eval": ["p7"], "test": ["q"]}
    step, split = {"stream": "texts", "sql": sql}, {"by": "column", "column": "who", "values": values}
    config = configuration(tmp_path / "demo.yaml", step, split)
    fail(tmp_path / "out", sql, tables, split=SplitByColumn("who", values))
    shrunk = shrink_failure(only(tmp_path / "out"))
    assert shrunk.stream.table.column("who").to_pylist() == ["p8"]
    path = write_test(shrunk, str(tmp_path / "case"), config)
    assert "no split is declared" in run_pytest(path)[1]
    configuration(tmp_path / "demo.yaml", step, {**split, "values": {**values, "test": ["p8"]}})
    assert run_pytest(path)[0] == 0


def test_layers_of_the_run_are_part_of_it(tmp_path: Path, tables: dict[str, Table]) -> None:
    config = configuration(tmp_path / "demo.yaml", {"stream": "texts", "sql": "SELECT n, who FROM texts"})
    overlay = tmp_path / "nightly.yaml"
    overlay.write_text(yaml.safe_dump({"prepare": {"step": {"sql": CAST}}}))
    fail(tmp_path / "out", CAST, tables)
    path = write_test(
        shrink_failure(only(tmp_path / "out")), str(tmp_path / "case"), config, [str(overlay)], ["name=other"]
    )
    assert "Could not convert string" in run_pytest(path)[1]
    overlay.write_text(yaml.safe_dump({"prepare": {"step": {"sql": CAST.replace("CAST", "TRY_CAST")}}}))
    assert run_pytest(path)[0] == 0


# The text


def shrunk_by_hand(tmp_path: Path, rows: pa.Table, step: str = "step", words: str = "rows") -> ShrunkFailure:
    tables = {"texts": saved(tmp_path / "texts", rows)}
    fail(tmp_path / "out", "SELECT CAST(n AS INTEGER) AS n FROM texts", tables)
    found = shrink_failure(only(tmp_path / "out"))
    return dataclasses.replace(found, failure=dataclasses.replace(found.failure, step=step, words=words))


@pytest.mark.parametrize(
    "value",
    [
        '"""\nimport os\nos._exit(3)\n"""',
        "\\",
        "line\r\nend",
        "\u2028import os\u202e",
        "{rows}",
        "x" * 500,
        "ü😀",
        "\0",
    ],
)
def test_nothing_in_the_data_becomes_code(tmp_path: Path, value: str) -> None:
    shrunk = shrunk_by_hand(tmp_path, pa.table({"n": [value]}), step=f"s {value[:99]}", words=f"rows of '{value}'")
    path = write_test(shrunk, str(tmp_path / "case"), f"{value}.yaml", [value], [value])
    text = Path(path).read_text()
    module = ast.parse(text)
    assigned = {
        node.targets[0].id: ast.literal_eval(node.value)  # type: ignore[attr-defined]
        for node in module.body
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call)
    }
    assert assigned == {
        "CONFIG": f"{value}.yaml",
        "OVERLAYS": (value,),
        "ASSIGNMENTS": (value,),
        "STEP": f"s {value[:99]}",
    }
    kinds = [type(node).__name__ for node in module.body]
    assert kinds == ["Expr", "ImportFrom", "ImportFrom", "ImportFrom", *["Assign"] * 5, "FunctionDef"]
    comments = [line for line in text.split("\n") if line.startswith("# ")]
    assert all(len(line) <= 120 and line.isprintable() for line in comments) and len(comments) >= 3


def test_it_is_short_and_in_the_projects_style(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", CAST, tables)
    path = write_test(shrink_failure(only(tmp_path / "out")), str(tmp_path / "case"), "configs/pipelines/demo.yaml")
    text = Path(path).read_text()
    assert text.count("\n") <= 30
    assert '# {"n": "x\'137", "who": "p2", "_row": 137}' in text
    for check in (["format", "--check"], ["check", "--select", "E4,E7,E9,F,W,I,N,UP,B"]):
        command = [sys.executable, "-m", "ruff", *check, "--isolated", "--line-length", "120", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    rows = pq.read_table(tmp_path / "case/rows.parquet")
    assert rows.column_names == ["n", "who", ROW] and rows.num_rows == 1
    assert json.loads((tmp_path / "case/rows.json").read_text())["error"]["hint"]


def test_a_large_table_that_is_needed_whole_is_read_where_it_lies(
    tmp_path: Path, tables: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT t.n, (SELECT CAST(count(*) AS TINYINT) FROM people) AS c FROM texts t"
    tables["people"] = saved(tmp_path / "many", pa.concat_tables([PEOPLE] * 30))
    fail(tmp_path / "out", sql, tables)
    shrunk = shrink_failure(only(tmp_path / "out"))
    assert shrunk.others["people"].table.num_rows == 128
    monkeypatch.setattr(failure_test, "MOST_BYTES", 100)
    write_test(shrunk, str(tmp_path / "case"), "demo.yaml")
    assert sorted(os.listdir(tmp_path / "case")) == ["rows.json", "rows.parquet", "test_step_0.py"]
    kept = failures.load(str(tmp_path / "case/rows.json"))
    assert failures.rows(kept, "people").num_rows == 270


def test_a_folder_that_cannot_be_written(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", CAST, {"texts": write_source(tmp_path / "t", TEXTS)})
    shrunk = shrink_failure(only(tmp_path / "out"))
    (tmp_path / "case").write_text("a file")
    with pytest.raises((DataError, OSError), match="case"):
        write_test(shrunk, str(tmp_path / "case"), "demo.yaml")
