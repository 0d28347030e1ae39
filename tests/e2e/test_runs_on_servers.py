"""A pipeline whose metadata store is a PostgreSQL or MySQL server, from the command line; what several workspaces share."""

import json
import logging
import signal
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import servers
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb
from sales_project import Braid, Project, assert_nothing_half_written, states
from servers import PASSWORD, StoreServer

from beam_jobs.progress import Progress
from pipeline import loading, planning, runner, runs, stores, unfinished
from pipeline.cli import quiet
from pipeline.errors import RunError
from pipeline.workspace import Workspace

SECRETS = (PASSWORD, "s3cret", "p@ss")


@pytest.fixture
def database(store_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> StoreServer:
    """The server's database `runs` is the store, as the environment says it."""
    monkeypatch.setenv("BRAID_STORE", str(store_server.address("runs")))
    monkeypatch.setenv("BRAID_STORE_PASSWORD", PASSWORD)
    return store_server


def everything(store: MetadataStore) -> str:
    """All records of a store as text."""
    found: list[Any] = [*store.get_artifacts(), *store.get_executions(), *store.get_contexts()]
    found += [*store.get_artifact_types(), *store.get_execution_types(), *store.get_context_types()]
    return "\n".join(map(str, found))


def files_with(folder: Path, words: tuple[str, ...]) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]


@pytest.mark.slow
def test_run_cached_and_read_back(
    database: StoreServer,
    project: Project,
    braid: Braid,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "absl"):
        first, second = braid(), braid()
    assert (first.code, first.err, second.code, second.err) == (0, "", 0, "")
    assert not (project.workspace / "metadata.sqlite").exists()

    newest, before = json.loads(braid("runs", "--json").out)[:2]
    assert newest["pipeline"] == before["pipeline"] == "sales"
    shown = json.loads(braid("show", "--workspace", "ws", "--json").out)
    assert shown["name"] == newest["name"] and shown["state"] == "COMPLETE"
    store = stores.open_store(database.address("runs"))
    assert set(states(runs.find_run(store, before["name"])).values()) == {"COMPLETE"}
    assert set(states(runs.find_run(store, newest["name"])).values()) == {"CACHED"}
    assert before["name"] in braid("show", before["name"]).out
    assert_nothing_half_written(project.workspace)

    monkeypatch.delenv("BRAID_STORE")  # the workspace keeps to its store: nobody needs to name it again
    assert json.loads(braid("show", "--workspace", "ws", "--json").out) == shown

    told = [first.out, first.err, second.out, second.err, caplog.text, everything(store)]
    assert [text for text in told if any(secret in text for secret in SECRETS)] == []
    assert files_with(project.folder, SECRETS) == []


