"""Runs whose outputs go to a bucket: the same results as on this machine, and every question about them answered."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bucket import Bucket
from s3_bucket import S3Bucket
from sales_project import SALES, Braid, Outcome, Project, latest, ledgers, states
from served_model import serving

from beam_jobs import storage
from beam_jobs.folder_digest import files_in
from beam_jobs.table import Table, read_table
from components.evaluator.evaluation import METRICS_FILE
from pipeline import runs

pytestmark = pytest.mark.long

HERE = ("--workspace", "ws")
EASY = "evaluate: {slices: [shop], thresholds: {auc: {min: 0.1}}, champion: {at_most_worse: 1}}\n"
TWO_FAMILIES = (
    "train:\n  rounds: 10\n",
    "train:\n"
    "  - {name: boosted, rounds: 10, threads: 1, memory: external, tune: {trials: 2}}\n"
    "  - {name: deep, family: keras, epochs: 2, tune: {trials: 2}}\n",
)
# What two trainings of Keras on one machine write differently, too.
VARYING = (
    "events.out.tfevents",
    "metrics.json",
    "fingerprint.pb",
    "variables.index",
    "saved_model.pb",
    "variables.data",
)

TWO_PASSES = """\
import tensorflow as tf
import tensorflow_transform as tft

def preprocessing_fn(inputs):
    scaled = tft.scale_to_0_1(inputs["amount"])
    return {
        "again": tft.scale_to_z_score(scaled * scaled),
        "shop": tft.compute_and_apply_vocabulary(inputs["shop"], num_oov_buckets=1),
    }
"""


@pytest.fixture
def source(bucket: Bucket, project: Project) -> str:
    """The table of sales, in the bucket as well as on this machine."""
    return bucket.put("tables/sales.csv", SALES)


def run(braid: Braid, root: str = "", workspace: str = "ws", *options: str) -> Outcome:
    given = ("--set", f"root={root}") if root else ()
    ended = braid("run", "sales.yaml", "--workspace", workspace, *given, *options)
    assert ended.code == 0, ended.err
    return ended


def output(found: runs.Run, step: str, key: str) -> runs.Output:
    record = found.step(step)
    assert record is not None
    return record.outputs[key][0]


def without_models(told: dict[str, Any]) -> dict[str, Any]:
    """The same without the digests of the models that were judged."""
    return {**told, "candidates": [{**one, "model": ""} for one in told["candidates"]]}


def metrics(found: runs.Run) -> dict[str, Any]:
    uri = output(found, "evaluate", "evaluation").uri
    told: dict[str, Any] = json.loads(storage.read_text(f"{uri}/{METRICS_FILE}"))
    return told


def rows(found: runs.Run) -> pa.Table:
    return read_table(Table.load(output(found, "orders", "examples").uri)).sort_by("id")


def files(found: runs.Run) -> Mapping[str, dict[str, str]]:
    """The digests of the files of every output; a source's table names the place of the source."""
    return {
        f"{step.name}.{key}": {name: storage.bytes_digest(path) for name, path in files_in(made.uri)}
        for step in found.steps
        for key, outputs in step.outputs.items()
        for made in outputs
        if not step.is_resolver and key not in ("table", "rejects", "pushed_model")
    }


