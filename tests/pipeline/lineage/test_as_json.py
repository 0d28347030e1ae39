"""The JSON of a lineage: complete, documented, readable by any parser."""

import json
import random
import re
from pathlib import Path

from flights_world import DIGEST, flights
from store_factory import World, random_world, sqlite_store, write

from pipeline.lineage import ancestry, as_json
from pipeline.lineage.archive import Archive


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")


def test_the_document(tmp_path: Path) -> None:
    built = flights(tmp_path)
    document = json.loads(as_json.text(ancestry.up(built.archive, "run-1/push")), parse_constant=refuse)
    assert (document["subject"], document["direction"], document["start"]) == ("run-1/push", "up", [7])
    assert document["totals"] == {"artifacts": 6, "executions": 6, "runs": 1, "source_files": 1}
    assert (document["starting"], document["serving"], document["left_out"]) == ([], [5, 7], 0)
    table, model = document["artifacts"][0], document["artifacts"][4 - 1]
    assert table["sources"] == [{"path": "/data/flights.csv", "digest": DIGEST, "size": 30_100_000}]
    assert table["properties"]["ledger"]["rejected"] == 3
    assert (model["type"], model["serving"]) == ("Model", str(tmp_path / "serving" / "1"))
    train = document["executions"][3]
    assert (train["run"], train["step"], train["pipeline"], train["state"]) == ("run-1", "train", "flights", "COMPLETE")
    assert train["properties"]["config"] == {"rounds": 400, "params": {"eta": 0.1}}
    assert {"artifact": 5, "execution": 4, "direction": "output", "key": "model"} in document["events"]
    assert {"artifact": 5, "execution": 6, "direction": "input", "key": "model"} in document["events"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", train["created"])


def keys(value: object) -> set[str]:
    """Every key of the document but those of properties, which are the store's own."""
    if isinstance(value, dict):
        return set(value) | {key for name, inner in value.items() if name != "properties" for key in keys(inner)}
    return {key for inner in value for key in keys(inner)} if isinstance(value, list) else set()


def test_every_key_is_documented(tmp_path: Path) -> None:
    document = as_json.document(ancestry.up(flights(tmp_path).archive, "run-1/push"))
    assert as_json.__doc__ is not None
    documented = set(re.findall(r"`(\w+)`", as_json.__doc__))
    assert keys(document) <= documented


def test_it_holds_exactly_the_closure(tmp_path: Path) -> None:
    world = random_world(random.Random(5), 80)
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    for id_ in written.artifacts[::7]:
        for ask in (ancestry.up, ancestry.down):
            lineage = ask(archive, str(id_))
            document = json.loads(as_json.text(lineage))
            assert [a["id"] for a in document["artifacts"]] == sorted(lineage.artifacts)
            assert [e["id"] for e in document["executions"]] == sorted(lineage.executions)
            events = {(e["artifact"], e["execution"], e["direction"] == "input", e["key"]) for e in document["events"]}
            assert events == {(e.artifact, e.execution, e.is_input, e.key) for e in lineage.events}
            assert len(document["events"]) == len(lineage.events)


def test_numbers_and_texts_that_json_cannot_hold(tmp_path: Path) -> None:
    world = World()
    odd = {"in": '{"nan": NaN, "deep": [Infinity, -Infinity, 1.5]}', "lone": '["\\ud800"]'}
    world.artifact("Model", "", "", **odd)
    write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    told = as_json.text(ancestry.up(Archive(store), "1"))
    assert told.isascii()
    properties = json.loads(told, parse_constant=refuse)["artifacts"][0]["properties"]
    assert properties == {"in": {"nan": "NaN", "deep": ["Infinity", "-Infinity", 1.5]}, "lone": ["\ud800"]}
