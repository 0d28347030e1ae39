"""What a run leaves in ML Metadata for those who ask later: on its own record, on every execution, on its source tables."""

import hashlib
import json
import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb
from sales_project import SALES, Braid, Project, latest, states

from beam_jobs.progress import Progress
from beam_jobs.table import Table
from pipeline import loading, planning, runner, runs
from pipeline.lineage.records import plain
from pipeline.workspace import Workspace

WITH_USUAL = (
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
FACTS = {
    "run",
    "step",
    "pipeline",
    "code_commit",
    "code_dirty",
    "lock_digest",
    "runner",
    "target",
    "python",
}
Properties = dict[str, Any]


def store_of(project: Project) -> MetadataStore:
    return runs.connect(str(project.workspace / "metadata.sqlite"))


def properties(record: Any) -> Properties:
    return plain(record.properties) | plain(record.custom_properties)


def recorded(project: Project, run: str) -> dict[str, tuple[str, Properties]]:
    """State and properties of each step's execution in a run."""
    store = store_of(project)
    context = store.get_context_by_type_and_name("pipeline_run", run)
    found = [(e, properties(e)) for e in store.get_executions_by_context(context.id)]
    return {facts["step"]: (pb.Execution.State.Name(e.last_known_state), facts) for e, facts in found}


def run_of(project: Project) -> str:
    return latest(project.workspace).name


def files_below(uri: str) -> list[str]:
    return sorted(str(path) for path in Path(uri).rglob("*.parquet"))


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str, str]:
    """A project that has run twice, unchanged; the names of the runs."""
    from pipeline.cli.main import main

    project = Project(tmp_path_factory.mktemp("facts"))
    project.configure(WITH_USUAL)
    project.write("sales.csv", SALES)
    names = []
    for _ in range(2):
        main(["run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace)])
        names.append(run_of(project))
    return project, names[0], names[1]


def test_every_execution_tells_its_run_and_the_code(twice: tuple[Project, str, str]) -> None:
    project, first, second = twice
    for run, state in ((first, "COMPLETE"), (second, "CACHED")):
        steps = recorded(project, run)
        assert list(states(runs.find_run(store_of(project), run)).values()) == [state] * (len(steps) - 2)
        for step, (found, facts) in steps.items():
            assert facts.keys() >= FACTS, step
            assert (facts["run"], facts["pipeline"], facts["runner"], facts["target"]) == (
                run,
                "sales",
                "FnApiRunner",
                "local",
            )
            assert facts["python"] == platform.python_version()
            assert found == ("COMPLETE" if step in ("previous", "champion") else state), step
    steps = recorded(project, second)
    assert {"sales", "usual", "orders", "statistics", "previous", "validate", "train", "champion"} < steps.keys()
    assert steps["sales"][1]["spelling"] == "sales.csv"
    assert "spelling" not in steps["orders"][1]


def test_only_what_ran_tells_seconds_and_files(twice: tuple[Project, str, str]) -> None:
    project, first, second = twice
    for step, (_, facts) in recorded(project, first).items():
        assert ("seconds" in facts) == (step not in ("previous", "champion")), step
        assert ("counters" in facts) == (step in ("sales", "usual", "orders", "statistics", "evaluate")), step
        assert "files" not in facts and "job_id" not in facts
    for _, facts in recorded(project, second).values():
        assert not {"seconds", "io_sources", "io_sinks", "counters"} & facts.keys()


def test_a_jobs_files_and_counters(twice: tuple[Project, str, str]) -> None:
    project, first, _ = twice
    steps = {step: facts for step, (_, facts) in recorded(project, first).items()}
    uris = {
        (step.name, key): outputs[0].uri
        for step in runs.find_run(store_of(project), first).steps
        for key, outputs in step.outputs.items()
    }
    sales, usual, examples = uris["sales", "table"], uris["usual", "table"], uris["orders", "examples"]
    assert steps["sales"]["io_sources"] == [str(project.folder / "sales.csv")]
    assert steps["sales"]["io_sinks"] == files_below(sales)
    assert steps["usual"]["io_sources"] == files_below(sales)
    assert steps["usual"]["io_sinks"] == files_below(usual)
    assert steps["orders"]["io_sources"] == files_below(sales) + files_below(usual)
    assert steps["orders"]["io_sinks"] == files_below(examples)
    assert len(files_below(examples)) == 3  # one a split
    assert steps["statistics"]["io_sources"] == files_below(examples)
    assert steps["statistics"]["io_sinks"] == sorted(
        str(path) for path in Path(uris["statistics", "statistics"]).rglob("*.pb")
    )
    assert set(steps["evaluate"]["io_sources"]) < set(files_below(examples))
    assert steps["evaluate"]["io_sinks"] == [f"{uris['evaluate', 'evaluation']}/metrics.json"]
    assert steps["sales"]["counters"] == {
        "sales.chunks": 1,
        "sales.read": 2_000,
        "sales.rejected": 0,
        "sales.written": 2_000,
    }
    assert steps["statistics"]["counters"]["statistics.read"] == Table.load(examples).rows == 2_000


def test_the_runs_record_holds_its_configuration(twice: tuple[Project, str, str]) -> None:
    project, first, second = twice
    for run in (first, second):
        facts = properties(store_of(project).get_context_by_type_and_name("pipeline_run", run))
        assert facts.keys() >= (FACTS - {"run", "step", "pipeline"}) | {"config", "config_file", "braid_version"}
        assert facts["config_file"] == str(project.folder / "sales.yaml")
        loaded = loading.load(str(project.folder / "sales.yaml"))
        assert facts["config"] == json.loads(loaded.config.model_dump_json(by_alias=True))
        assert facts["config"]["train"]["rounds"] == 10


def test_a_sources_table_tells_its_files(twice: tuple[Project, str, str]) -> None:
    project, *_ = twice
    (table,) = store_of(project).get_artifacts_by_type("SourceTable")
    digest = hashlib.blake2b(SALES.encode(), digest_size=16).hexdigest()
    assert properties(table)["files"] == [
        {"path": str(project.folder / "sales.csv"), "size": len(SALES), "digest": digest}
    ]


def test_a_failed_execution_tells_why_and_a_long_query_whole(project: Project, braid: Braid) -> None:
    comment = "-- " + "a note that makes the query long " * 100
    project.configure(
        ("late = 1 AS late\n", f"late = 1 AS late, CAST(shop AS INT) AS number\n      {comment}\n"),
        ("{path: sales.csv}", "{path: sales.csv, types: {amount: double}}"),
    )
    outcome = braid()
    assert outcome.code == 1
    steps = recorded(project, run_of(project))
    state, facts = steps["orders"]
    assert state == "FAILED"
    assert facts.keys() >= FACTS | {"seconds"}
    assert facts["error_type"] == "DataError"
    assert facts["error"].startswith("Step 'orders' failed on row ")
    assert "Could not convert string" in facts["error"]
    assert comment.strip() in facts["config"]["sql"]
    assert 0 < facts["seconds"] < 60
    (execution,) = [e for e in store_of(project).get_executions() if "PrepareExamples" in e.type]
    # PostgreSQL refuses long texts.
    assert execution.custom_properties["config"].HasField("proto_value")
    assert execution.custom_properties["step"].string_value == "orders"


def test_long_parameters_and_facts_take_no_part_in_the_cache(project: Project, braid: Braid) -> None:
    note = "a note that makes the query long " * 100
    project.configure(("FROM sales", f"-- {note}\n      FROM sales"))
    assert braid().code == 0
    assert braid().code == 0
    assert set(states(latest(project.workspace)).values()) == {"CACHED"}
    facts = recorded(project, run_of(project))["orders"][1]
    assert note.strip() in facts["config"]["sql"]


class _Stopping:
    """A watcher that ends the run as Ctrl-C does, once a step says how many rows it will read."""

    def __init__(self, step: str) -> None:
        self.stopped = step

    def started(self, run: str, steps: Sequence[str], finished: Collection[str]) -> None:
        pass

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[Progress], None]]:
        def stop(progress: Progress) -> None:
            if name == self.stopped and progress.expected:
                raise KeyboardInterrupt

        yield stop

    def finished(self, name: str, step: runs.Step, before: bool = False) -> None:
        pass


