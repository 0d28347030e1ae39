"""The check of OpenLineage events refuses what it should."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import ValidationError
from openlineage_events import assert_valid, schemas

Event = dict[str, Any]
BASE = "https://openlineage.io/spec"
EVENT: Event = {
    "eventType": "COMPLETE",
    "eventTime": "2026-11-22T17:17:45.587Z",
    "producer": "urn:braid:0.1.0",
    "schemaURL": f"{BASE}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "run": {"runId": "c5d527da-448c-5d2c-a97a-a2039faec983"},
    "job": {"namespace": "braid", "name": "flights.train"},
    "inputs": [],
    "outputs": [
        {
            "namespace": "file",
            "name": "/m/1",
            "outputFacets": {
                "outputStatistics": {
                    "_producer": "urn:braid:0.1.0",
                    "_schemaURL": f"{BASE}/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
                    "rowCount": 3,
                }
            },
        }
    ],
}


def statistics(event: Event) -> Event:
    found: Event = event["outputs"][0]["outputFacets"]["outputStatistics"]
    return found


def misplace(event: Event) -> None:
    event["outputs"][0]["facets"] = event["outputs"][0].pop("outputFacets")


SPOILED: dict[str, Callable[[Event], Any]] = {
    "another type of event": lambda e: e.update(eventType="DONE"),
    "a moment without a time zone": lambda e: e.update(eventTime="2026-11-22T17:17:45"),
    "a producer that is no URI": lambda e: e.update(producer="braid"),
    "a run id that is no UUID": lambda e: e["run"].update(runId="17"),
    "a job without a name": lambda e: e["job"].pop("name"),
    "a dataset without a namespace": lambda e: e["outputs"][0].pop("namespace"),
    "a facet without a producer": lambda e: statistics(e).pop("_producer"),
    "a count that is a text": lambda e: statistics(e).update(rowCount="3"),
    "a key that the schema does not name": lambda e: statistics(e).update(rows=3),
    "a facet at the wrong place": misplace,
}


def test_a_sound_event_passes() -> None:
    assert_valid(copy.deepcopy(EVENT))


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_event_is_refused(spoil: Callable[[Event], Any]) -> None:
    event = copy.deepcopy(EVENT)
    spoil(event)
    with pytest.raises((ValidationError, AssertionError)):
        assert_valid(event)


def test_a_facet_of_an_unknown_version_is_refused() -> None:
    event = copy.deepcopy(EVENT)
    statistics(event)["_schemaURL"] = statistics(event)["_schemaURL"].replace("1-0-2", "9-9-9")
    with pytest.raises(Exception, match="9-9-9"):
        assert_valid(event)


def test_the_schemas_are_those_of_the_specification() -> None:
    assert all(id_.startswith(f"{BASE}/") for id_ in schemas())
    assert len(schemas()) > 10
