"""Capsules of other steps than those of a run of Braid's on this disk: models, TFX's own components, artifacts in a bucket."""

import importlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from dap import debuggee, line_of
from ml_metadata.proto import metadata_store_pb2 as pb
from sales_project import Braid, Project, latest
from tfx.components import StatisticsGen
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from workspace_digest import digest_of

from components.flat_tfxio import accept_flat_parquet
from components.ingest.component import Ingest
from components.prepare.component import PrepareExamples
from components.trainer import parameters
from pipeline import stores
from pipeline.debugging import making, recorded
from pipeline.debugging.capsule import Capsule
from pipeline.debugging.comparison import SAME
from pipeline.debugging.copying import Wishes
from pipeline.debugging.replaying import Replay
from pipeline.lineage.archive import Archive
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from bucket import Bucket

BEAM = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=1"]


def played(capsule: str, *arguments: str) -> Replay:
    """Does what the capsule's program does, in this process."""
    replay = Replay(capsule, arguments)
    module, _, name = replay.capsule.executor.rpartition(".")
    with replay:
        getattr(importlib.import_module(module), name)(replay.context()).Do(
            replay.inputs, replay.outputs, replay.parameters
        )
    return replay


def told(replay: Replay, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    return replay.verdict(), capsys.readouterr().out


@pytest.mark.slow
def test_a_trainer_with_a_bad_parameter(project: Project, braid: Braid, capsys: pytest.CaptureFixture[str]) -> None:
    bad = ("--set", "train.parameters={max_depth: deep}")
    failed = braid("run", "sales.yaml", "--workspace", "ws", *bad)
    assert failed.code == 1
    before = digest_of(project.workspace)
    assert braid("debug", "latest/train", "--workspace", "ws").code == 0
    [capsule] = (project.workspace / "capsules").iterdir()
    made = Capsule.load(str(capsule))
    assert (made.state, made.outputs) == ("FAILED", {})
    assert not (capsule / "replay_failure.py").exists()

    replay = played(str(capsule))
    assert set(replay.outputs) == {"model"}
    code, out = told(replay, capsys)
    assert code == 0 and out.startswith("Failed as it did: ") and "max_depth" in out, out
    code, out = told(played(str(capsule), "--set", "params.max_depth=4"), capsys)
    assert code == 1 and out.startswith("The step went through. It had failed: "), out
    assert list((capsule / "replays" / "2" / "model").iterdir())

    source = Path(parameters.__file__)
    line = line_of(source, "xgboost.train({**params")
    with debuggee([str(capsule / "replay.py"), "--listen", "0"], project.folder) as started:
        client = started.connect()
        try:
            client.attach({str(source): [line]})
            thread, frames = client.stopped()
            assert Path(frames[0]["source"]["path"]) == source
            assert client.evaluate(frames[0], "params['max_depth']") == "'deep'"
            client.ask("continue", threadId=thread)
            code, out = started.end()
        finally:
            client.close()
    assert code == 0 and out.startswith("Failed as it did: "), out + started.err
    assert digest_of(project.workspace) == before


def by_hand(folder: Path, *, with_statistics: bool) -> None:
    """A pipeline of ours and of TFX's own components; nothing of Braid launches it."""
    rows = [f"{i},{'ab'[i % 2]},{i * 0.5}" for i in range(400)]
    (folder / "trips.csv").write_text("\n".join(["id,kind,fare", *rows]) + "\n")
    trips = Ingest(json.dumps({"name": "trips", "path": str(folder / "trips.csv")}), "as given").with_id("trips")
    config = {
        "step": "rides",
        "stream": "trips",
        "sql": "SELECT id, kind, fare FROM trips",
        "partition_by": [],
        "fan_out": False,
        "split": {"by": "hash", "columns": ["id"], "shares": {"train": 0.7, "eval": 0.3}},
    }
    rides = PrepareExamples(json.dumps(config), sources=trips.outputs["table"])
    statistics = StatisticsGen(examples=rides.outputs["examples"])
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="by-hand",
            pipeline_root=str(folder / "root"),
            components=[trips, rides, *([statistics] if with_statistics else [])],
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite")),
            beam_pipeline_args=[*BEAM, "--sdk_container_image=none"],
            enable_cache=True,
        )
    )


