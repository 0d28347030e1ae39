"""`braid debug`: one thing swapped, samples, the terminal's debugger; and what it says where something is missing."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb
from sales_project import SALES, Braid, Project, latest
from test_debugging_other_steps import played, told
from workspace_digest import digest_of

from beam_jobs.table import Table
from pipeline import stores
from pipeline.cli.main import main
from pipeline.debugging import copying
from pipeline.debugging.capsule import Capsule
from pipeline.errors import RunError
from pipeline.workspace import Workspace

pytestmark = pytest.mark.slow
SQL = "SELECT id, day, amount, shop, kind, amount > 50 AS dear, late = 1 AS late FROM sales WHERE id % 2 = 0"
BAD = "SELECT id, day, amount, shop, kind, CAST(shop AS INTEGER) AS number, late = 1 AS late FROM sales"


@dataclasses.dataclass(frozen=True)
class Runs:
    """A project with a run that finished, and one that failed at `orders`."""

    project: Project
    finished: str
    failed: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    project = Project(tmp_path_factory.mktemp("debugged"))
    project.configure()
    project.write("sales.csv", SALES)
    run = ["run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace)]
    main(run)
    finished = latest(project.workspace).name
    with pytest.raises(SystemExit):
        main([*run, "--set", f"prepare.orders.sql={BAD}"])
    return Runs(project, finished, latest(project.workspace).name)


@pytest.fixture
def runs(ran: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """The runs, untouched by the test's debugging; the capsules go."""
    monkeypatch.chdir(tmp_path)
    before = digest_of(ran.project.workspace)
    yield ran
    assert digest_of(ran.project.workspace) == before
    shutil.rmtree(ran.project.workspace / "capsules", ignore_errors=True)


@pytest.fixture
def writable(ran: Runs) -> Iterator[MetadataStore]:
    """The store, to be damaged; it is put back after the test."""
    path = ran.project.workspace / "metadata.sqlite"
    kept = path.read_bytes()
    yield stores.open_store(Workspace(str(ran.project.workspace)).store, read_only=False)
    path.write_bytes(kept)


def execution_of(store: MetadataStore, run: str, step: str) -> pb.Execution:
    found = [
        one
        for one in store.get_executions()
        if (one.custom_properties["run"].string_value, one.custom_properties["step"].string_value) == (run, step)
    ]
    return found[-1]


