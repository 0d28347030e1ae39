"""A store as two runs of a small pipeline leave it: sources, tables, a model that serves, a cached and a failed step."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store_factory import World, Written, sqlite_store, write

from pipeline.lineage.archive import Archive

COMMIT, LOCK, DIGEST = "fd2c0806f138914d142b3222cced9f0492f77be8", "05e9e0a0f151ca36a36363cdae7c0b78", "4e1da34a" * 4
SQL = "SELECT f.tailnum, f.dep_delay > 15 AS late\nFROM flights f\nWHERE f.dep_delay IS NOT NULL"
FACTS: dict[str, Any] = {
    "code_commit": COMMIT,
    "code_dirty": 1,
    "lock_digest": LOCK,
    "seconds": 1.5,
    "runner": "FnApiRunner",
}


def ledger(read: int, rejected: int = 0, filtered: int = 0) -> str:
    """The counts of a job, as a table's artifact has them."""
    kept = read - rejected - filtered
    counts = {"read": read, "rejected": rejected, "filtered": filtered, "merged": 0, "kept": kept}
    return json.dumps({**counts, "multiplied": 0, "written": kept})


@dataclass(frozen=True)
class Flights:
    """The world, its store, and the numbers of what tests ask for."""

    world: World
    archive: Archive
    written: Written
    table: int
    examples: int
    model: int
    pushed: int

    def artifact(self, number: int) -> int:
        """The id of an artifact in the store."""
        return self.written.artifacts[number]


def flights(folder: Path) -> Flights:
    """Builds the store in a folder, which also holds the version that serves."""
    serving = folder / "serving" / "1"
    serving.mkdir(parents=True)
    world = World()
    table = world.artifact("SourceTable", f"{folder}/flights/table/1", **_table("flights", 336_776, rejected=3))
    rejects = world.artifact("Rejects", f"{folder}/flights/rejects/1", rows=3)
    examples = world.artifact("Examples", f"{folder}/departures/4", **_table("departures", 336_773, filtered=9_430))
    importances = world.artifact("FeatureImportances", f"{folder}/select/5")
    model = world.artifact("Model", f"{folder}/train/6")
    blessing = world.artifact("ModelBlessing", f"{folder}/evaluate/7", blessed=1, blessing_message="auc is 0.7")
    pushed = world.artifact("PushedModel", f"{folder}/push/8", pushed=1, pushed_destination=str(serving))
    source = {"source": json.dumps({"path": "/data/flights.csv", "max_reject_fraction": 0.01})}
    prepare = {"config": json.dumps({"sql": SQL, "stream": "flights", "step": "departures"})}
    world.execute("flights", {}, {"table": [table], "rejects": [rejects]}, properties={**FACTS, **source})
    world.execute("departures", {"sources": [table]}, {"examples": [examples]}, properties={**FACTS, **prepare})
    world.execute("select", {"examples": [examples]}, {"importances": [importances]}, properties=FACTS)
    learned = {"examples": [examples], "importances": [importances]}
    train = {**FACTS, "config": json.dumps({"rounds": 400, "params": {"eta": 0.1}})}
    world.execute("train", learned, {"model": [model]}, properties=train)
    judged = {"examples": [examples], "model": [model]}
    world.execute("evaluate", judged, {"blessing": [blessing]}, properties=FACTS)
    world.execute(
        "push", {"model": [model], "model_blessing": [blessing]}, {"pushed_model": [pushed]}, properties=FACTS
    )
    world.execute("departures", {"sources": [table]}, {"examples": [examples]}, run="run-2", state="CACHED")
    error = {"error": "No feature is left.\nSee the list.", "error_type": "StepError"}
    failure = {**FACTS, **error, "traceback": f"{folder}/traceback.txt"}
    world.execute("select", {"examples": [examples]}, {}, run="run-2", state="FAILED", properties=failure)
    resolver = {"run": "run-2", "kind": "tfx.dsl.components.common.resolver.Resolver"}
    world.execute("champion", {"model": [model]}, {}, **resolver)
    store = sqlite_store(folder / "metadata.sqlite")
    return Flights(world, Archive(store), write(world, store), table, examples, model, pushed)


def _table(name: str, read: int, rejected: int = 0, filtered: int = 0) -> dict[str, Any]:
    told = {"table": name, "rows": read - rejected - filtered, "ledger": ledger(read, rejected, filtered)}
    told |= {"schema_digest": "d443d97f", "content_digest": f"{name} as read"}
    files = [{"path": "/data/flights.csv", "size": 30_100_000, "digest": DIGEST}] if name == "flights" else None
    return {**told, "files": json.dumps(files)} if files else told
