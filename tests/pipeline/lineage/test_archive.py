"""What the archive reads out of a store, and that it reads each record once."""

import hashlib
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import pytest
from google.protobuf import duration_pb2, struct_pb2, wrappers_pb2
from ml_metadata.proto import metadata_store_pb2 as pb
from store_factory import CONTEXTS, NOWHERE, RECORDED, World, put_run, sqlite_store, write

from pipeline.lineage import ancestry, archive, belonging, naming, serving
from pipeline.lineage.archive import Archive


@pytest.fixture
def store(tmp_path: Path) -> mlmd.MetadataStore:
    return sqlite_store(tmp_path / "store.sqlite")


class Counting:
    """The store, and how often each of its questions was asked."""

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self.store, self.asked = store, dict[str, int]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] = self.asked.get(name, 0) + 1
        return getattr(self.store, name)


def _pipeline(runs: int, told: str) -> World:
    world = World()
    for run in range(runs):
        table = world.artifact()
        world.execute("ingest", {}, {"table": [table]}, run=f"run-{run}", told=told)
        world.execute(
            "train.best", {"examples": [table]}, {"model": [world.artifact("Model")]}, run=f"run-{run}", told=told
        )
    return world


@pytest.mark.parametrize("told", [RECORDED, CONTEXTS])
@pytest.mark.parametrize("few", [0, 1_500])
def test_run_step_and_pipeline_are_told_however_they_are_recorded(
    store: mlmd.MetadataStore, told: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(belonging, "_MOST_LOOKED_UP", few)
    runs = 20
    world = _pipeline(runs, told)
    written = write(world, store)
    found = Archive(store).executions(written.executions)
    assert [(one.run, one.step, one.pipeline) for one in found] == [
        (f"run-{run}", step, "flights") for run in range(runs) for step in ("ingest", "train.best")
    ]


def test_contexts_are_not_asked_for_where_braid_recorded_the_place(store: mlmd.MetadataStore) -> None:
    written = write(_pipeline(300, RECORDED), store)
    counting = Counting(store)
    assert len(Archive(counting).executions(written.executions)) == 600
    assert counting.asked == {"get_executions_by_id": 2}


def test_many_places_are_read_by_run_and_by_step(store: mlmd.MetadataStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, each question would scan all that the store knows of contexts."""
    monkeypatch.setattr(belonging, "_MOST_LOOKED_UP", 500)
    written = write(_pipeline(300, CONTEXTS), store)
    counting = Counting(store)
    found = Archive(counting).executions(written.executions)
    assert {(one.step, one.pipeline) for one in found} == {("ingest", "flights"), ("train.best", "flights")}
    assert [one.run for one in found] == [f"run-{run}" for run in range(300) for _ in range(2)]
    assert counting.asked == {
        "get_executions_by_id": 2,
        "get_contexts_by_type": 2,
        "get_executions_by_context": 302,
        "get_contexts_by_execution": 2,
    }


def test_few_places_are_looked_up_each(store: mlmd.MetadataStore) -> None:
    written = write(_pipeline(300, CONTEXTS), store)
    counting = Counting(store)
    asked = Archive(counting)
    for id_ in [*written.executions[:4]] * 2:
        asked.executions([id_])
    assert counting.asked == {"get_executions_by_id": 4, "get_contexts_by_execution": 4}


def test_looking_up_again_and_again_ends_in_reading_all(
    store: mlmd.MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(belonging, "_MOST_LOOKED_UP", 10)
    written = write(_pipeline(20, CONTEXTS), store)
    counting = Counting(store)
    asked = Archive(counting)
    places = [(one.run, one.step) for id_ in written.executions for one in asked.executions([id_])]
    assert places == [(f"run-{run}", step) for run in range(20) for step in ("ingest", "train.best")]
    assert counting.asked["get_contexts_by_execution"] == 10 + 2 and counting.asked["get_executions_by_context"] == 22


def test_a_record_is_fetched_once_in_portions(store: mlmd.MetadataStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for most in ("_MOST_IDS", "_MOST_RECORDS"):
        monkeypatch.setattr(archive, most, 3)
    written = write(_pipeline(5, RECORDED), store)
    counting = Counting(store)
    asked = Archive(counting)
    for _ in range(2):
        assert [one.id for one in asked.artifacts(written.artifacts)] == written.artifacts
        assert [one.id for one in asked.executions([*written.executions, 10**6])] == written.executions
        assert asked.cached(written.executions) == set()
    assert counting.asked["get_artifacts_by_id"] == 4
    assert (
        len(asked.events_of_executions(written.executions)) == len(asked.events_of_artifacts(written.artifacts)) == 15
    )


def test_no_ids_are_no_question(store: mlmd.MetadataStore) -> None:
    counting = Counting(store)
    asked = Archive(counting)
    assert (
        asked.artifacts([])
        == asked.executions([])
        == asked.events_of_artifacts([])
        == asked.events_of_executions([])
        == []
    )
    assert counting.asked == {}


def test_a_stranger_s_parameters_named_like_braid_s_facts_do_not_mislead(store: mlmd.MetadataStore) -> None:
    world = World()
    world.execute("tune", told=CONTEXTS, properties={"run": 7, "step": "warm-up", "seconds": "many", "pipeline": 1})
    [id_] = write(world, store).executions
    [found] = Archive(store).executions([id_])
    assert (found.run, found.step, found.pipeline) == ("run-1", "tune", "flights")
    assert found.seconds >= 0


def test_an_execution_of_no_context_is_told_by_its_type(store: mlmd.MetadataStore) -> None:
    world = World()
    world.execute("tune", told=NOWHERE, kind="kfp.Tuner")
    [found] = Archive(store).executions(write(world, store).executions)
    assert (found.run, found.step, found.pipeline) == ("", "kfp.Tuner", "")


def test_a_place_with_a_backslash_is_read_though_it_is_stored_as_a_message(store: mlmd.MetadataStore) -> None:
    type_id = store.put_execution_type(pb.ExecutionType(name="T"))
    execution = pb.Execution(type_id=type_id)
    execution.custom_properties["run"].proto_value.Pack(wrappers_pb2.StringValue(value="night\\1"))
    execution.custom_properties["step"].string_value = "train"
    [found] = Archive(store).executions(store.put_executions([execution]))
    assert (found.run, found.step) == ("night\\1", "train")


def _with_properties(store: mlmd.MetadataStore, **values: pb.Value) -> dict[str, Any]:
    type_id = store.put_artifact_type(pb.ArtifactType(name="T", properties={"rows": pb.INT}))
    artifact = pb.Artifact(type_id=type_id, custom_properties=values)
    artifact.properties["rows"].int_value = 3
    [found] = Archive(store).artifacts(store.put_artifacts([artifact]))
    return found.properties


def test_properties_are_plain_values(store: mlmd.MetadataStore) -> None:
    structure = struct_pb2.Struct()
    structure.update({"a": [1, {"b": None}]})
    wrapped = struct_pb2.Struct()
    wrapped.update({"__value__": [1, 2]})
    packed, other = pb.Value(), pb.Value()
    packed.proto_value.Pack(wrappers_pb2.StringValue(value='{"long": "text"}'))
    other.proto_value.Pack(duration_pb2.Duration(seconds=3))
    found = _with_properties(
        store,
        text=pb.Value(string_value="plain"),
        ledger=pb.Value(string_value='{"read": 7}'),
        real=pb.Value(double_value=0.5),
        truth=pb.Value(bool_value=True),
        structure=pb.Value(struct_value=structure),
        wrapped=pb.Value(struct_value=wrapped),
        packed=packed,
        other=other,
    )
    assert found == {
        "rows": 3,
        "text": "plain",
        "ledger": {"read": 7},
        "real": 0.5,
        "truth": True,
        "structure": {"a": [1.0, {"b": None}]},
        "wrapped": [1.0, 2.0],
        "packed": {"long": "text"},
        "other": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"},
    }


@pytest.mark.parametrize("text", ["{not json", "[" * 100_000, "[" + "9" * 5_000 + "]", "{", "[1, 2"])
def test_a_text_that_only_looks_like_json_stays_a_text(store: mlmd.MetadataStore, text: str) -> None:
    assert _with_properties(store, odd=pb.Value(string_value=text))["odd"] == text


def test_a_message_of_an_unknown_type_is_told_by_its_type(store: mlmd.MetadataStore) -> None:
    odd = pb.Value()
    odd.proto_value.type_url = "type.googleapis.com/some.Strange"
    odd.proto_value.value = b"\x00\x01"
    assert _with_properties(store, odd=odd)["odd"] == {"@type": "type.googleapis.com/some.Strange"}


def test_types_with_versions_are_found(store: mlmd.MetadataStore) -> None:
    """Kubeflow's types have versions; TFX's have none."""
    ids = []
    for version in ("", "0.0.1", "0.0.2"):
        kind = (
            pb.ArtifactType(name="system.Model", version=version) if version else pb.ArtifactType(name="system.Model")
        )
        ids += store.put_artifacts([pb.Artifact(type_id=store.put_artifact_type(kind), name=f"model {version}")])
    asked = Archive(store)
    assert [one.id for one in asked.artifacts_of_type("system.Model")] == ids
    assert [one.id for one in asked.artifacts_named("model 0.0.2")] == ids[2:]
    assert asked.artifacts_of_type("Nothing") == asked.artifacts_named("nothing") == []


def test_a_resolver_s_finds_are_no_flow_of_data(store: mlmd.MetadataStore) -> None:
    world = World()
    model = world.artifact("Model")
    resolver = world.execute("champion", {}, {"model": [model]}, events=("INTERNAL_INPUT", "INTERNAL_OUTPUT"))
    written = write(world, store)
    asked = Archive(store)
    assert asked.events_of_artifacts(written.artifacts) == asked.events_of_executions(written.executions) == []
    [found] = asked.lookups(written.executions[resolver])
    assert (found.artifact, found.key) == (written.artifacts[model], "model")


def test_an_artifact_under_two_keys_is_two_events(store: mlmd.MetadataStore) -> None:
    world = World()
    model = world.artifact("Model")
    world.execute("judge", {"model": [model], "baseline": [model]})
    [id_] = write(world, store).executions
    assert {event.key for event in Archive(store).events_of_executions([id_])} == {"model", "baseline"}


def test_runs_are_told_oldest_first(store: mlmd.MetadataStore) -> None:
    for name in ("b", "c", "a"):
        put_run(store, name)
    assert [run.name for run in Archive(store).runs()] == ["b", "c", "a"]


def test_a_backslash_never_reaches_a_query(store: mlmd.MetadataStore) -> None:
    """On PostgreSQL it would end the quoted text, and the rest would be run as SQL."""
    put_run(store, "a\\b")
    counting = Counting(store)
    asked = Archive(counting)
    assert asked.run("a\\b").name == "a\\b" and asked.run("a\\c") is None
    assert asked.artifacts_at("\\'; DROP TABLE Artifact; --") == asked.artifacts_named("\\") == []
    assert counting.asked == {"get_contexts_by_type": 2}


def test_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    written = write(_pipeline(5, CONTEXTS), sqlite_store(path))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    asked = Archive(sqlite_store(path))
    for name in ("latest", "run-1/train.best", str(written.artifacts[0])):
        ancestry.up(asked, name)
        ancestry.down(asked, name)
    serving.serving(asked)
    naming.find_run(asked, "latest")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
