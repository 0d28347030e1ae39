"""OpenLineage events: valid by the official schemas, true to the records, the same each time."""

import json
import random
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from flights_world import COMMIT, DIGEST, Flights, flights
from openlineage_events import assert_valid, facets_of, schemas
from store_factory import World, random_world, sqlite_store, write
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from beam_jobs.ledger import Ledger
from beam_jobs.table import Table
from pipeline.lineage import ancestry, openlineage
from pipeline.lineage.archive import Archive
from pipeline.lineage.openlineage_names import FACETS, dataset_name

Event = dict[str, Any]


def events_of(archive: Archive, lineage: ancestry.Lineage) -> list[Event]:
    """The events as a reader of the lines gets them, each of them valid."""
    found = [json.loads(line) for line in openlineage.text(archive, lineage)]
    for event in found:
        assert_valid(event)
    return found


def ended(events: list[Event]) -> dict[str, Event]:
    """The last event of each job."""
    return {event["job"]["name"]: event for event in events if event["eventType"] != "START"}


@pytest.fixture
def built(tmp_path: Path) -> Flights:
    """The flights, with the tables' manifests on disk."""
    counts = Ledger(read=3, rejected=0, filtered=0, merged=0, kept=3, multiplied=0, written=3)
    columns = {"flights/table/1": ["tailnum", "dep_delay"], "departures/4": ["tailnum", "late"]}
    for place, names in columns.items():
        (tmp_path / place).mkdir(parents=True)
        types = {"tailnum": pa.string(), "dep_delay": pa.int64(), "late": pa.bool_()}
        schema = pa.schema([(name, types[name]) for name in names])
        Table(str(tmp_path / place), schema, (), True, counts).save()
    return flights(tmp_path)


def test_a_pair_of_events_an_execution(built: Flights) -> None:
    events = events_of(built.archive, ancestry.down(built.archive, "run-1/flights.table"))
    kinds = [(event["job"]["name"], event["eventType"]) for event in events]
    assert kinds == [
        ("flights.departures", "START"),
        ("flights.departures", "COMPLETE"),
        ("flights.select", "START"),
        ("flights.select", "COMPLETE"),
        ("flights.train", "START"),
        ("flights.train", "COMPLETE"),
        ("flights.evaluate", "START"),
        ("flights.evaluate", "COMPLETE"),
        ("flights.push", "START"),
        ("flights.push", "COMPLETE"),
        ("flights.departures", "START"),
        ("flights.departures", "COMPLETE"),
        ("flights.select", "START"),
        ("flights.select", "FAIL"),
        ("flights.champion", "START"),
        ("flights.champion", "COMPLETE"),
    ]
    by_run: dict[str, list[str]] = {}
    for event in events:
        by_run.setdefault(event["run"]["runId"], []).append(event["eventTime"])
    assert all(len(times) == 2 and times == sorted(times) for times in by_run.values())
    assert len(by_run) == 8


def test_ids_tell_the_same_execution_apart_from_every_other(built: Flights, tmp_path: Path) -> None:
    lineage = ancestry.up(built.archive, "run-1/push")
    first, again = (events_of(archive, lineage) for archive in (built.archive, Archive(built.archive.store)))
    assert first == again
    assert all(uuid.UUID(event["run"]["runId"]).version == 5 for event in first)
    (tmp_path / "other").mkdir()
    other = flights(tmp_path / "other")
    there = events_of(other.archive, ancestry.up(other.archive, "run-1/push"))
    assert not {event["run"]["runId"] for event in first} & {event["run"]["runId"] for event in there}
    parents = {event["run"]["facets"]["parent"]["run"]["runId"] for event in first}
    assert len(parents) == 1
    assert {event["run"]["facets"]["parent"]["job"]["name"] for event in first} == {"flights"}


def test_states(tmp_path: Path) -> None:
    world = World()
    table = world.artifact("Examples")
    for state in ("COMPLETE", "CACHED", "FAILED", "CANCELED", "RUNNING", "NEW"):
        world.execute(state.lower(), {"in": [table]}, {}, state=state)
    write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    events = events_of(archive, ancestry.down(archive, "1"))
    assert sum(event["eventType"] == "START" for event in events) == 6
    assert {name.removeprefix("flights."): event["eventType"] for name, event in ended(events).items()} == {
        "complete": "COMPLETE", "cached": "COMPLETE", "failed": "FAIL", "canceled": "ABORT",
    }  # fmt: skip
    tags = ended(events)["flights.cached"]["run"]["facets"]["tags"]["tags"]
    assert {"key": "cached", "value": "true", "source": "BRAID"} in tags
    assert "cached" not in json.dumps(ended(events)["flights.complete"]["run"])


