"""Real runs, one from the cache and one that fails, as `braid lineage` tells of them."""

import hashlib
import json
from typing import Any

import pytest
from openlineage_events import assert_valid
from sales_project import SALES, Braid, Project, latest

Event = dict[str, Any]


def only(events: list[Event], job: str, kind: str) -> list[Event]:
    return [event for event in events if (event["job"]["name"], event["eventType"]) == (f"sales.{job}", kind)]


@pytest.mark.slow
def test_runs_cached_and_failed_as_openlineage_and_as_a_tree(project: Project, braid: Braid) -> None:
    assert braid().code == 0
    first = latest(project.workspace).name
    assert braid().code == 0
    project.configure(more="  parameters: {no_such_parameter: 1}\n")
    assert braid().code == 1
    asked = ("--workspace", "ws")
    done = braid("lineage", "down", f"{first}/sales.table", "--format", "openlineage", *asked)
    assert (done.code, done.err) == (0, "")
    events = [json.loads(line) for line in done.out.splitlines()]
    for event in events:
        assert_valid(event)
    trained = only(events, "train", "COMPLETE")
    tags = [{tag["key"]: tag["value"] for tag in event["run"]["facets"]["tags"]["tags"]} for event in trained]
    assert [("cached" in found, found["run"] == first) for found in tags] == [(False, True), (True, False)]
    (failed,) = only(events, "train", "FAIL")
    assert "no_such_parameter" in failed["run"]["facets"]["errorMessage"]["message"]
    assert "Traceback" in failed["run"]["facets"]["errorMessage"]["stackTrace"]
    _assert_facets(events)
    _assert_tree(braid("lineage", "up", f"{first}/push", *asked).out, first)
    down = braid("lineage", "down", f"{first}/sales.table", *asked).out
    assert "train ✗ failed, " in down
    assert "no_such_parameter" in down
    assert "train = from the cache" in down


def _assert_facets(events: list[Event]) -> None:
    prepared = only(events, "orders", "COMPLETE")[0]
    assert prepared["run"]["facets"]["processing_engine"]["name"] == "Braid, with Beam's FnApiRunner"
    (examples,) = prepared["outputs"]
    origins = examples["facets"]["columnLineage"]["fields"]
    assert [field["field"] for field in origins["late"]["inputFields"]] == ["late"]
    assert origins["late"]["inputFields"][0]["transformations"][0]["subtype"] == "TRANSFORMATION"
    assert origins["amount"]["inputFields"][0]["transformations"][0]["subtype"] == "IDENTITY"
    assert examples["outputFacets"]["outputStatistics"]["rowCount"] == 2_000
    (counted,) = only(events, "statistics", "COMPLETE")[0]["inputs"]
    columns = counted["inputFacets"]["dataQualityMetrics"]["columnMetrics"]
    assert {"amount", "shop", "kind", "late"} <= set(columns)
    assert columns["amount"]["count"] == 2_000
    assert 1 <= columns["amount"]["min"] <= columns["amount"]["max"] <= 100
    gate = only(events, "validate", "COMPLETE")[0]["inputs"]
    (assertions,) = (
        [dataset["inputFacets"]["dataQualityAssertions"]["assertions"]]
        for dataset in gate
        if "dataQualityAssertions" in dataset.get("inputFacets", {})
    )
    assert [(one["assertion"], one["success"]) for one in assertions[0]] == [("schema", True)] * 3


def _assert_tree(told: str, run: str) -> None:
    digest = hashlib.blake2b(SALES.encode(), digest_size=16).hexdigest()
    assert f"made by {run}/push ✓ complete" in told
    assert f"digest {digest}" in told
    assert "orders: 2,000 read = 2,000 kept" in told
    assert told.endswith(", 1 run, 1 source file\n")
