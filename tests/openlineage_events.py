"""OpenLineage events against the official schemas, and more strictly: a facet has no key that its schema does not name."""

import datetime
import functools
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SPEC = Path(__file__).parent / "pipeline" / "lineage" / "openlineage_spec"
FORMATS = FormatChecker(["uuid"])
Facet = dict[str, Any]


@FORMATS.checks("date-time", ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("uri", ValueError)
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or (bool(urlsplit(value).scheme) and " " not in value)


@functools.cache
def schemas() -> dict[str, Any]:
    """The official schemas by their id."""
    found = [json.loads(path.read_text()) for path in (SPEC / "OpenLineage.json", *(SPEC / "facets").glob("*.json"))]
    return {schema["$id"]: schema for schema in found}


@functools.cache
def _validator(reference: str) -> Draft202012Validator:
    registry = Registry().with_resources((id_, Resource.from_contents(schema)) for id_, schema in schemas().items())
    return Draft202012Validator({"$ref": reference}, registry=registry, format_checker=FORMATS)


def assert_valid(event: dict[str, Any]) -> None:
    """The event is a RunEvent, and nothing else; each facet is where it belongs and as its own schema wants it."""
    core = next(id_ for id_ in schemas() if id_.endswith("/OpenLineage.json"))
    assert event["schemaURL"] == f"{core}#/$defs/RunEvent"
    for reference in (core, event["schemaURL"]):
        _validator(reference).validate(event)
    for kind, facets in facets_of(event):
        for key, facet in facets.items():
            _assert_facet(core, kind, key, facet)


def facets_of(event: dict[str, Any]) -> list[tuple[str, dict[str, Facet]]]:
    """All facets of an event, with the kind that each must be of."""
    found = [("RunFacet", event["run"].get("facets", {})), ("JobFacet", event["job"].get("facets", {}))]
    for kind, side in (("InputDatasetFacet", "inputs"), ("OutputDatasetFacet", "outputs")):
        for dataset in event[side]:
            found += [("DatasetFacet", dataset.get("facets", {})), (kind, dataset.get(f"{side[:-1]}Facets", {}))]
    return found


def _assert_facet(core: str, kind: str, key: str, facet: Facet) -> None:
    _validator(facet["_schemaURL"]).validate(facet)
    id_, _, name = facet["_schemaURL"].partition("#/$defs/")
    schema = schemas()[id_]
    assert schema["properties"][key] == {"$ref": f"#/$defs/{name}"}, f"{key} is no key for {name}"
    parts = schema["$defs"][name]["allOf"]
    assert parts[0]["$ref"] == f"{core}#/$defs/{kind}", f"{name} is no {kind}"
    known = {"_producer", "_schemaURL", "_deleted"} | {name for part in parts for name in part.get("properties", {})}
    assert set(facet) <= known, f"{name} names none of {set(facet) - known}"