def test_datasets_by_name_with_schema_version_and_counts(built: Flights, tmp_path: Path) -> None:
    event = ended(events_of(built.archive, ancestry.up(built.archive, "run-1/departures")))["flights.departures"]
    (table,), (examples,) = event["inputs"], event["outputs"]
    assert (table["namespace"], table["name"]) == ("file", f"{tmp_path}/flights/table/1")
    assert (examples["namespace"], examples["name"]) == ("file", f"{tmp_path}/departures/4")
    assert [(f["name"], f["type"]) for f in examples["facets"]["schema"]["fields"]] == [
        ("tailnum", "string"),
        ("late", "bool"),
    ]
    assert examples["facets"]["version"]["datasetVersion"] == "departures as read"
    assert examples["facets"]["datasetType"]["subType"] == "Examples"
    assert examples["outputFacets"]["outputStatistics"]["rowCount"] == 327_343
    assert table["inputFacets"]["inputStatistics"]["rowCount"] == 336_773


def test_columns_of_a_query(built: Flights, tmp_path: Path) -> None:
    event = ended(events_of(built.archive, ancestry.up(built.archive, "run-1/departures")))["flights.departures"]
    lineage = event["outputs"][0]["facets"]["columnLineage"]
    fields = {
        name: [
            (f["name"], f["field"], f["transformations"][0]["type"], f["transformations"][0]["subtype"])
            for f in found["inputFields"]
        ]
        for name, found in lineage["fields"].items()
    }
    table = f"{tmp_path}/flights/table/1"
    assert fields == {
        "tailnum": [(table, "tailnum", "DIRECT", "IDENTITY")],
        "late": [(table, "dep_delay", "DIRECT", "TRANSFORMATION")],
    }
    assert "15" in lineage["fields"]["late"]["inputFields"][0]["transformations"][0]["description"]
    assert [(f["field"], f["transformations"][0]["type"]) for f in lineage["dataset"]] == [("dep_delay", "INDIRECT")]
    assert event["job"]["facets"]["sql"]["query"].startswith("SELECT f.tailnum")


def test_source_files_and_what_could_not_be_read(built: Flights) -> None:
    event = ended(events_of(built.archive, ancestry.up(built.archive, "run-1/departures")))["flights.flights"]
    (file,) = event["inputs"]
    assert (file["namespace"], file["name"]) == ("file", "/data/flights.csv")
    assert file["facets"]["version"]["datasetVersion"] == DIGEST
    assert file["inputFacets"]["inputStatistics"]["size"] == 30_100_000
    table = next(output for output in event["outputs"] if "columnLineage" in output["facets"])
    (origin,) = table["facets"]["columnLineage"]["fields"]["tailnum"]["inputFields"]
    assert (origin["name"], origin["field"]) == ("/data/flights.csv", "tailnum")
    assertions = {a["assertion"]: a for a in file["inputFacets"]["dataQualityAssertions"]["assertions"]}
    assert assertions["row_count"]["success"] is True
    assert assertions["row_count"]["actual"] == "336,776 read = 3 rejected + 336,773 kept"
    assert assertions["valid_rows"]["success"] is False
    assert assertions["valid_rows"]["severity"] == "warn"
    assert "0.01" in assertions["valid_rows"]["expected"]
    rejects = next(output for output in event["outputs"] if output["name"].endswith("rejects/1"))
    assert rejects["outputFacets"]["outputStatistics"]["rowCount"] == 3  # though not in the lineage of the examples


def test_many_files_are_their_folder(tmp_path: Path) -> None:
    files = [{"path": f"gs://bucket/day/{i:03}.csv", "size": 10, "digest": f"{i}"} for i in range(101)]
    world = World()
    for some in (files, files[:100]):
        table = world.artifact("SourceTable", files=json.dumps(some))
        world.execute("read", {}, {"table": [table]})
    write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    (folder,) = ended(events_of(archive, ancestry.up(archive, "1")))["flights.read"]["inputs"]
    assert (folder["namespace"], folder["name"]) == ("gs://bucket", "day")
    statistics = folder["inputFacets"]["inputStatistics"]
    assert (statistics["fileCount"], statistics["size"]) == (101, 1_010)
    assert len(ended(events_of(archive, ancestry.up(archive, "2")))["flights.read"]["inputs"]) == 100