def test_one_thing_swapped_and_the_difference_told(
    runs: Runs, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dear.sql").write_text(SQL)
    debug = ["debug", f"{runs.finished}/orders", "--workspace", str(runs.project.workspace)]
    with pytest.raises(SystemExit) as end:
        main([*debug, "--sql", "dear.sql", "--json"])
    printed = capfd.readouterr()
    assert end.value.code == 1
    found = json.loads(printed.out)
    assert (found["step"], found["same"], found["failed_before"]) == (f"{runs.finished}/orders", False, "")
    assert [one["verdict"] for one in found["outputs"]] == ["differs"]
    assert found["outputs"][0]["differences"] == ["columns added: dear"]
    assert Table.load(f"{found['folder']}/examples").rows == 1_000

    capsule = str(runs.project.workspace / "capsules" / f"{runs.finished}-orders")
    halved = "SELECT id, day, amount / 2 AS amount, shop, kind, late = 1 AS late FROM sales"
    code, out = told(played(capsule, "--set", f"sql='{halved}'"), capfd)
    assert code == 1
    assert re.search(
        r"split 'train', column 'amount': 1,\d+ values differ; in row 1: \d+\.\d+ was, \d+\.\d+ is", out
    ), out
    fewer = "SELECT id, day, amount, shop, kind, late = 1 AS late FROM sales WHERE id < 1999"
    code, out = told(played(capsule, "--set", f"sql='{fewer}'"), capfd)
    assert code == 1 and "split 'test': " in out and "'filtered': 1" in out, out
    code, out = told(played(capsule), capfd)
    assert code == 0 and out.startswith("examples: same\nOutputs: ")
    with pytest.raises(RunError, match=r"no parameter 'strem'\. Did you mean 'stream'\?"):
        played(capsule, "--set", "strem=x")


def test_another_checkout_is_what_runs(runs: Runs, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    project = Path(copying.__file__).parents[2]
    other = tmp_path / "other"
    for package in ("beam_jobs", "components", "pipeline"):
        shutil.copytree(project / package, other / package, ignore=shutil.ignore_patterns("__pycache__"))
    executor = other / "components" / "schema_file" / "executor.py"
    executor.write_text(
        executor.read_text().replace(
            "        statistics = artifact", "        raise KeyError('other')\n        statistics = artifact"
        )
    )
    with pytest.raises(SystemExit) as end:
        main(
            ["debug", f"{runs.finished}/schema", "--workspace", str(runs.project.workspace), "--code", str(other)]
        )  # fmt: skip
    assert end.value.code == 1
    assert "Failed: KeyError: 'other'" in capfd.readouterr().out


def test_code_to_replay_with_is_named_once_and_is_some(runs: Runs, tmp_path: Path, braid: Braid) -> None:
    debug = ("debug", f"{runs.finished}/orders", "--workspace", str(runs.project.workspace))
    assert braid(*debug, "--code", str(tmp_path), "--checkout").code == 2
    refused = braid(*debug, "--code", str(tmp_path))
    assert refused.code == 1 and "is no checkout of this project" in refused.err.replace("\n", " ")


def test_a_sample_is_replayed_under_its_own_rows(runs: Runs, braid: Braid, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = str(runs.project.workspace)
    made = braid("debug", f"{runs.finished}/orders", "--workspace", workspace, "--sample", "50")
    assert "50 of 2,000 rows" in made.out
    capsule = str(runs.project.workspace / "capsules" / f"{runs.finished}-orders")
    replay = played(capsule)
    assert Table.load(replay.outputs["examples"][0].uri).rows == 50
    code, out = told(replay, capsys)
    assert code == 1 and "ledger: " in out and "differs" in out
    braid("debug", f"{runs.finished}/orders", "--workspace", workspace)
    assert [path.name for path in Path(capsule, "inputs", "sources").iterdir()] == [
        str(Capsule.load(capsule).inputs["sources"][0].artifact["id"])
    ]
    assert told(played(capsule), capsys)[0] == 0


def test_large_inputs_are_read_where_they_lie_unless_copied(
    runs: Runs, braid: Braid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(copying, "COPIED_BYTES", 1_000)
    debug = ("debug", f"{runs.finished}/orders", "--workspace", str(runs.project.workspace), "--to", "c")
    assert "are read where they lie" in braid(*debug).out
    [stored] = Capsule.load("c").inputs["sources"]
    assert stored.place == stored.original
    assert told(played("c"), capsys)[0] == 0
    assert "are read where they lie" not in braid(*debug, "--copy").out
    assert Capsule.load("c").inputs["sources"][0].place.startswith("inputs/")
    moved = Path("c").rename("moved")
    assert told(played(str(moved)), capsys)[0] == 0


def test_pdb_stops_where_the_rows_fail(runs: Runs, braid: Braid) -> None:
    assert braid("debug", f"{runs.failed}/orders", "--workspace", str(runs.project.workspace)).code == 0
    program = runs.project.workspace / "capsules" / f"{runs.failed}-orders" / "replay_failure.py"
    done = subprocess.run(
        [sys.executable, str(program), "--pdb"],
        input="p ('rows', batch.num_rows)\nq\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("Fails as it did: ")
    assert "('rows', 2000)" in done.stdout
    assert "Could not convert string" in done.stderr and "Traceback" not in done.stderr


def test_wrong_names_are_told_with_the_nearest(runs: Runs, braid: Braid) -> None:
    workspace = ("--workspace", str(runs.project.workspace))
    for name, says in (
        (f"{runs.finished}/oders", "Did you mean 'orders'?"),
        ("orders", "Name it as RUN/step"),
        ("lates/orders", "lates"),
    ):
        refused = braid("debug", name, *workspace)
        assert refused.code == 1 and says in refused.err.replace("\n", " "), refused.err
        assert "Traceback" not in refused.err
    refused = braid("debug", f"{runs.finished}/orders", "--execution", "999", *workspace)
    assert refused.code == 1 and "Execution 999 is none of" in refused.err
    assert not (runs.project.workspace / "capsules").exists()


def test_a_folder_of_something_else_is_left_alone(runs: Runs, braid: Braid, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "replay.py").write_text("mine")
    refused = braid("debug", f"{runs.finished}/orders", "--workspace", str(runs.project.workspace), "--to", "mine")
    assert refused.code == 1 and "left alone" in refused.err.replace("\n", " ")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["replay.py"]


def test_a_capsule_made_again_forgets_the_other_attempt_but_no_replay(
    runs: Runs, braid: Braid, capsys: pytest.CaptureFixture[str]
) -> None:
    debug = ("--workspace", str(runs.project.workspace), "--to", "c")
    assert braid("debug", f"{runs.failed}/orders", *debug).code == 0
    assert told(played("c"), capsys)[0] == 0
    assert Path("c/traceback.txt").exists() and Path("c/_failed").exists()
    assert braid("debug", f"{runs.finished}/orders", *debug).code == 0
    assert not any(Path("c", name).exists() for name in ("traceback.txt", "_failed", "replay_failure.py"))
    assert told(played("c"), capsys)[0] == 0
    assert sorted(path.name for path in Path("c/replays").iterdir()) == ["1", "2"]


def test_an_input_that_is_gone(ran: Runs, braid: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = str(ran.project.workspace)
    braid("debug", f"{ran.failed}/orders", "--workspace", workspace, "--to", "before")
    [stored] = Capsule.load("before").inputs["sources"]
    away = Path(stored.original).rename(tmp_path / "away")
    try:
        made = braid("debug", f"{ran.failed}/orders", "--workspace", workspace, "--to", "c")
        assert made.code == 0
        assert "does not exist" in made.out and "Without it the step cannot be replayed" in made.out
        with pytest.raises(RunError, match="The input 'sources' of step 'orders' is gone"):
            played("c")
        assert Path("c/replay_failure.py").exists() and Path("c/traceback.txt").exists()
        assert not Path("c/replays").exists()
        shrunk = braid("debug", f"{ran.failed}/orders", "--workspace", workspace, "--to", "c", "--shrink", "--json")
        assert json.loads(shrunk.out)[0]["rows"] == 1
    finally:
        away.rename(stored.original)


def test_a_source_that_has_changed_since(runs: Runs, braid: Braid) -> None:
    source = runs.project.folder / "sales.csv"
    for content, says in ((SALES.replace("north", "south", 1), "is not what it was"), (None, "is gone")):
        source.unlink()
        if content:
            source.write_text(content)
        made = braid("debug", f"{runs.finished}/sales", "--workspace", str(runs.project.workspace))
        assert made.code == 0 and f"The source file '{source}' {says}" in made.out
        source.write_text(SALES)


def test_a_step_under_way_and_a_commit_that_is_not_there(
    ran: Runs, writable: MetadataStore, braid: Braid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execution = execution_of(writable, ran.finished, "select")
    execution.last_known_state = pb.Execution.RUNNING
    execution.custom_properties["code_commit"].string_value = "0123456789" * 4
    execution.custom_properties["lock_digest"].string_value = "ab"
    execution.custom_properties["python"].string_value = "3.2.1"
    writable.put_executions([execution])
    debug = ("debug", f"{ran.finished}/select", "--workspace", str(ran.project.workspace), "--to", str(tmp_path / "c"))
    made = braid(*debug)
    assert made.code == 0
    for words in (
        "The step has not ended",
        "commit 012345678901 is not in this repository",
        "lock is not to be had",
        "Python was 3.2.1",
    ):
        assert words in made.out, made.out
    assert not (tmp_path / "c" / "requirements.txt").exists()
    assert played(str(tmp_path / "c")).error is None
    for option, says in (("--checkout", "is not in this repository"), ("--env", "lock is not to be had")):
        refused = braid(*debug, option)
        assert refused.code == 1 and says in refused.err.replace("\n", " "), refused.err
    assert (tmp_path / "c" / "capsule.json").exists()


def test_a_damaged_capsule_is_made_anew(runs: Runs, braid: Braid) -> None:
    debug = ("debug", f"{runs.finished}/select", "--workspace", str(runs.project.workspace), "--to", "c")
    assert braid(*debug).code == 0
    Path("c/capsule.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        played("c")
    assert braid(*debug).code == 0
    assert played("c").error is None


def test_json_names_the_capsule(runs: Runs, braid: Braid) -> None:
    made = braid("debug", f"{runs.finished}/select", "--workspace", str(runs.project.workspace), "--json")
    assert made.code == 0
    found = json.loads(made.out)
    assert found["capsule"] == str(runs.project.workspace / "capsules" / f"{runs.finished}-select")
    assert isinstance(found["notes"], list)