def steady(found: Mapping[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The files that two trainings of Keras write the same."""
    return {
        place: {name: digest for name, digest in named.items() if not name.split("/")[-1].startswith(VARYING)}
        for place, named in found.items()
    }


def uris(found: runs.Run) -> list[str]:
    return [made.uri for step in found.steps for outputs in step.outputs.values() for made in outputs]


@pytest.mark.parametrize("kind", ["bucket", "s3_bucket"])
def test_a_run_in_a_bucket_is_the_run_on_this_machine(
    kind: str, request: pytest.FixtureRequest, project: Project, braid: Braid
) -> None:
    bucket: Bucket | S3Bucket = request.getfixturevalue(kind)
    source = bucket.put("tables/sales.csv", SALES)
    project.configure(more=EASY)
    run(braid, workspace="local")
    project.configure(("path: sales.csv", f"path: {source}"), more=EASY)
    run(braid, f"{bucket.url}/out")
    here, there = latest(project.folder / "local"), latest(project.workspace)
    assert (metrics(there), ledgers(there)) == (metrics(here), ledgers(here))
    assert rows(there).equals(rows(here))
    assert files(there) == files(here)
    assert all(uri.startswith(f"{bucket.url}/out/") for uri in uris(there))
    left = {path.relative_to(project.workspace).parts[0] for path in project.workspace.rglob("*") if path.is_file()}
    assert left <= {"digests.json", "ids.json", "metadata.sqlite", "sales"}
    assert [path.name for path in (project.workspace / "sales").rglob("*") if path.is_file()] == ["lock"]
    run(braid, f"{bucket.url}/out")
    assert set(states(latest(project.workspace)).values()) == {"CACHED"}


def test_outputs_are_used_where_they_lie(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    """From one root to another and into the workspace and back; only the push is done anew, for another folder."""
    project.configure(more=EASY)
    run(braid, f"{bucket.url}/one")
    for root in (f"{bucket.url}/two", str(project.folder / "three"), "", f"{bucket.url}/one"):
        run(braid, root)
        reused = {step for step, state in states(latest(project.workspace)).items() if state == "CACHED"}
        assert {"sales", "orders", "statistics", "select", "train", "evaluate", "explain"} <= reused
    project.configure(("rounds: 10", "rounds: 12"), more=EASY)
    run(braid)
    found = latest(project.workspace)
    assert output(found, "orders", "examples").uri.startswith(f"{bucket.url}/one/")
    assert output(found, "train", "model").uri.startswith(str(project.workspace))


def test_two_workspaces_share_a_root(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    for workspace in ("ws", "other"):
        run(braid, f"{bucket.url}/out", workspace)
    mine, theirs = (latest(project.folder / workspace) for workspace in ("ws", "other"))
    assert set(states(mine).values()) == set(states(theirs).values()) == {"COMPLETE"}
    assert set(uris(mine)).isdisjoint(uris(theirs))
    assert metrics(mine) == metrics(theirs)


@pytest.mark.long
def test_two_families_in_a_bucket(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    project.configure(TWO_FAMILIES, more=EASY)
    run(braid, workspace="local")
    project.configure(("path: sales.csv", f"path: {source}"), TWO_FAMILIES, more=EASY)
    run(braid, f"{bucket.url}/out")
    here, there = latest(project.folder / "local"), latest(project.workspace)
    assert without_models(metrics(there)) == without_models(metrics(here))
    assert (ledgers(there), steady(files(there))) == (ledgers(here), steady(files(here)))
    assert [name for name in bucket.names if "train_deep/model_run/" in name], "TensorBoard's events are kept"
    assert not [name for name in bucket.names if ".resume" in name or ".analysis" in name]
    assert not [path for path in project.workspace.rglob("*") if path.is_dir() and path.parent.name == "sales"]
    run(braid, f"{bucket.url}/out")
    assert set(states(latest(project.workspace)).values()) == {"CACHED"}
    assert braid("score", "sales@1", "sales.csv", "--to", f"{bucket.url}/scored", *HERE).code == 0


@pytest.mark.long
def test_code_of_the_user_and_of_tfma_in_a_bucket(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    """A transform that takes two passes, whose files TensorFlow writes itself; and a judge that writes its own."""
    project.write("transforming.py", TWO_PASSES)
    changes = (("train:\n  rounds: 10\n", "transform: {module: transforming.py}\ntrain: {family: keras, epochs: 2}\n"),)
    judged = "evaluate: {engine: tfma, thresholds: {auc: {min: 0.1}}}\n"
    project.configure(*changes, more=judged)
    run(braid, workspace="local")
    run(braid, f"{bucket.url}/out")
    here, there = latest(project.folder / "local"), latest(project.workspace)
    assert without_models(metrics(there)) == without_models(metrics(here))
    for step, key in (("transform", "transform_graph"), ("evaluate", "evaluation")):
        names = [{name for name, _ in files_in(output(found, step, key).uri)} for found in (here, there)]
        assert names[0] == names[1]
    assert steady(files(there))["transform.transform_graph"] == steady(files(here))["transform.transform_graph"]


def test_questions_about_outputs_in_a_bucket(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    project.configure(("path: sales.csv", f"path: {source}"))
    run(braid, f"{bucket.url}/out")
    found = latest(project.workspace)
    model = output(found, "train", "model").uri
    for question in (("up", f"{model}/model.ubj"), ("file", source)):
        told = braid("lineage", *question, *HERE)
        assert (told.code, found.name in told.out) == (0, True), told.err
    assert braid("lineage", "verify", *HERE).code == 0
    name = f"{model.removeprefix(f'{bucket.url}/')}/model.ubj"
    whole = bucket.get(name)
    bucket.put(name, whole[:-1] + b"?")
    altered = braid("lineage", "verify", *HERE)
    assert (altered.code, model in altered.out) == (1, True)
    bucket.put(name, whole)
    assert braid("report", "--to", "report.html", *HERE).code == 0
    assert all(words in (project.folder / "report.html").read_text() for words in ("auc", found.name))
    assert braid("show", *HERE).code == 0


def test_scores_go_to_a_bucket(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    project.configure(more=EASY)
    run(braid, f"{bucket.url}/out")
    for folder, more in ((f"{bucket.url}/scored", ("--set", f"root={bucket.url}/out")), ("scored", ())):
        ended = braid("score", "sales", source, "--to", folder, "--with", "id", *more, *HERE)
        assert ended.code == 0, ended.err
    (part,) = [name for name in bucket.names if name.startswith("scored/") and name.endswith(".parquet")]
    there, here = pq.read_table(pa.BufferReader(bucket.get(part))), pq.read_table(project.folder / "scored")
    assert there.sort_by("id").equals(here.sort_by("id"))


def test_a_failed_step_is_debugged_from_the_bucket(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    """What it wrote before it failed is kept there, and is fetched."""
    project.configure(("late = 1 AS late", "CAST(shop AS INTEGER) AS number, late = 1 AS late"))
    failed = braid("run", "sales.yaml", *HERE, "--set", f"root={bucket.url}/out")
    assert failed.code == 1
    kept = [name.rsplit("/", 1)[-1] for name in bucket.names if "/orders/" in name]
    assert {"traceback.txt", "chunk-000000.json", "chunk-000000.parquet"} <= set(kept)
    made = braid("debug", "latest/orders", *HERE)
    assert made.code == 0, made.err
    capsules = list((project.workspace / "capsules").rglob("replay_failure.py"))
    assert len(capsules) == 1
    project.configure()
    ended = braid("run", "sales.yaml", *HERE, "--set", f"root={bucket.url}/out", "--resume", "latest")
    assert ended.code == 0, ended.err


def test_gc_clears_a_root_and_leaves_others_alone(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    project.configure(more=EASY)
    run(braid, f"{bucket.url}/out")
    run(braid, f"{bucket.url}/out", "other")
    project.configure(("rounds: 10", "rounds: 12"), more=EASY)
    run(braid, f"{bucket.url}/out")
    first, second, theirs = uris(runs_of(project)[0]), uris(runs_of(project)[1]), uris(latest(project.folder / "other"))
    root = second[0].removeprefix(f"{bucket.url}/").partition("/sales/")[0]
    bucket.put(f"{root}/sales/notes/of/3", "somebody's own")
    before = bucket.names
    dry = json.loads(braid("lineage", "gc", "--days", "0", "--json", *HERE).out)
    assert bucket.names == before
    planned = {one["path"] for one in dry["removals"]}
    assert planned and planned <= set(first) - set(second)
    ended = braid("lineage", "gc", "--days", "0", "--delete", "--json", *HERE)
    assert ended.code == 0, ended.err
    assert set(json.loads(ended.out)["deleted"]) == planned
    gone = [name for name in before if f"{bucket.url}/{name}".startswith(tuple(f"{path}/" for path in planned))]
    assert sorted(set(before) - set(bucket.names)) == sorted(gone) != []
    assert not [uri for uri in theirs if not storage.is_folder(uri) and "rejects" not in uri]
    assert braid("lineage", "verify", *HERE).code == 0
    run(braid, f"{bucket.url}/out")


def runs_of(project: Project) -> list[runs.Run]:
    """Those of the workspace that trained, oldest first."""
    from pipeline import stores
    from pipeline.workspace import Workspace

    store = stores.open_store(Workspace(str(project.workspace)).store)
    return [runs.find_run(store, name) for name in reversed(list(runs.names(store)))]


def test_models_that_serve_from_a_bucket(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    for rounds in (10, 20):
        project.configure(("rounds: 10", f"rounds: {rounds}"), more=EASY)
        run(braid, f"{bucket.url}/out")
    (pointer,) = [name for name in bucket.names if name.endswith("/serving/current")]
    assert bucket.get(pointer) == b"00000002\n"
    assert _states(braid) == {"00000001": "", "00000002": "serves"}
    back = braid("rollback", "sales", "--why", "it drifts", "--by", "ann", *HERE)
    assert back.code == 0, back.err
    assert bucket.get(pointer) == b"00000001\n"
    assert _states(braid) == {"00000001": "serves", "00000002": "withdrawn"}
    again = run(braid, f"{bucket.url}/out")
    assert "Not pushed: This very model was withdrawn as version 00000002 by ann: it drifts" in again.out
    scored = json.loads(braid("score", "sales", "sales.csv", "--to", "scored", "--json", *HERE).out)
    assert scored["model"]["name"] == "sales@00000001"
    with serving(project, "sales") as served:
        answer = served.predict([{"id": 1, "day": "2024-10-01", "amount": 99.5, "shop": "north", "kind": "a"}])
    assert 0.5 < answer["predictions"][0] < 1
    assert braid("lineage", "gc", "--days", "0", "--delete", *HERE).code == 0
    assert braid("score", "sales", "sales.csv", "--to", "again", *HERE).code == 0


def _states(braid: Braid) -> dict[str, str]:
    return {one["version"]: one["state"] for one in json.loads(braid("models", "--json", *HERE).out)}


def test_a_copy_of_a_workspace_writes_beside_it(source: str, bucket: Bucket, project: Project, braid: Braid) -> None:
    import shutil

    run(braid, f"{bucket.url}/out")
    shutil.copytree(project.workspace, project.folder / "copy")
    project.configure(("rounds: 10", "rounds: 12"))
    for workspace in ("ws", "copy"):
        run(braid, f"{bucket.url}/out", workspace)
    mine, copied = (latest(project.folder / workspace) for workspace in ("ws", "copy"))
    assert output(mine, "orders", "examples").uri == output(copied, "orders", "examples").uri
    assert output(mine, "train", "model").uri != output(copied, "train", "model").uri


def test_folders_that_hold_files_are_not_written_to(
    source: str, bucket: Bucket, project: Project, braid: Braid
) -> None:
    """As they would be where an old state of the store was put back."""
    old = Path("metadata.old")
    run(braid, f"{bucket.url}/out", "ws", "--to", "sales")
    old.write_bytes((project.workspace / "metadata.sqlite").read_bytes())
    run(braid, f"{bucket.url}/out")
    project.workspace.joinpath("metadata.sqlite").write_bytes(old.read_bytes())
    before = bucket.names
    refused = braid("run", "sales.yaml", *HERE, "--set", f"root={bucket.url}/out")
    assert refused.code == 1
    assert "holds files already" in refused.err + refused.out
    assert bucket.names == before
    project.workspace.joinpath("ids.json").unlink()
    run(braid, f"{bucket.url}/out")