@pytest.mark.slow
def test_a_stock_component_of_a_pipeline_written_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_flat_parquet()
    by_hand(tmp_path, with_statistics=True)
    archive = Archive(stores.open_store(str(tmp_path / "metadata.sqlite")))
    before = digest_of(tmp_path / "root")
    done = str(tmp_path / "done")
    step = recorded.find(archive, "latest/StatisticsGen")
    making.make(step, done, Wishes())
    assert Capsule.load(done).executor == "tfx.components.statistics_gen.executor.Executor"
    replay = played(done)
    assert replay.error is None
    [compared] = replay.compare()
    assert compared.verdict == SAME
    rides = recorded.find(archive, "latest/PrepareExamples")
    making.make(rides, str(tmp_path / "rides"), Wishes())
    assert [one.verdict for one in played(str(tmp_path / "rides")).compare()] == [SAME]
    assert digest_of(tmp_path / "root") == before

    train = next(Path(rides.outputs[0].artifact.uri).rglob("Split-train/*.parquet"))
    train.write_bytes(train.read_bytes()[:200])
    shutil.rmtree(step.outputs[0].artifact.uri)
    store = stores.open_store(str(tmp_path / "metadata.sqlite"), read_only=False)
    [statistics] = store.get_artifacts_by_type("ExampleStatistics")
    statistics.state = pb.Artifact.DELETED
    store.put_artifacts([statistics])
    with pytest.raises(Exception, match=r"[Pp]arquet"):
        by_hand(tmp_path, with_statistics=True)
    archive = Archive(stores.open_store(str(tmp_path / "metadata.sqlite")))
    step = recorded.find(archive, "latest/StatisticsGen")
    assert step.execution.state == "FAILED"
    failed = str(tmp_path / "failed")
    making.make(step, failed, Wishes())
    code, out = told(played(failed), capsys)
    assert code == 0 and out.startswith("Failed, as it had; how, is not on record: "), out


@pytest.mark.slow
def test_artifacts_in_a_bucket_are_fetched_once(
    project: Project, braid: Braid, bucket: "Bucket", capsys: pytest.CaptureFixture[str]
) -> None:
    assert braid().code == 0
    run = latest(project.workspace).name
    store = stores.open_store(Workspace(str(project.workspace)).store, read_only=False)
    for artifact in store.get_artifacts():
        artifact.uri = uploaded(bucket, project.workspace, artifact.uri)
        store.put_artifacts([artifact])
    shutil.rmtree(project.workspace / "sales")
    for step in ("orders", "train", "statistics"):
        made = making.make(
            recorded.find(Archive(stores.open_store(Workspace(str(project.workspace)).store)), f"{run}/{step}"),
            str(project.folder / step),
            Wishes(),
        )
        assert all(one.original.startswith("gs://") for found in made.capsule.inputs.values() for one in found)
        objects = bucket.names
        replay = played(str(project.folder / step))
        assert replay.error is None
        code, out = told(replay, capsys)
        assert code == 0, out
        assert {one.verdict for one in replay.compare()} == {SAME}
        assert bucket.names == objects
    fetched = len(bucket.downloads)
    again = braid("debug", f"{run}/orders", "--workspace", "ws", "--to", str(project.folder / "orders"))
    assert again.code == 0, again.err
    assert len(bucket.downloads) == fetched


def uploaded(bucket: "Bucket", workspace: Path, uri: str) -> str:
    """Puts an artifact's folder into the bucket; its place there."""
    name = str(Path(uri).relative_to(workspace))
    for path in sorted(Path(uri).rglob("*")):
        if path.is_file():
            bucket.put(f"{name}/{path.relative_to(uri)}", path.read_bytes())
    return f"{bucket.url}/{name}"


def test_properties_become_what_tfx_hands_to_executors() -> None:
    from tfx.types.component_spec import ComponentSpec, ExecutionParameter

    from pipeline.debugging.spec_parameters import as_the_executor_gets_them

    class Specification(ComponentSpec):
        INPUTS: ClassVar[dict[str, Any]] = {}
        OUTPUTS: ClassVar[dict[str, Any]] = {}
        PARAMETERS: ClassVar[dict[str, Any]] = {
            "text": ExecutionParameter(type=str, optional=True),
            "flag": ExecutionParameter(type=bool, optional=True),
            "names": ExecutionParameter(type=list[str], optional=True),
            "table": ExecutionParameter(type=dict[str, Any], optional=True),
            "missing": ExecutionParameter(type=int, optional=True),
        }

    class Component:
        SPEC_CLASS = Specification

    found = as_the_executor_gets_them(
        Component, {"text": "[1, 2]", "flag": "false", "names": '["a"]', "table": '{"a": 1}', "run": "x"}
    )
    assert found == {"text": "[1, 2]", "flag": False, "names": ["a"], "table": {"a": 1}}
