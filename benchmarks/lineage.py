"""Lineage in a store of 100,000 executions and 300,000 artifacts, in SQLite and in PostgreSQL; see `lineage_store`.

`braid lineage up`, the whole command; and the closure alone, in process, against ML Metadata's own `get_lineage_subgraph`
and against a walk that asks for one node at a time. All must find the same, but for `get_lineage_subgraph` where the graph
is deeper than its 100 hops: there it returns a part, and does not say so.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import lineage_store
from benchmarks.measure import CACHE, Measurement, compare, table, work

MODULE = "benchmarks.lineage"
FOLDER = os.path.join(CACHE, "lineage")
TESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests")
MOST_HOPS = 100  # of get_lineage_subgraph, whatever it is asked for
BRAID, RECORDS = "braid", "braid, with every record"
ONE_BY_ONE, SUBGRAPH, SUBGRAPH_RECORDS = "one node at a time", "get_lineage_subgraph", "the same, with every record"
TARGETS = {"SQLite": 1.0, "PostgreSQL": 2.0}


def _found(facts: dict[str, Any], executions: Iterable[int], artifacts: Iterable[int]) -> None:
    """What the contenders are compared by: how many, and which."""
    found = sorted(set(executions)), sorted(set(artifacts))
    facts |= {"executions": len(found[0]), "artifacts": len(found[1]), "which": lineage_store.digest(str(found))}


def _store() -> Any:
    from pipeline.stores import open_store

    return open_store(os.environ["BRAID_STORE"])


def braid(direction: str, subject: str, records: str = "") -> None:
    """Lineage as `braid lineage` finds it."""
    from pipeline.lineage import ancestry
    from pipeline.lineage.archive import Archive

    store = _store()
    with work() as facts:
        lineage = (ancestry.up if direction == "up" else ancestry.down)(Archive(store), subject)
        if records:
            assert all(lineage.executions.values()) and all(lineage.artifacts.values())
        reached = {event.execution for event in lineage.events}, {event.artifact for event in lineage.events}
        _found(facts, *reached)


def one_by_one(direction: str, subject: str) -> None:
    """The walk that comes to mind: each node asked for its events, each execution for its record."""
    from ml_metadata.proto import metadata_store_pb2 as pb

    store = _store()
    towards, onwards = (pb.Event.OUTPUT, pb.Event.INPUT) if direction == "up" else (pb.Event.INPUT, pb.Event.OUTPUT)

    def next_executions(artifact: int) -> list[int]:
        found = [e.execution_id for e in store.get_events_by_artifact_ids([artifact]) if e.type == towards]
        if direction == "down" or len(found) < 2:
            return found
        states = {one: store.get_executions_by_id([one])[0].last_known_state for one in found}
        return [one for one in found if states[one] != pb.Execution.CACHED] or found

    with work() as facts:
        artifacts, executions, waiting = {int(subject)}, set[int](), [int(subject)]
        while waiting:
            for execution in set(next_executions(waiting.pop())) - executions:
                executions.add(execution)
                events = store.get_events_by_execution_ids([execution])
                new = {event.artifact_id for event in events if event.type == onwards} - artifacts
                artifacts |= new
                waiting += new
        _found(facts, executions, artifacts)


def subgraph(direction: str, subject: str, records: str = "") -> None:
    """ML Metadata's own."""
    from ml_metadata.proto import metadata_store_pb2 as pb

    store = _store()
    options = pb.LineageSubgraphQueryOptions(max_num_hops=1_000_000)
    options.starting_artifacts.filter_query = f"id = {subject}"
    up = direction == "up"
    options.direction = options.UPSTREAM if up else options.DOWNSTREAM
    with work() as facts:
        graph = store.get_lineage_subgraph(options, ["events", *(["artifacts", "executions"] if records else [])])
        cached = {one.id for one in graph.executions if up and one.last_known_state == pb.Execution.CACHED}
        executions = {event.execution_id for event in graph.events} - cached
        _found(facts, executions, {event.artifact_id for event in graph.events})


