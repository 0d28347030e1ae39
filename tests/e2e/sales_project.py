"""A small project as a user would have it: a table of sales, a configuration, a workspace; and what must hold of its store."""

import datetime
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline import runs, stores
from pipeline.errors import NothingRecordedError
from pipeline.property_values import text_of
from pipeline.workspace import Workspace

HEADER = "id,day,amount,shop,kind,late"
TIME_SPLIT = "{by: time, column: day, eval_from: 2024-07-01, test_from: 2024-09-01}"
CONFIG = f"""\
name: sales

sources:
  sales: {{path: sales.csv}}

prepare:
  orders:
    stream: sales
    sql: |
      SELECT id, day, amount, shop, kind, late = 1 AS late
      FROM sales

examples:
  table: orders
  label: late
  split: {TIME_SPLIT}

select:
  exclude: [id, day]

train:
  rounds: 10
"""


def sales_lines(rows: int = 2_000) -> list[str]:
    """The table as lines of CSV, the header first: 300 days, a label that amount and shop tell something about."""
    chance, start = random.Random(7), datetime.date(2024, 1, 1)
    lines = [HEADER]
    for row in range(rows):
        day = start + datetime.timedelta(days=row * 300 // rows)
        amount, shop = round(chance.uniform(1, 100), 2), chance.choice(("north", "south", "east", "west"))
        late = int(amount + 20 * (shop == "north") + chance.gauss(0, 25) > 55)
        lines.append(f"{row},{day},{amount},{shop},{chance.choice('abc')},{late}")
    return lines


SALES = "\n".join(sales_lines()) + "\n"


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str


Braid = Callable[..., Outcome]


@dataclass(frozen=True)
class Project:
    """A folder with `sales.yaml`, `sales.csv` and, once something ran, the workspace `ws`."""

    folder: Path

    @property
    def workspace(self) -> Path:
        return self.folder / "ws"

    def configure(self, *changes: tuple[str, str], more: str = "") -> None:
        """Writes the configuration, each `(old, new)` replaced in it, `more` behind it."""
        text = CONFIG
        for old, new in changes:
            assert old in text, f"the configuration does not hold {old!r}"
            text = text.replace(old, new)
        self.write("sales.yaml", text + more)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def latest(workspace: Path) -> runs.Run:
    return runs.find_run(stores.open_store(Workspace(str(workspace)).store), "latest")


def states(run: runs.Run) -> dict[str, str]:
    return {step.name: step.state for step in run.steps if not step.is_resolver}


def ledgers(run: runs.Run) -> dict[str, object]:
    """The ledger of every table of the run."""
    return {
        f"{step.name}.{key}": output.properties["ledger"]
        for step in run.steps
        for key, outputs in step.outputs.items()
        for output in outputs
        if "ledger" in output.properties
    }


def contents(run: runs.Run) -> dict[str, str]:
    """The digest of the folder of every output of the run."""
    return {
        f"{step.name}.{key}[{place}]": output.properties["tree_digest"]
        for step in run.steps
        for key, outputs in step.outputs.items()
        for place, output in enumerate(outputs)
        if not step.is_resolver
    }


def digests(run: runs.Run) -> dict[str, str]:
    """Of the content of every output; a table's manifest also names the source's files, which may lie elsewhere."""
    return {
        f"{step.name}.{key}": output.properties.get("content_digest") or output.properties["tree_digest"]
        for step in run.steps
        for key, outputs in step.outputs.items()
        for output in outputs
        if not step.is_resolver
    }


def assert_nothing_half_written(workspace: Path, pipeline: str = "sales") -> None:
    """No execution is under way, every LIVE artifact has its files, and nothing else lies among the outputs.

    But for what failed: it is kept, each folder known as an artifact that was given up, and its traceback beside it.
    """
    try:
        store = stores.open_store(Workspace(str(workspace)).store)
    except NothingRecordedError:
        assert not list(_outputs(workspace / pipeline))
        return
    executions = store.get_executions()
    unfinished = [e.id for e in executions if e.last_known_state in (pb.Execution.NEW, pb.Execution.RUNNING)]
    assert not unfinished
    artifacts = store.get_artifacts()
    live = [artifact for artifact in artifacts if artifact.state == pb.Artifact.LIVE]
    assert [a.uri for a in live if not any(files for _, _, files in os.walk(a.uri))] == []
    complete = {str(e.id) for e in executions if e.last_known_state == pb.Execution.COMPLETE}
    given_up = {artifact.uri for artifact in artifacts if artifact.state == pb.Artifact.ABANDONED}
    kept = {folder for e in executions if e.last_known_state == pb.Execution.FAILED for folder in _kept(store, e)}
    assert kept == given_up
    assert {str(folder) for folder in _outputs(workspace / pipeline) if folder.name not in complete} == kept
    pending = [str(folder) for folder in workspace.rglob("_pending")]
    assert [folder for folder in pending if os.path.dirname(folder) not in kept] == []


def _kept(store: Any, execution: Any) -> list[str]:
    """What a failed execution keeps, which is there."""
    if "traceback" not in execution.custom_properties:
        return []
    assert "Traceback" in Path(text_of(execution.custom_properties["traceback"]) or "").read_text()
    events = store.get_events_by_execution_ids([execution.id])
    pending = [event.artifact_id for event in events if event.type == pb.Event.PENDING_OUTPUT]
    found = [artifact.uri for artifact in store.get_artifacts_by_id(pending)]
    assert [uri for uri in found if not os.path.isdir(uri)] == []
    return found


def _outputs(root: Path) -> Iterator[Path]:
    """The folders `<step>/<key>/<execution>`."""
    return (path for path in root.glob("*/*/*") if path.name.isdecimal() and path.is_dir())