def test_a_canceled_execution_tells_its_run_too(project: Project) -> None:
    place = Workspace(str(project.workspace)).create()
    plan = planning.plan(loading.load(str(project.folder / "sales.yaml")), place.memo)
    with pytest.raises(KeyboardInterrupt):
        runner.run(plan, place, _Stopping("orders"))
    state, facts = recorded(project, run_of(project))["orders"]
    assert state == "CANCELED"
    assert facts.keys() >= FACTS


def test_a_folder_of_files_is_told_file_by_file(project: Project, braid: Braid) -> None:
    lines = SALES.splitlines(keepends=True)
    parts = {f"in/part-{n:02d}.csv": lines[0] + "".join(lines[1 + n * 50 : 51 + n * 50]) for n in range(40)}
    for name, text in parts.items():
        project.write(name, text)
    project.configure(("{path: sales.csv}", "{path: in}"))
    assert braid().code == 0
    (table,) = store_of(project).get_artifacts_by_type("SourceTable")
    files = properties(table)["files"]
    assert [file["path"] for file in files] == [str(project.folder / name) for name in parts]
    assert [file["size"] for file in files] == [len(text) for text in parts.values()]
    assert table.custom_properties["files"].HasField("proto_value")
    facts = recorded(project, run_of(project))["sales"][1]
    assert facts["io_sources"] == [file["path"] for file in files]
    assert facts["spelling"] == "in"
    project.write("in/part-07.csv", parts["in/part-07.csv"].replace("north", "south", 1))
    assert braid().code == 0
    before, after = sorted(store_of(project).get_artifacts_by_type("SourceTable"), key=lambda a: a.id)
    changed = [
        old["path"]
        for old, new in zip(properties(before)["files"], properties(after)["files"], strict=True)
        if old != new
    ]
    assert changed == [str(project.folder / "in/part-07.csv")]


def test_a_wide_table_is_told_whole_and_gated(project: Project, braid: Braid) -> None:
    lines = SALES.splitlines()
    wide = [lines[0] + "".join(f",measure_{n}" for n in range(120))]
    wide += [line + "".join(f",{(row * n) % 7}" for n in range(120)) for row, line in enumerate(lines[1:])]
    project.write("sales.csv", "\n".join(wide) + "\n")
    project.configure(("SELECT id, day, amount, shop, kind, late = 1 AS late", "SELECT * REPLACE (late = 1 AS late)"))
    assert braid().code == 0
    (statistics,) = store_of(project).get_artifacts_by_type("ExampleStatistics")
    assert statistics.custom_properties["columns"].HasField("proto_value")
    columns = properties(statistics)["columns"]
    assert columns == {**columns, "day": "date32[day]", "late": "bool"} | {f"measure_{n}": "int64" for n in range(120)}
    assert len(columns) == 126
    assert (project.folder / "sales.schema.pbtxt").read_text().count("measure_") == 120