def command(subject: str, *more: str) -> None:
    """`braid lineage up`, the whole process."""
    asked = [sys.executable, "-m", "pipeline.cli.main", "lineage", "up", subject, *more]
    with work() as facts:
        facts["bytes"] = len(subprocess.run(asked, check=True, capture_output=True).stdout)


def _measure(kind: str, landmarks: lineage_store.Landmarks) -> None:
    """All tables of one store, the one that BRAID_STORE names."""
    deep, wide, source = map(str, (landmarks.deep_model, landmarks.wide_report, landmarks.source))
    forms = {"tree": ("command", deep), "--json": ("command", deep, "--json")}
    commands = compare(MODULE, forms, rounds=5)
    table(f"{kind}: braid lineage up, a model 200 steps deep, whole process", commands, "tree")
    _judge("braid lineage up", commands["tree"].wall, 1.0)
    for title, direction, subject in (
        ("up, 200 steps deep", "up", deep),
        ("up, 10,000 executions, 200 steps deep", "up", wide),
        ("down, 10,000 executions", "down", source),
    ):
        measured = compare(
            MODULE,
            {
                BRAID: ("braid", direction, subject),
                RECORDS: ("braid", direction, subject, "records"),
                ONE_BY_ONE: ("one_by_one", direction, subject),
                SUBGRAPH: ("subgraph", direction, subject),
                SUBGRAPH_RECORDS: ("subgraph", direction, subject, "records"),
            },
        )
        table(f"{kind}: {title}", measured, BRAID)
        _judge(title, measured[BRAID].wall, TARGETS[kind])
        _check(measured)


def _judge(what: str, seconds: float, target: float) -> None:
    print(f"{what}: {seconds:.2f} s, {'within' if seconds < target else 'MISSES'} the target of {target:.0f} s")


def _check(measured: dict[str, Measurement]) -> None:
    """All found the same; or get_lineage_subgraph did not, and how much it left out."""
    ours = measured[BRAID].facts
    assert measured[RECORDS].facts == ours
    assert measured[ONE_BY_ONE].facts == ours, (measured[ONE_BY_ONE].facts, ours)
    theirs = measured[SUBGRAPH_RECORDS].facts
    words = "{executions:,} executions and {artifacts:,} artifacts"
    print(f"found by Braid and one by one: {words.format(**ours)}; by get_lineage_subgraph: ", end="")
    if theirs == ours:
        print("the same")
    else:
        assert theirs["executions"] < ours["executions"], (theirs, ours)
        print(f"{words.format(**theirs)}: it stops after {MOST_HOPS} hops without a word")


def _on_postgresql(run: Callable[[], None]) -> None:
    """Starts the server that the tests use, with the same rows, ids and all."""
    sys.path.append(TESTS)
    import servers

    from pipeline.stores import open_store

    programs, environment = servers.postgresql_programs()
    with servers.postgresql_server() as server:
        os.environ["BRAID_STORE"] = server.url("lineage")
        open_store(server.address("lineage"), read_only=False)  # makes the tables
        connect = ["-h", servers.LOOPBACK, "-p", str(server.port), "-U", servers.OWNER, "-d", "lineage"]
        psql = [str(programs / "psql"), "-q", "-v", "ON_ERROR_STOP=1", *connect]
        lineage_store.copy(FOLDER, psql, {**environment, "PGPASSWORD": servers.PASSWORD})
        run()


def main() -> None:
    """Prints a table for each question and store."""
    landmarks = lineage_store.built(FOLDER)
    os.environ["BRAID_STORE"] = os.path.join(FOLDER, lineage_store.STORE)
    _measure("SQLite", landmarks)
    _on_postgresql(lambda: _measure("PostgreSQL", landmarks))


if __name__ == "__main__":
    {"braid": braid, "one_by_one": one_by_one, "subgraph": subgraph, "command": command}[sys.argv[1]](*sys.argv[2:])
