"""Outputs outside of the workspace: what an execution records before it writes, and what is swept after it was cut off."""

import json
from pathlib import Path
from typing import Any

import pytest
from bucket import Bucket
from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs import storage
from pipeline import roots, runs, stores, unfinished
from pipeline.errors import RunError
from pipeline.workspace import Workspace

STATES = pb.Execution.State


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "ws")).create()


def recorded(workspace: Workspace, state: str, folders: list[str], kept: str = "") -> int:
    """An execution of pipeline 'sales' that writes to these folders; returns its id."""
    store = stores.open_store(workspace.store, read_only=False)
    kind = store.put_context_type(pb.ContextType(name="pipeline"))
    context = store.get_context_by_type_and_name("pipeline", runs.pipeline_id("sales"))
    context = context or pb.Context(type_id=kind, name=runs.pipeline_id("sales"))
    made = store.put_execution_type(pb.ExecutionType(name="train"))
    execution = pb.Execution(type_id=made, last_known_state=STATES.Value(state))
    execution.custom_properties[roots.FOLDERS].string_value = json.dumps(folders)
    if kept:
        execution.custom_properties["traceback"].string_value = kept
    found: int = store.put_execution(execution, [], [context], reuse_context_if_already_exist=True)[0]
    return found


def executions(workspace: Workspace) -> dict[int, Any]:
    return {one.id: one for one in stores.open_store(workspace.store).get_executions()}


def test_a_folder_that_holds_files_is_nobody_s_to_write_to(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    free = [f"{bucket.url}/out/b", f"{bucket.url}/out/a", str(tmp_path / "empty"), str(tmp_path / "none")]
    assert json.loads(roots.claimed(free)) == sorted(free)
    bucket.put("out/a/part", "x")
    with pytest.raises(RunError, match="/out/a', which this step would write to, holds files already") as told:
        roots.claimed(free)
    assert "ids.json" in told.value.hint


def test_what_was_cut_off_is_swept_where_it_wrote(bucket: Bucket, workspace: Workspace, tmp_path: Path) -> None:
    for name in ("a/train/model/1/x", "a/train/model/10/x", "b/train/model/2/deep/y", "b/train/model/3/z"):
        bucket.put(name, "x")
    (tmp_path / "out/train/model/4").mkdir(parents=True)
    running = recorded(workspace, "RUNNING", [f"{bucket.url}/a/train/model/1", f"{bucket.url}/a/none"])
    failed = recorded(workspace, "FAILED", [f"{bucket.url}/b/train/model/2", str(tmp_path / "out/train/model/4")])
    looked_at = recorded(workspace, "FAILED", [f"{bucket.url}/b/train/model/3"], kept="traceback.txt")
    done = recorded(workspace, "COMPLETE", [f"{bucket.url}/a/train/model/10"])
    assert unfinished.retire(workspace, "sales") == 1
    assert bucket.names == ["a/train/model/10/x", "b/train/model/3/z"]
    assert not (tmp_path / "out/train/model/4").exists()
    found = executions(workspace)
    assert [STATES.Name(found[one].last_known_state) for one in (running, failed)] == ["CANCELED", "FAILED"]
    told = {one for one, execution in found.items() if roots.FOLDERS in execution.custom_properties}
    assert told == {looked_at, done}, "what is swept is not swept again"


def test_what_cannot_be_swept_now_is_swept_later(
    bucket: Bucket, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a/1/x", "x")
    running = recorded(workspace, "RUNNING", [f"{bucket.url}/a/1"])
    with monkeypatch.context() as patched:

        def refuse(path: str) -> None:
            raise PermissionError(13, "permission denied", path)

        patched.setattr(storage, "remove_tree", refuse)
        assert unfinished.retire(workspace, "sales") == 1
    assert executions(workspace)[running].last_known_state == pb.Execution.CANCELED
    assert unfinished.retire(workspace, "sales") == 0
    assert bucket.names == []
