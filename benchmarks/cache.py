"""Braid's cache and TFX's own on the same two steps: which changes each of them sees, and which it runs again for nothing.

Each run is a process of its own on a copy of the project, so that its code can be edited.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs import storage
from benchmarks.measure import CACHE
from pipeline import stores
from pipeline.workspace import Workspace

PROJECT = Path(__file__).parents[1]
CONFIG = """\
name: sales
sources: {sales: {path: sales.csv}}
prepare:
  orders: {stream: sales, sql: "SELECT id, amount, late = 1 AS late FROM sales"}
examples: {table: orders, label: late, split: {by: hash, columns: [id]}}
"""
RUN = """
import json, os, sys
sys.argv, engine = sys.argv[:1], sys.argv[1]
from pipeline.cli.quiet import silence
with silence():
    from ml_metadata.proto import metadata_store_pb2 as pb
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline
    from components.ingest.component import Ingest
    from components.prepare.component import PrepareExamples
    from components.recording import to_json
    from pipeline import display, loading, planning, runner, stores, terminal
    from pipeline.selection import Selection
    from pipeline.targets.beam_options import LOCAL_BEAM, here
    from pipeline.workspace import Workspace
    plan, place = planning.plan(loading.load("sales.yaml")), Workspace(os.path.abspath(engine)).create()
    if engine == "braid":
        runner.run(plan, place, display.LiveWatcher(terminal.console(stderr=True), "sales.yaml"), here(1), Selection(last="orders"))
    else:
        (source,), (step,) = plan.sources.values(), plan.steps.values()
        sales = Ingest(to_json(vars(source.config)), source.content.fingerprint).with_id("sales")
        orders = PrepareExamples(to_json(step.config), sources=sales.outputs["table"]).with_id("orders")
        LocalDagRunner().run(Pipeline(
            pipeline_name="sales-pipeline", pipeline_root=place.pipeline_root("sales"), components=[sales, orders],
            enable_cache=True, metadata_connection_config=stores.connection_config(place.store, read_only=False),
            beam_pipeline_args=[*LOCAL_BEAM, "--direct_num_workers=1"]))
    executions = sorted(stores.open_store(place.store).get_executions(), key=lambda execution: execution.id)
    last = [e for e in executions if e.type.endswith("PrepareExamples")][-1]
    print("STATE " + pb.Execution.State.Name(last.last_known_state))
"""


def main() -> None:
    """Prints, for each change, what each cache did with the step `orders`, and whether that was right."""
    folder = Path(CACHE) / "cache"
    shutil.rmtree(folder, ignore_errors=True)
    for package in ("beam_jobs", "components", "pipeline", "lock"):
        shutil.copytree(PROJECT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    rows = "".join(f"{row},{row % 97},{row % 2}\n" for row in range(2_000))
    (folder / "sales.csv").write_text("id,amount,late\n" + rows)
    (folder / "sales.yaml").write_text(CONFIG)
    engines = ("braid", "tfx")
    for engine in engines:
        assert _state(folder, engine) == "COMPLETE", engine
    print(f"{'what changed':<58}{'right':<10}{'Braid':<14}TFX")
    for words, change, right in CASES:
        states = []
        for engine in engines:
            undo = change(folder, engine)
            states.append({"CACHED": "reused", "COMPLETE": "ran"}[_state(folder, engine)])
            undo()
        shown = [state if state == right else f"{state} (wrong)" for state in states]
        print(f"{words:<58}{right:<10}{shown[0]:<14}{shown[1]}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)


def _state(folder: Path, engine: str) -> str:
    """What became of the step in one more run."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, engine],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    states = [line.removeprefix("STATE ") for line in done.stdout.splitlines() if line.startswith("STATE ")]
    assert states, done.stderr[-2000:]
    return states[-1]


def _edit(file: str, old: str, new: str) -> Callable[[Path, str], Callable[[], object]]:
    """A change of one file's text that is taken back afterwards."""

    def change(folder: Path, _: str) -> Callable[[], object]:
        path = folder / file
        before = path.read_text()
        assert old in before, (file, old)
        path.write_text(before.replace(old, new, 1))
        return lambda: path.write_text(before)

    return change


def _touch(folder: Path, _: str) -> Callable[[], object]:
    os.utime(folder / "sales.csv")
    return lambda: None


def _outputs(folder: Path, engine: str) -> list[Path]:
    return sorted((folder / engine / "sales" / "orders" / "examples").iterdir())


def _delete(folder: Path, engine: str) -> Callable[[], object]:
    for output in _outputs(folder, engine):
        shutil.rmtree(output)
    return lambda: None


def _damage(folder: Path, engine: str) -> Callable[[], object]:
    for output in _outputs(folder, engine):
        for part in output.rglob("*.parquet"):
            storage.write_text(str(part), json.dumps("damaged"))
    return lambda: None


def _alter(folder: Path, engine: str) -> Callable[[], object]:
    """One byte of one file of each output; sizes and times stay."""
    for output in _outputs(folder, engine):
        part = next(output.rglob("*.parquet"))
        content, state = bytearray(part.read_bytes()), part.stat()
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
        os.utime(part, ns=(state.st_atime_ns, state.st_mtime_ns))
    return lambda: None


def _mark(folder: Path, engine: str) -> Callable[[], object]:
    """As gc does before it deletes."""
    store = stores.open_store(Workspace(str(folder / engine)).store, read_only=False)
    examples = store.get_artifacts_by_type("Examples")
    for artifact in examples:
        artifact.state = pb.Artifact.MARKED_FOR_DELETION
    store.put_artifacts(examples)
    return lambda: None


def _lose_input(folder: Path, engine: str) -> Callable[[], object]:
    """The source is read again, into another artifact."""
    for output in (folder / engine / "sales" / "sales" / "table").iterdir():
        shutil.rmtree(output)
    return lambda: None


def _move(folder: Path, engine: str) -> Callable[[], object]:
    """The source under another name; the configuration follows it."""
    (folder / "sales.csv").rename(folder / "moved.csv")
    config = folder / "sales.yaml"
    config.write_text(CONFIG.replace("sales.csv", "moved.csv"))

    def undo() -> None:
        (folder / "moved.csv").rename(folder / "sales.csv")
        config.write_text(CONFIG)

    return undo


CASES: tuple[tuple[str, Callable[[Path, str], Callable[[], object]], str], ...] = (
    ("nothing", lambda _folder, _engine: lambda: None, "reused"),
    ("a source file was touched", _touch, "reused"),
    ("a comment in code that the step runs", _edit("beam_jobs/kernel.py", "import re", "# A comment.\nimport re"), "reused"),
    ("a function that the step does not call", _edit("beam_jobs/kernel.py", "@dataclass\nclass _Run:", "def never_called() -> int:\n    return 1\n\n\n@dataclass\nclass _Run:"), "reused"),
    ("a function that the step calls", _edit("beam_jobs/kernel.py", "    attempt = publish.new_attempt(", "    _ = 1\n    attempt = publish.new_attempt("), "ran"),
    ("the source was moved; the bytes are the same", _move, "reused"),
    ("a parameter", _edit("sales.yaml", "SELECT id,", "SELECT id + 0 AS id,"), "ran"),
    ("its input was lost and made again, the same", _lose_input, "reused"),
    ("the step's output was deleted", _delete, "ran"),
    ("the step's output was damaged", _damage, "ran"),
    ("one byte of the step's output was altered", _alter, "ran"),
    ("the step's output was marked by gc", _mark, "ran"),
)  # fmt: skip


if __name__ == "__main__":
    main()