def test_code_parameters_error_and_blessing(built: Flights) -> None:
    events = events_of(built.archive, ancestry.down(built.archive, "run-1/flights.table"))
    train = next(e for e in events if e["job"]["name"] == "flights.train" and e["eventType"] == "COMPLETE")
    location = train["job"]["facets"]["sourceCodeLocation"]
    assert (location["type"], location["version"]) == ("git", f"{COMMIT}-dirty")
    assert location["url"] == f"swh:1:rev:{COMMIT}"
    (parameter,) = train["run"]["facets"]["executionParameters"]["parameters"]
    assert json.loads(parameter["value"]) == {"rounds": 400, "params": {"eta": 0.1}}
    assert "processing_engine" not in train["run"]["facets"]  # the run tells no version of Braid
    (failed,) = (event for event in events if event["eventType"] == "FAIL")
    error = failed["run"]["facets"]["errorMessage"]
    assert error["message"] == "StepError: No feature is left.\nSee the list."
    assert error["programmingLanguage"] == "PYTHON"
    assert "stackTrace" not in error
    judged = next(dataset for dataset in ended(events)["flights.evaluate"]["inputs"] if "Model" in json.dumps(dataset))
    (assertion,) = judged["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (assertion["success"], assertion["description"]) == (True, "auc is 0.7")
    (pushed,) = ended(events)["flights.push"]["outputs"]
    (link,) = pushed["facets"]["symlinks"]["identifiers"]
    assert link["name"].endswith("/serving/1")


@pytest.mark.parametrize("kept", [True, False])
def test_a_traceback_and_the_version_of_braid(kept: bool, tmp_path: Path) -> None:
    world, trace = World(), tmp_path / "traceback.txt"
    facts = {"error": "no", "traceback": str(trace), "runner": "FnApiRunner"}
    if kept:
        trace.write_text("Traceback ...\n")
    world.execute("fit", {"in": [world.artifact("Examples")]}, {}, state="FAILED", properties=facts)
    write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    (run,) = store.get_contexts_by_type("pipeline_run")
    run.custom_properties["braid_version"].string_value = "7.1.0"
    store.put_contexts([run])
    archive = Archive(store)
    event = ended(events_of(archive, ancestry.down(archive, "1")))["flights.fit"]
    assert event["run"]["facets"]["errorMessage"].get("stackTrace") == ("Traceback ...\n" if kept else None)
    engine = event["run"]["facets"]["processing_engine"]
    assert (engine["version"], engine["name"]) == ("7.1.0", "Braid, with Beam's FnApiRunner")


def judged(folder: Path) -> Archive:
    """Examples of two splits, their statistics, and a gate that found an anomaly in one of them."""
    world = World()
    splits = {"split_names": '["train", "eval"]'}
    examples = world.artifact("Examples", f"{folder}/examples", rows=30)
    statistics = world.artifact("ExampleStatistics", f"{folder}/statistics", **splits)
    anomalies = world.artifact("ExampleAnomalies", f"{folder}/anomalies", **splits, blessed='{"train": 1, "eval": 0}')
    world.execute("statistics", {"examples": [examples]}, {"statistics": [statistics]})
    world.execute("validate", {"statistics": [statistics], "examples": [examples]}, {"anomalies": [anomalies]})
    for split, rows in (("train", 20), ("eval", 10)):
        for name in ("statistics", "anomalies"):
            (folder / name / f"Split-{split}").mkdir(parents=True)
        (folder / "statistics" / f"Split-{split}" / "FeatureStats.pb").write_bytes(_statistics(rows))
    found = anomalies_pb2.Anomalies()
    info = found.anomaly_info["kind"]
    info.path.step.append("kind")
    info.severity = anomalies_pb2.AnomalyInfo.ERROR
    info.reason.add(
        type=anomalies_pb2.AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES,
        short_description="Unexpected string values",
        description="Examples contain values missing from the schema: x.",
    )
    (folder / "anomalies" / "Split-train" / "SchemaDiff.pb").write_bytes(anomalies_pb2.Anomalies().SerializeToString())
    (folder / "anomalies" / "Split-eval" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    write(world, store := sqlite_store(folder / "metadata.sqlite"))
    return Archive(store)


def _statistics(rows: int) -> bytes:
    found = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = found.datasets.add(num_examples=rows)
    number = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    number.path.step.append("amount")
    common = {"num_non_missing": rows - 1, "num_missing": 1, "tot_num_values": rows - 1}
    number.num_stats.CopyFrom(
        statistics_pb2.NumericStatistics(
            common_stats=statistics_pb2.CommonStatistics(**common),
            mean=2.0,
            min=-float(rows),
            max=float(rows),
            median=2,
        )
    )
    text = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    text.path.step.append("kind")
    text.string_stats.CopyFrom(
        statistics_pb2.StringStatistics(common_stats=statistics_pb2.CommonStatistics(num_non_missing=rows), unique=3)
    )
    return bytes(found.SerializeToString())


def test_statistics_and_anomalies_are_told_of_the_examples(tmp_path: Path) -> None:
    archive = judged(tmp_path)
    events = ended(events_of(archive, ancestry.down(archive, "1")))
    (examples,) = events["flights.statistics"]["inputs"]
    metrics = examples["inputFacets"]["dataQualityMetrics"]
    assert metrics["rowCount"] == 30
    assert metrics["columnMetrics"] == {
        "amount": {"nullCount": 2, "count": 28, "min": -20.0, "max": 20.0, "sum": 56.0},
        "kind": {"nullCount": 0, "count": 30},  # of how many kinds both splits together are is not known
    }
    inputs = {dataset["name"]: dataset for dataset in events["flights.validate"]["inputs"]}
    assertions = inputs[f"{tmp_path}/examples"]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(a["assertion"], a["success"], a.get("column"), a.get("severity"), a["params"]) for a in assertions] == [
        ("schema", True, None, None, {"split": "train"}),
        ("enum_type_unexpected_string_values", False, "kind", "error", {"split": "eval"}),
    ]


def test_files_that_are_gone_or_damaged_are_passed_over(tmp_path: Path) -> None:
    archive = judged(tmp_path)
    (tmp_path / "statistics" / "Split-train" / "FeatureStats.pb").write_bytes(b"\xff\xff")
    (tmp_path / "statistics" / "Split-eval" / "FeatureStats.pb").unlink()
    (tmp_path / "anomalies" / "Split-eval" / "SchemaDiff.pb").write_bytes(b"\xff\xff")
    events = ended(events_of(archive, ancestry.down(archive, "1")))
    assert "dataQualityMetrics" not in json.dumps(events["flights.statistics"])
    assert json.dumps(events["flights.validate"]).count('"assertion"') == 1


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"schema": "AAAA", "parts": []}'])
def test_a_manifest_that_is_gone_or_damaged_gives_no_schema(
    manifest: str | None, built: Flights, tmp_path: Path
) -> None:
    path = tmp_path / "flights" / "table" / "1" / "table.json"
    path.unlink() if manifest is None else path.write_text(manifest)
    events = ended(events_of(built.archive, ancestry.up(built.archive, "run-1/departures")))
    departures = events["flights.departures"]
    assert "schema" not in departures["inputs"][0]["facets"]
    assert "columnLineage" not in departures["outputs"][0]["facets"]


