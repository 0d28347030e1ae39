"""Every step of finished runs, replayed unchanged: the same bit for bit, and nothing else touched."""

import importlib
import os
import shutil
from collections.abc import Iterator

import pytest
from sales_project import SALES, Project, latest
from workspace_digest import digest_of

from pipeline import stores
from pipeline.cli.main import main
from pipeline.debugging import making, recorded
from pipeline.debugging.comparison import SAME, Comparison
from pipeline.debugging.copying import Wishes
from pipeline.debugging.replaying import Replay
from pipeline.errors import RunError
from pipeline.lineage.archive import Archive
from pipeline.workspace import Workspace

CONFIG_CHANGES = (
    """\
prepare:
  orders:
    stream: sales
    sql: |
      SELECT id, day, amount, shop, kind, late = 1 AS late
      FROM sales
""",
    """\
prepare:
  usual:
    stream: sales
    partition_by: [shop]
    sql: SELECT shop, avg(amount) AS usual FROM sales GROUP BY shop
  orders:
    stream: sales
    sql: |
      SELECT id, day, amount, sales.shop, kind, usual, late = 1 AS late
      FROM sales LEFT JOIN usual ON sales.shop = usual.shop
""",
)
STEPS = {"sales", "usual", "orders", "statistics", "schema", "validate", "select", "train", "evaluate", "push"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, dict[str, str]]]:
    """A project after several runs; their names by what became of the push."""
    project = Project(tmp_path_factory.mktemp("replayed"))
    project.configure(CONFIG_CHANGES, more="\nevaluate: {champion: {at_most_worse: 1}}\npush: {to: serving}\n")
    project.write("sales.csv", SALES)

    def run(*arguments: str) -> str:
        main(["run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace), *arguments])
        return latest(project.workspace).name

    names = {"first": run(), "cached": run()}
    for pushed in project.workspace.rglob("pushed.json"):
        pushed.unlink()
    names["already"] = run()
    with (project.folder / "sales.schema.pbtxt").open("a") as schema:
        schema.write("# Looked through.\n")
    names["later"] = run("--set", "train.rounds=40")
    names["held back"] = run("--set", "train.rounds=3", "--set", "evaluate.thresholds={auc: {min: 0.999}}")
    yield project, names


def archive_of(project: Project) -> Archive:
    return Archive(stores.open_store(Workspace(str(project.workspace)).store))


def replayed(project: Project, name: str) -> list[Comparison]:
    """Makes a step's capsule, replays it in this process, and compares; the capsule is cleared away."""
    capsule = str(project.folder / "capsule")
    making.make(recorded.find(archive_of(project), name), capsule, Wishes())
    replay = Replay(capsule)
    module, _, executor = replay.capsule.executor.rpartition(".")
    with replay:
        getattr(importlib.import_module(module), executor)(replay.context()).Do(
            replay.inputs, replay.outputs, replay.parameters
        )
    assert replay.error is None
    compared = replay.compare()
    shutil.rmtree(capsule)
    return compared


def pushes(project: Project, run: str) -> str:
    [output] = recorded.find(archive_of(project), f"{run}/push").outputs
    return str(output.artifact.properties["reason"])


@pytest.mark.slow
def test_every_step_of_a_run_comes_out_bit_for_bit(runs: tuple[Project, dict[str, str]]) -> None:
    project, names = runs
    before, serving = digest_of(project.workspace), digest_of(project.folder / "serving")
    found = recorded.find(archive_of(project), f"{names['first']}/orders")
    assert found.execution.state == "COMPLETE"
    for step in sorted(STEPS):
        compared = replayed(project, f"{names['first']}/{step}")
        if step != "push":  # its pushed.json is gone
            assert {one.verdict for one in compared} == {SAME}, (step, compared)
            assert compared
    assert (digest_of(project.workspace), digest_of(project.folder / "serving")) == (before, serving)


@pytest.mark.slow
def test_steps_taken_from_the_cache_come_out_as_they_first_did(runs: tuple[Project, dict[str, str]]) -> None:
    project, names = runs
    for step in ("orders", "schema", "train"):
        name = f"{names['cached']}/{step}"
        assert recorded.find(archive_of(project), name).execution.state == "CACHED"
        assert {one.verdict for one in replayed(project, name)} == {SAME}, step


@pytest.mark.slow
def test_every_kind_of_push_and_of_schema(runs: tuple[Project, dict[str, str]]) -> None:
    project, names = runs
    reasons = {name: pushes(project, run) for name, run in names.items()}
    assert reasons["first"].startswith("Pushed as version 00000001")
    assert reasons["already"].startswith("This very model was serving already")
    assert reasons["later"].startswith("Pushed as version 00000002")
    assert reasons["held back"].startswith("The model was not blessed")
    schemas = {run: recorded.find(archive_of(project), f"{names[run]}/schema") for run in ("first", "later")}
    assert [found.outputs[0].artifact.properties["inferred"] for found in schemas.values()] == [1, 0]
    before = digest_of(project.folder / "serving")
    for name in (f"{names['later']}/schema", *(f"{names[run]}/push" for run in ("already", "later", "held back"))):
        assert [one.verdict for one in replayed(project, name)] == [SAME], name
    assert digest_of(project.folder / "serving") == before


@pytest.mark.slow
def test_a_step_that_looks_up_has_nothing_to_replay(runs: tuple[Project, dict[str, str]]) -> None:
    project, names = runs
    for step in ("previous", "champion"):
        with pytest.raises(RunError, match=f"{step}' has no executor to step through") as refused:
            replayed(project, f"{names['first']}/{step}")
        assert "lineage up" in refused.value.hint
    assert not os.path.exists(project.folder / "capsule")
