"""Two families of models from the same flights in one run: what docs/howto-models.md promises, on the real table."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
OVERLAY = str(CONFIGS / "overlays" / "flights_families.yaml")
LEAKS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_both_are_judged_on_the_same_rows_and_the_better_one_is_pushed(
    tmp_path: Path, braid: Callable[..., Any]
) -> None:
    config, place = shutil.copy(CONFIGS / "pipelines" / "flights.yaml", tmp_path), ["--workspace", str(tmp_path / "ws")]
    ended = braid("run", str(config), "--overlay", OVERLAY, *place, "--json")
    assert ended.code == 0, ended.err
    steps = {step["name"]: step for step in json.loads(ended.out)["steps"]}
    [evaluation] = steps["evaluate"]["outputs"]["evaluation"]
    found = json.loads(Path(evaluation["uri"], "metrics.json").read_text())

    aucs = {one["family"]: one["overall"]["test"]["auc"]["value"] for one in found["candidates"]}
    assert aucs["xgboost"] >= 0.70
    assert aucs["keras"] >= 0.68
    chosen = next(one for one in found["candidates"] if one["chosen"])
    assert chosen["overall"]["test"]["auc"]["value"] == max(aucs.values())
    [pushed] = steps["push"]["outputs"]["pushed_model"]
    contract = json.loads(Path(pushed["properties"]["pushed_destination"], "contract.json").read_text())
    assert contract["family"] == chosen["family"]
    assert LEAKS.isdisjoint(feature["name"] for feature in contract["features"])
    trials = json.loads(Path(steps["tune_boosted"]["outputs"]["hyperparameters"][0]["uri"], "trials.json").read_text())
    assert len(trials["trials"] if isinstance(trials, dict) else trials) == 20

    page = tmp_path / "report.html"
    assert braid("report", "latest", "--to", str(page), *place).code == 0
    assert all(one["name"] in page.read_text() for one in found["candidates"])

    again = braid("run", str(config), "--overlay", OVERLAY, *place, "--json")
    assert {step["state"] for step in json.loads(again.out)["steps"] if not step["type"].endswith("Resolver")} == {
        "CACHED"
    }