@pytest.mark.parametrize("seed", range(6))
def test_any_store_gives_valid_events(seed: int, tmp_path: Path) -> None:
    world = random_world(random.Random(seed), 60)
    written = write(world, store := sqlite_store(tmp_path / "metadata.sqlite"))
    archive = Archive(store)
    for id_ in written.artifacts[::8]:
        for ask in (ancestry.up, ancestry.down):
            lineage = ask(archive, str(id_))
            events = events_of(archive, lineage)
            assert sum(event["eventType"] == "START" for event in events) == len(lineage.executions)
            for event in events:
                (number,) = (int(t["value"]) for t in event["run"]["facets"]["tags"]["tags"] if t["key"] == "execution")
                reads = {e.artifact for e in archive.events_of_executions([number]) if e.is_input}
                assert {dataset["name"] for dataset in event["inputs"]} == {a.uri for a in archive.artifacts(reads)}


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("/data/a/", "file", "/data/a"),
        ("/", "file", "/"),
        ("file:///data/a", "file", "/data/a"),
        ("file://host/data/a", "file://host", "/data/a"),
        ("gs://bucket/a/b/", "gs://bucket", "a/b"),
        ("gs://bucket", "gs://bucket", "/"),
        ("s3://bucket/a b", "s3://bucket", "a b"),
    ],
)
def test_names_of_datasets(uri: str, namespace: str, name: str) -> None:
    assert dataset_name(uri) == (namespace, name)


def test_the_facets_are_of_the_versions_that_are_tested() -> None:
    found = {id_.rpartition("/")[2]: id_.split("/")[-2] for id_ in schemas()}
    assert {name: version for version, name in FACETS.values()} == {
        name.removesuffix(".json"): version for name, version in found.items() if name != "OpenLineage.json"
    }


def test_every_kind_of_facet_is_tried(built: Flights, tmp_path: Path) -> None:
    (tmp_path / "judged").mkdir()
    other = judged(tmp_path / "judged")
    events = events_of(built.archive, ancestry.down(built.archive, "run-1/flights.table"))
    events += events_of(built.archive, ancestry.up(built.archive, "run-1/push"))
    events += events_of(other, ancestry.down(other, "1"))
    tried = {key for event in events for _, facets in facets_of(event) for key in facets}
    assert tried == set(FACETS) - {"processing_engine"}  # which another test tries