@pytest.mark.slow
def test_a_run_that_fails_shows_no_password(
    postgresql_server: StoreServer, project: Project, braid: Braid, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.configure(("late = 1 AS late", "CAST(kind AS INTEGER) AS late"))
    url = postgresql_server.url("runs")
    outcome = braid("run", "sales.yaml", "--workspace", "ws", "--store", url)
    assert outcome.code == 1 and "Step 'orders' failed" in outcome.err
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    store = stores.open_store(Workspace("ws").store)
    assert runs.find_run(store, "latest").state == "FAILED"
    told = [outcome.out, outcome.err, everything(store)]
    assert [text for text in told if any(secret in text for secret in SECRETS)] == []
    assert files_with(project.folder, SECRETS) == []


def test_a_store_that_does_not_answer_is_told_first(project: Project, braid: Braid) -> None:
    project.write("sales.csv", "not,a,table of sales")
    outcome = braid("run", "sales.yaml", "--workspace", "ws", "--store", "postgresql://ann:s3cret@127.0.0.1:1/braid")
    assert outcome.code == 1
    assert "No PostgreSQL server is to be reached" in outcome.err
    assert "s3cret" not in outcome.err and "sales.csv" not in outcome.err
    assert list(project.workspace.iterdir()) == []


@pytest.mark.parametrize("command", ["runs", "show"])
def test_reading_a_store_that_is_missing(project: Project, braid: Braid, command: str) -> None:
    outcome = braid(command, "--store", "nowhere.sqlite")
    assert outcome.code == 1
    assert "There is no metadata store" in outcome.err and "nowhere.sqlite" in outcome.err
    assert not (project.folder / "nowhere.sqlite").exists()


class Nobody:
    """Watches a run and calls back after each step."""

    def __init__(self, after: Callable[[str], None]) -> None:
        self.after = after

    def started(self, run: str, steps: Sequence[str], finished: Collection[str]) -> None:
        pass

    def step(self, name: str) -> AbstractContextManager[Callable[[Progress], None]]:
        return nullcontext(lambda progress: None)

    def finished(self, name: str, step: runs.Step, before: bool = False) -> None:
        self.after(name)


def run_in(workspace: Workspace, after: Callable[[str], None] = lambda step: None) -> runs.Run:
    plan = planning.plan(loading.load("sales.yaml"), workspace.create().memo)
    with quiet.silence():
        return runner.run(plan, workspace, Nobody(after))


@pytest.mark.slow
@pytest.mark.parametrize("start", [servers.postgresql_server, servers.mysql_server])
def test_a_server_that_goes_away_during_a_run(
    project: Project, start: Callable[[], AbstractContextManager[StoreServer]]
) -> None:
    with start() as server:
        workspace = Workspace(str(project.workspace), server.url("runs"))

        def stop(step: str) -> None:
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(60)

        with pytest.raises(RunError) as caught:
            run_in(workspace, stop)
    told = f"{caught.value} {caught.value.hint}"
    assert "server is to be reached" in told or "does not take any more records" in told
    assert PASSWORD not in told


def test_a_workspace_keeps_to_its_store(project: Project) -> None:
    """Outputs lie in folders numbered by the store: two would write into the same ones."""
    shared, other = (project.write(name, b"") for name in ("shared.sqlite", "other.sqlite"))
    with Workspace("ws", str(shared)).exclusive("sales"):
        assert Workspace("ws").store.path == str(shared)
    with (
        pytest.raises(RunError, match="keeps to the metadata store") as caught,
        Workspace("ws", str(other)).exclusive("a"),
    ):
        pass
    assert "shared.sqlite" in str(caught.value) and "other.sqlite" in str(caught.value)
    own = str(project.workspace / "metadata.sqlite")
    with pytest.raises(RunError, match="keeps to the metadata store"), Workspace("ws", own).exclusive("a"):
        pass
    with Workspace("ws", str(shared)).exclusive("sales"), Workspace("mine").exclusive("sales"):
        assert (Workspace("mine").facts, Workspace("mine").store.path) == (
            {},
            str(project.folder / "mine/metadata.sqlite"),
        )
    (project.folder / "mine/metadata.sqlite").touch()
    with pytest.raises(RunError, match="keeps to the metadata store"), Workspace("mine", str(shared)).exclusive("a"):
        pass


@pytest.mark.slow
def test_workspaces_that_do_not_see_each_others_outputs(project: Project) -> None:
    """As on two machines: what only the other has is made anew, and nothing is compared with it."""
    shared = str(project.folder / "shared.sqlite")
    run_in(Workspace(str(project.folder / "theirs"), shared))
    (project.folder / "theirs").rename(project.folder / "on another machine")
    mine = Workspace(str(project.folder / "mine"), shared)
    assert set(states(run_in(mine)).values()) == {"COMPLETE"}
    assert set(states(run_in(mine)).values()) == {"CACHED"}


def test_a_note_of_the_store_that_is_damaged(project: Project) -> None:
    note = project.write("ws/store.json", "{}x")
    with pytest.raises(RunError, match=r"store\.json"):
        print(Workspace("ws").store)
    note.unlink()
    assert Workspace("ws").store.path == str(project.workspace / "metadata.sqlite")


def test_runs_of_another_workspace_are_let_be(project: Project) -> None:
    """What is under way in a shared store may be somebody else's."""
    address = str(project.folder / "shared.sqlite")
    store = stores.open_store(address, read_only=False)
    mine, theirs = Workspace("mine", address), Workspace("theirs", address)
    context = pb.Context(
        type_id=store.put_context_type(pb.ContextType(name="pipeline")), name=runs.pipeline_id("sales")
    )
    kind = store.put_execution_type(pb.ExecutionType(name="Step"))
    for workspace in (mine, theirs):
        with workspace.exclusive("sales"):
            execution = pb.Execution(type_id=kind, last_known_state=pb.Execution.RUNNING)
            execution.custom_properties["workspace"].string_value = workspace.facts["workspace"]
            store.put_execution(execution, [], [context], reuse_context_if_already_exist=True)
    assert mine.identity != theirs.identity
    assert unfinished.retire(mine, "sales") == 1
    assert [e.last_known_state for e in store.get_executions()] == [pb.Execution.CANCELED, pb.Execution.RUNNING]
    assert all(set(e.custom_properties) == {"workspace"} for e in store.get_executions())
