"""The two pipelines that ship: what the README promises of them, on the real tables."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

CONFIGS = Path(__file__).parents[2] / "configs" / "pipelines"
WEATHER = {"temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"}
SCHEDULE = {"sched_dep_time", "sched_arr_time", "hour", "minute", "weekday"}
AFTER_DEPARTURE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}

pytestmark = pytest.mark.slow


def copied(name: str, folder: Path) -> Path:
    """The configuration in a folder of its own, so that the schema that it infers stays there."""
    return Path(shutil.copy(CONFIGS / f"{name}.yaml", folder))


def run(braid: Callable[..., Any], config: Path, workspace: Path) -> dict[str, Any]:
    ended = braid("run", str(config), "--workspace", str(workspace), "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return {step["name"]: step for step in found["steps"]}


def document(steps: dict[str, Any], step: str, key: str, file: str) -> dict[str, Any]:
    [output] = steps[step]["outputs"][key]
    read: dict[str, Any] = json.loads((Path(output["uri"]) / file).read_text())
    return read


def ledgers(steps: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        output["properties"]["table"]: output["properties"]["ledger"]
        for step in steps.values()
        for outputs in step["outputs"].values()
        for output in outputs
        if "ledger" in output["properties"]
    }


def test_flights(tmp_path: Path, braid: Callable[..., Any]) -> None:
    config, workspace = copied("flights", tmp_path), tmp_path / "workspace"
    steps = run(braid, config, workspace)

    counted = ledgers(steps)
    assert counted["flights"]["read"] == 336_776
    for name, ledger in counted.items():
        assert ledger["read"] == sum(ledger[k] for k in ("rejected", "filtered", "merged", "kept")), name
        assert ledger["written"] == ledger["kept"] + ledger["multiplied"], name
    kept = {f["name"] for f in document(steps, "select", "importances", "importances.json")["features"] if f["kept"]}
    assert kept & WEATHER
    assert kept & SCHEDULE
    assert not kept & AFTER_DEPARTURE
    metrics = document(steps, "evaluate", "evaluation", "metrics.json")
    assert metrics["splits"]["test"]["overall"]["auc"]["value"] >= 0.68
    assert metrics["decision"]["blessed"]
    served = workspace / "flights" / "serving" / "current"
    assert (served / "model.ubj").exists()
    [examples] = steps["departures"]["outputs"]["examples"]
    judged_on_later_months(examples["uri"])

    again = run(braid, config, workspace)
    ran = [name for name, step in again.items() if step["state"] != "CACHED" and not step["type"].endswith("Resolver")]
    assert ran == []


def judged_on_later_months(examples: str) -> None:
    months = {
        split: duckdb.sql(
            f"SELECT min(time_hour) AS low, max(time_hour) AS high FROM '{examples}/Split-{split}/*.parquet'"
        ).fetchall()[0]
        for split in ("train", "eval", "test")
    }
    assert months["train"][1] < months["eval"][0] < months["eval"][1] < months["test"][0]


def test_taxi(tmp_path: Path, braid: Callable[..., Any]) -> None:
    steps = run(braid, copied("taxi", tmp_path), tmp_path / "workspace")
    assert ledgers(steps)["trips"]["read"] == 15_002
    metrics = document(steps, "evaluate", "evaluation", "metrics.json")
    assert metrics["splits"]["test"]["overall"]["auc"]["value"] >= 0.93
    kept = {f["name"] for f in document(steps, "select", "importances", "importances.json")["features"] if f["kept"]}
    assert "tips" not in kept
