"""The folder of outputs in a root that others share: lasting, and no copy's."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline import stores
from pipeline.errors import RunError
from pipeline.workspace import Workspace

ROOT = "gs://bucket/folder/"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(str(tmp_path / "ws")).create()
    stores.open_store(made.store, read_only=False)
    return made


def test_without_a_root_outputs_go_to_the_workspace(workspace: Workspace) -> None:
    assert workspace.pipeline_root("sales") == f"{workspace.folder}/sales"
    assert not Path(workspace.folder, "ids.json").exists()


def test_the_folder_in_a_root_lasts(workspace: Workspace, tmp_path: Path) -> None:
    found = workspace.pipeline_root("sales", ROOT)
    assert found.startswith("gs://bucket/folder/") and found.endswith("/sales")
    assert found.count("/") == 5
    with workspace.exclusive("sales"):
        assert (
            workspace.pipeline_root("sales", ROOT) == Workspace(workspace.folder).pipeline_root("sales", ROOT) == found
        )
    (tmp_path / "link").symlink_to(workspace.folder)
    assert Workspace(str(tmp_path / "link")).pipeline_root("sales", ROOT) == found
    assert workspace.facts == {}, "the store is its own"


def test_a_local_root_is_whole(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert workspace.pipeline_root("sales", "out").startswith(f"{tmp_path}/out/")


def test_a_root_is_one_folder(workspace: Workspace) -> None:
    with pytest.raises(RunError, match=r"holds one of \*, \? and \["):
        workspace.pipeline_root("sales", "gs://bucket/out-[1]")


def test_it_knows_its_own_folders(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(str(tmp_path / "other")).create()
    assert not other.owns_root(workspace.pipeline_root("sales", ROOT), "sales")
    for root in ("", ROOT, str(tmp_path)):
        mine, theirs = (one.pipeline_root("sales", root) for one in (workspace, other))
        assert workspace.owns_root(mine, "sales")
        assert not workspace.owns_root(mine, "taxi")
        assert not workspace.owns_root(theirs, "sales")


def test_a_copy_gets_a_folder_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    found = workspace.pipeline_root("sales", ROOT)
    copied = Workspace(str(shutil.copytree(workspace.folder, tmp_path / "copy")))
    assert not copied.owns_root(found, "sales")
    other = copied.pipeline_root("sales", ROOT)
    assert other != found
    assert set(json.loads((tmp_path / "copy/ids.json").read_text())) == {workspace.folder, copied.folder}
    assert workspace.pipeline_root("sales", ROOT) == found


def test_a_store_that_begins_anew_gets_another_folder(workspace: Workspace) -> None:
    found = workspace.pipeline_root("sales", ROOT)
    Path(workspace.folder, "metadata.sqlite").unlink()
    with workspace.exclusive("sales"):
        assert workspace.pipeline_root("sales", ROOT) != found


def test_what_cannot_be_read_is_told(workspace: Workspace) -> None:
    Path(workspace.folder, "ids.json").write_text("[1, 2")
    for asked in (
        lambda: workspace.pipeline_root("sales", ROOT),
        lambda: workspace.owns_root("gs://b/x/sales", "sales"),
    ):
        with pytest.raises(
            RunError, match=r"ids\.json', which tells the workspace's folder in buckets, cannot be read"
        ):
            asked()
