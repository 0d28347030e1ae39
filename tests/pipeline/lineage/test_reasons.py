"""Why a step ran again or came from the cache: each part alone, and the chain back to the first cause."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from store_factory import CONTEXTS, RECORDED, World, sqlite_store, write

from pipeline.cache_key import CONTEXT_TYPE, PARTS, CacheKey
from pipeline.lineage import reasons
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.execution_parts import InputArtifact
from pipeline.lineage.reasons import Reasons

OURS = {"lock_digest": "l"}


@pytest.fixture
def world() -> World:
    return World()


def archive(world: World, folder: Path, change: Any = None) -> Archive:
    store = sqlite_store(folder / "store.sqlite")
    written = write(world, store)
    if change:
        change(store, written)
    return Archive(store)


def why(world: World, folder: Path, name: str = "run-2/train", change: Any = None) -> Reasons:
    (found,) = reasons.why(archive(world, folder, change), name)
    return found


def kinds(found: Reasons) -> list[tuple[str, str]]:
    return [(reason.kind, reason.what) for reason in found.reasons]


def place(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    (folder / name / "file").write_text(name)
    return str(folder / name)


def test_a_first_execution(world: World, tmp_path: Path) -> None:
    world.execute("train", run="run-2")
    found = why(world, tmp_path)
    assert (found.earlier, found.reused, kinds(found)) == (None, False, [("first", "")])
    assert found.reasons[0].note == "The step had never run before."


@pytest.mark.parametrize("told", [RECORDED, CONTEXTS])
def test_a_parameter_by_its_dotted_key(world: World, tmp_path: Path, told: str) -> None:
    for run, rounds in (("run-1", 10), ("run-2", 12)):
        given = {"config": json.dumps({"rounds": rounds, "deep": {"same": 1}}), "cache": run}
        world.execute("train", run=run, told=told, properties=given if told == CONTEXTS else {**OURS, **given})
    found = why(world, tmp_path)
    assert found.earlier is not None and found.earlier.run == "run-1"
    assert ("parameter", "config.rounds") in kinds(found)
    # 'cache' is a fact of Braid's launcher; in another's pipeline it is a parameter like any.
    assert (("parameter", "cache") in kinds(found)) == (told == CONTEXTS)
    assert (found.reasons[0].before, found.reasons[0].after) == (10, 12) or told == CONTEXTS


def test_a_query_is_shown_by_lines(world: World, tmp_path: Path) -> None:
    for run, bound in (("run-1", 1), ("run-2", 2)):
        sql = json.dumps({"sql": f"SELECT a\nWHERE b > {bound}\n"})
        world.execute("train", run=run, properties={**OURS, "config": sql})
    assert why(world, tmp_path).reasons[0].note.splitlines()[-2:] == ["-WHERE b > 1", "+WHERE b > 2"]


@pytest.mark.parametrize(
    ("digests", "words"),
    [
        (("aa", "bb"), "other content"),
        (("aa", "aa"), "another artifact with the same content"),
        (("aa", ""), "another artifact; whether its content differs is not recorded"),
    ],
)
def test_an_input(world: World, tmp_path: Path, digests: tuple[str, str], words: str) -> None:
    for run, digest in zip(("run-1", "run-2"), digests, strict=True):
        examples = world.artifact(**({"content_digest": digest} if digest else {}))
        world.execute("prepare", {}, {"examples": [examples]}, run=run)
        world.execute("train", {"examples": [examples]}, run=run)
    (reason,) = why(world, tmp_path).reasons
    assert (reason.kind, reason.what, reason.decides, reason.note) == ("input", "examples", True, words)
    assert reason.before == [InputArtifact(1, "Examples", "run-1/prepare", "aa")]
    assert [one.made_by for one in reason.after] == ["run-2/prepare"]


def test_an_input_that_there_was_none_of(world: World, tmp_path: Path) -> None:
    world.execute("train", run="run-1")
    world.execute("train", {"baseline": [world.artifact("Model")]}, run="run-2")
    (reason,) = why(world, tmp_path).reasons
    assert (reason.what, reason.before, reason.note) == ("baseline", [], "not there before")


def test_of_several_inputs_under_one_key_only_those_that_differ(world: World, tmp_path: Path) -> None:
    same, old, new = (world.artifact(content_digest=digest) for digest in ("s", "a", "b"))
    world.execute("train", {"tables": [same, old]}, run="run-1")
    world.execute("train", {"tables": [same, new]}, run="run-2")
    (reason,) = why(world, tmp_path).reasons
    assert ([one.artifact for one in reason.before], [one.artifact for one in reason.after]) == ([2], [3])


def test_the_same_inputs_in_another_order(world: World, tmp_path: Path) -> None:
    first, second = (world.artifact(content_digest=digest) for digest in ("a", "b"))
    world.execute("train", {"tables": [first, second]}, run="run-1")
    world.execute("train", {"tables": [second, first]}, run="run-2")
    (reason,) = why(world, tmp_path).reasons
    assert (len(reason.before), len(reason.after), reason.note) == (2, 2, "the same artifacts in another order")


def test_source_files_say_it_instead_of_the_fingerprint(world: World, tmp_path: Path) -> None:
    for run, digest in (("run-1", "aa"), ("run-2", "bb")):
        files = json.dumps([{"path": "/d/a.csv", "digest": digest, "size": 5}])
        table = world.artifact("SourceTable", place(tmp_path, run), files=files)
        world.execute("flights", {}, {"table": [table]}, run=run, properties={**OURS, "fingerprint": digest})
    found = why(world, tmp_path, "run-2/flights")
    assert kinds(found) == [("source file", "/d/a.csv")]
    assert found.reasons[0].after == {"digest": "bb", "size": 5}


def test_failed_attempts_left_nothing_to_reuse(world: World, tmp_path: Path) -> None:
    world.execute("train", run="run-1", state="FAILED", properties={"error": "out of memory\nmore"})
    world.execute("train", run="run-2")
    found = why(world, tmp_path)
    assert kinds(found) == [("first", ""), ("failed before", "run-1/train")]
    assert (found.reasons[1].after, found.reasons[1].note) == ("FAILED", "out of memory")
    assert found.reasons[0].note == "No earlier execution of this step ended well."


def test_outputs_that_gc_removed(world: World, tmp_path: Path) -> None:
    model = world.artifact("Model", place(tmp_path, "m"))
    world.execute("train", {}, {"model": [model]}, run="run-1")

    def remove_then_run_again(store: Any, written: Any) -> None:
        (proto,) = store.get_artifacts_by_id([written.artifacts[model]])
        proto.state = pb.Artifact.DELETED
        store.put_artifacts([proto])
        again = World()
        again.execute("train", {}, {"model": [again.artifact("Model", place(tmp_path, "m2"))]}, run="run-2")
        write(again, store)

    (reason,) = why(world, tmp_path, change=remove_then_run_again).reasons
    assert (reason.kind, reason.what, reason.after) == ("outputs gone", "run-1/train.model", "DELETED")
    assert "removed by gc" in reason.note


@pytest.mark.parametrize(
    ("recorded", "lost"), [({}, "gone"), ({"files_count": 2, "bytes": 9}, "not what it was")], ids=["gone", "changed"]
)
def test_outputs_that_were_deleted_or_changed_by_hand(
    world: World, tmp_path: Path, recorded: dict[str, int], lost: str
) -> None:
    uri = place(tmp_path, "m") if recorded else str(tmp_path / "nowhere")
    world.execute("train", {}, {"model": [world.artifact("Model", uri, **recorded)]}, run="run-1")
    world.execute("train", run="run-2")
    (reason,) = why(world, tmp_path).reasons
    assert (reason.kind, reason.after) == ("outputs gone", lost)


def test_what_the_launcher_found_unusable_is_believed(world: World, tmp_path: Path) -> None:
    world.execute("train", {}, {"model": [world.artifact("Model", place(tmp_path, "m"))]}, run="run-1")
    world.execute("train", run="run-2", properties={**OURS, "cache_unusable": "'/m' is not what it was"})
    (reason,) = why(world, tmp_path).reasons
    assert (reason.kind, reason.note) == ("outputs gone", "'/m' is not what it was")


def test_nothing_on_record_differs(world: World, tmp_path: Path) -> None:
    model = world.artifact("Model", place(tmp_path, "m"))
    world.execute("train", {}, {"model": [model]}, run="run-1", properties={**OURS, "code_commit": "a"})
    world.execute("train", run="run-2", properties={**OURS, "code_commit": "b"})
    found = why(world, tmp_path)
    assert [(reason.kind, reason.what, reason.decides) for reason in found.reasons] == [
        ("unknown", "", True),
        ("code", "commit", False),
    ]


def test_one_from_the_cache_is_held_against_what_it_reused(world: World, tmp_path: Path) -> None:
    model, other = (world.artifact("Model", place(tmp_path, name)) for name in ("m", "o"))
    world.execute("train", {}, {"model": [model]}, run="run-0", properties={**OURS, "rounds": 1, "code_commit": "a"})
    world.execute("train", {}, {"model": [other]}, run="run-1", properties={**OURS, "rounds": 2, "code_commit": "a"})
    cached = {**OURS, "rounds": 1, "code_commit": "b"}
    world.execute("train", {}, {"model": [model]}, run="run-2", state="CACHED", properties=cached)
    found = why(world, tmp_path)
    assert found.reused
    assert found.earlier is not None and found.earlier.run == "run-0"
    assert kinds(found) == [("code", "commit")]
    assert found.deciding == ()


def test_what_another_pipelines_step_adds_as_it_runs_is_no_parameter_of_one_from_the_cache(
    world: World, tmp_path: Path
) -> None:
    model = world.artifact("Model", place(tmp_path, "m"))
    for run, given in (("run-1", {"steps": 5, "span": 0}), ("run-2", {"steps": 5})):
        state = "COMPLETE" if "span" in given else "CACHED"
        world.execute("train", {}, {"model": [model]}, run=run, state=state, told=CONTEXTS, properties=given)
    assert kinds(why(world, tmp_path)) == []


def test_a_resolver_looks_up_in_every_run(world: World, tmp_path: Path) -> None:
    for run in ("run-1", "run-2"):
        world.execute("train", run=run, kind="tfx.Resolver")
    assert kinds(why(world, tmp_path)) == [("looks up", "")]


def test_the_same_step_of_another_pipeline_is_another_step(world: World, tmp_path: Path) -> None:
    world.execute("train", run="run-1", pipeline="taxi")
    world.execute("train", run="run-2", pipeline="flights")
    assert kinds(why(world, tmp_path)) == [("first", "")]


KEY = CacheKey("T", {"config": "1"}, {"examples": ["Examples x"]}, {"m:f": "1", "m:g": "1"}, {"lock": "l"})


def with_keys(world: World, before: CacheKey, after: CacheKey) -> Any:
    """Two runs of `train` whose launcher recorded these keys, each with inputs of its own."""
    for run, key in (("run-1", before), ("run-2", after)):
        given = {**OURS, "config": key.parameters["config"], "cache_key": key.digest, "code_commit": run}
        inputs = {"examples": [world.artifact(content_digest="x")]}
        world.execute("train", inputs, {"model": [world.artifact("Model", "/gone")]}, run=run, properties=given)

    def record(store: Any, _: Any) -> None:
        kind = store.put_context_type(pb.ContextType(name=CONTEXT_TYPE))
        for key in {before.digest: before, after.digest: after}.values():
            context = pb.Context(type_id=kind, name=key.digest)
            context.custom_properties[PARTS].string_value = key.to_json()
            store.put_contexts([context])

    return record


def test_with_keys_on_record_content_decides(world: World, tmp_path: Path) -> None:
    code = CacheKey("T", {"config": "1"}, {"examples": ["Examples x"]}, {"m:f": "2", "m:g": "1"}, {"lock": "m"})
    found = why(world, tmp_path, change=with_keys(world, KEY, code))
    assert [(reason.kind, reason.what, reason.decides) for reason in found.reasons] == [
        ("code", "m:f", True),
        ("environment", "lock", True),
        ("input", "examples", False),
        ("code", "commit", False),
    ]


def test_with_equal_keys_it_must_be_the_outputs(world: World, tmp_path: Path) -> None:
    found = why(world, tmp_path, change=with_keys(world, KEY, KEY))
    assert [(reason.kind, reason.decides) for reason in found.reasons] == [
        ("outputs gone", True),
        ("input", False),
        ("code", False),
    ]


def test_the_chain_leads_back_to_the_first_cause(world: World, tmp_path: Path) -> None:
    for run, digest in (("run-1", "aa"), ("run-2", "bb")):
        table = world.artifact("SourceTable", place(tmp_path, f"{run}-t"), content_digest=digest)
        examples = world.artifact("Examples", place(tmp_path, f"{run}-e"), content_digest=f"e{digest}")
        world.execute("flights", {}, {"table": [table]}, run=run, properties={"fingerprint": digest})
        world.execute("prepare", {"sources": [table]}, {"examples": [examples]}, run=run)
        world.execute("train", {"examples": [examples]}, run=run)
    asked = archive(world, tmp_path)
    (last,) = reasons.why(asked, "run-2/train")
    found = reasons.chain(asked, last.execution)
    assert [(one.execution.step, kinds(one)) for one in found] == [
        ("train", [("input", "examples")]),
        ("prepare", [("input", "sources")]),
        ("flights", [("parameter", "fingerprint")]),
    ]


def test_a_run_is_answered_step_by_step_and_an_artifact_by_its_maker(world: World, tmp_path: Path) -> None:
    model = world.artifact("Model", "/m")
    world.execute("prepare", run="run-1")
    world.execute("train", {}, {"model": [model]}, run="run-1")
    asked = archive(world, tmp_path)
    assert [one.execution.step for one in reasons.why(asked, "run-1")] == ["prepare", "train"]
    assert [one.execution.step for one in reasons.why(asked, "/m")] == ["train"]


def test_what_nothing_made_has_no_reason(world: World, tmp_path: Path) -> None:
    world.artifact("Model", "/m")
    with pytest.raises(LineageError, match="No execution made '/m'"):
        reasons.why(archive(world, tmp_path), "/m")


def recorded(world: World, *keys: tuple[str, CacheKey], **of_last: Any) -> Any:
    """Runs of `train` by their names and keys; the last with more properties."""
    for run, key in keys:
        more = of_last if run == keys[-1][0] else {}
        world.execute("train", run=run, properties={**OURS, "cache_key": key.digest, **more})

    def record(store: Any, _: Any) -> None:
        kind = store.put_context_type(pb.ContextType(name=CONTEXT_TYPE))
        for key in {key.digest: key for _, key in keys}.values():
            context = pb.Context(type_id=kind, name=key.digest)
            context.custom_properties[PARTS].string_value = key.to_json()
            store.put_contexts([context])

    return record


def test_it_is_held_against_the_one_most_like_it(world: World, tmp_path: Path) -> None:
    far = replace(KEY, parameters={"config": "9"}, environment={"lock": "m"})
    near = replace(KEY, code={"m:f": "2", "m:g": "2", "m:h": "2"})  # however many definitions, one part
    change = recorded(world, ("run-0", near), ("run-1", far), ("run-2", KEY))
    found = why(world, tmp_path, change=change)
    assert found.earlier is not None and (found.earlier.run, found.is_last) == ("run-0", False)
    assert {kind for kind, _ in kinds(found)} == {"code"}


def test_of_two_that_are_as_like_it_is_held_against_the_later(world: World, tmp_path: Path) -> None:
    others = [replace(KEY, environment={"lock": lock}) for lock in "abc"]
    change = recorded(world, *zip(("run-a", "run-b", "run-c"), others, strict=True), ("run-2", KEY))
    found = why(world, tmp_path, change=change)
    assert found.earlier is not None and (found.earlier.run, found.is_last) == ("run-c", True)


def test_outputs_of_the_same_key_that_were_lost_decide(world: World, tmp_path: Path) -> None:
    other = replace(KEY, environment={"lock": "m"})
    told = {"cache_unusable": "'/x' is gone"}
    change = recorded(world, ("run-0", KEY), ("run-1", other), ("run-2", KEY), **told)
    found = why(world, tmp_path, change=change)
    assert kinds(found) == [("outputs gone", "run-0/train")]
    assert found.reasons[0].note == "'/x' is gone"


def test_a_step_that_was_forced(world: World, tmp_path: Path) -> None:
    other = replace(KEY, environment={"lock": "m"})
    found = why(world, tmp_path, change=recorded(world, ("run-1", other), ("run-2", KEY), forced="--from train"))
    assert [(reason.kind, reason.what, reason.decides) for reason in found.reasons] == [
        ("forced", "--from train", True),
        ("environment", "lock", False),
    ]


def test_code_edited_while_the_earlier_one_ran(world: World, tmp_path: Path) -> None:
    edited = {**OURS, "cache_key": "", "code_edited": "m.f"}
    world.execute("train", run="run-1", properties=edited)
    found = why(world, tmp_path, change=recorded(world, ("run-2", KEY)))
    assert kinds(found) == [("edited", "m.f")]


def test_the_same_files_of_which_something_else_is_recorded(world: World, tmp_path: Path) -> None:
    for run, kind in (("run-1", "int32"), ("run-2", "int64")):
        statistics = world.artifact("ExampleStatistics", tree_digest="t", columns=json.dumps({"a": kind}))
        world.execute("train", {"statistics": [statistics]}, run=run, properties=OURS)
    assert why(world, tmp_path).reasons[0].note == "another artifact with the same content but other columns"


def test_for_programs(world: World, tmp_path: Path) -> None:
    for run, rounds in (("run-1", 1), ("run-2", 2)):
        world.execute("train", run=run, properties={"rounds": rounds})
    told = why(world, tmp_path).to_dict()
    assert json.loads(json.dumps(told)) == {
        "execution": {"id": 2, "run": "run-2", "step": "train", "pipeline": "flights"},
        "state": "COMPLETE",
        "reused": False,
        "earlier": {"id": 1, "run": "run-1", "step": "train", "pipeline": "flights"},
        "is_last": True,
        "reasons": [{"kind": "parameter", "what": "rounds", "before": 1, "after": 2, "decides": True, "note": ""}],
    }
