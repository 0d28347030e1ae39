"""A metadata store of 100,000 executions and 300,000 artifacts, as 10,000 nightly runs would leave it.

Eight families of 50 chains of 25 runs. A run has ten steps: two take an unchanged table from the cache, the others make
30 artifacts one after the other, beginning with the model that the night before pushed; so the last one of a chain is 200
steps deep. The last run of a family judges those of all its 50 chains: behind its report are 10,000 executions. A family's
tables went into all of them. Each record has the properties that Braid gives it.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

FAMILIES, CHAINS, NIGHTS = 8, 50, 25
EXECUTIONS, ARTIFACTS = 100_000, 300_000
CACHED = ("airports", "planes")
MADE = {
    "flights": ("SourceTable", 4),
    "departures": ("Examples", 4),
    "statistics": ("ExampleStatistics", 4),
    "schema": ("Schema", 4),
    "select": ("FeatureImportances", 4),
    "train": ("Model", 4),
    "evaluate": ("ModelEvaluation", 3),
    "push": ("PushedModel", 3),
}
STEPS, ASIDE = (*CACHED, *MADE), "Rejects"
STORE, LANDMARKS = "metadata.sqlite", "landmarks.json"
# What a store's tables hold; the rest is for types' properties and hierarchies, which are not used here.
TABLES = (
    *("Type", "Artifact", "ArtifactProperty", "Execution", "ExecutionProperty"),
    *("Event", "EventPath", "Context", "Association"),
)


@dataclass(frozen=True)
class Landmarks:
    """Ids of what the questions are about.

    Attributes:
      deep_model: the last that a chain pushed; it is 200 steps deep.
      wide_report: behind it are 10,000 executions.
      source: a table that went into 10,000 executions.
    """

    deep_model: int
    wide_report: int
    source: int


def built(folder: str) -> Landmarks:
    """The store `metadata.sqlite` in the folder, as in a workspace of Braid's; written unless it is there."""
    path = os.path.join(folder, LANDMARKS)
    if not os.path.exists(path):
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was cut off left
        os.makedirs(folder)
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = os.path.join(folder, STORE)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        landmarks = _Builder(mlmd.MetadataStore(config)).build()
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(vars(landmarks), stream)
    with open(path, encoding="utf-8") as stream:
        return Landmarks(**json.load(stream))


def copy(folder: str, psql: Sequence[str], environment: dict[str, str]) -> None:
    """Copies the store, row by row, into a database of PostgreSQL in which ML Metadata has made its tables."""
    store = sqlite3.connect(f"file:{os.path.join(folder, STORE)}?mode=ro", uri=True)
    subprocess.run([*psql, "-c", f"TRUNCATE {', '.join(TABLES)}"], env=environment, check=True)
    for table in TABLES:
        rows = store.execute(f"SELECT * FROM {table}")
        columns = ", ".join(column[0] for column in rows.description)
        command = [*psql, "-c", f"COPY {table} ({columns}) FROM STDIN"]
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as copying:
            assert copying.stdin is not None
            copying.stdin.writelines(_as_text(row) for row in rows)
        if copying.returncode:
            raise RuntimeError(f"{table} was not copied")
    subprocess.run([*psql, "-c", "ANALYZE"], env=environment, check=True)


def _as_text(row: Sequence[Any]) -> bytes:
    """A row as COPY reads it; texts here hold neither a backslash nor a tab."""
    return ("\t".join("\\N" if value is None else str(value) for value in row) + "\n").encode()


@dataclass
class _Chain:
    """The records of one chain, which go into the store at once. An artifact is a place in `artifacts`, or an id."""

    executions: list[Any] = field(default_factory=list)
    artifacts: list[Any] = field(default_factory=list)
    edges: list[tuple[int, int | None, Any]] = field(default_factory=list)

    def connect(
        self, kind: int, key: str, places: Sequence[int] = (), ids: Sequence[int] = (), execution: int = -1
    ) -> None:
        """Adds events of an execution, the last unless told."""
        at = range(len(self.executions))[execution]
        for place in places:
            self.edges.append((at, place, _event(kind, key)))
        for id_ in ids:
            self.edges.append((at, None, _event(kind, key, id_)))


class _Builder:
    def __init__(self, store: mlmd.MetadataStore) -> None:
        self.store, self.count = store, 0
        kinds = {ASIDE, *(kind for kind, _ in MADE.values())}
        self.kinds = {kind: store.put_artifact_type(pb.ArtifactType(name=kind)) for kind in kinds}
        self.steps = {
            step: store.put_execution_type(pb.ExecutionType(name=f"components.{step}.component.{step.title()}"))
            for step in STEPS
        }
        kinds_of_contexts = ("pipeline", "pipeline_run", "node")
        self.contexts = {kind: store.put_context_type(pb.ContextType(name=kind)) for kind in kinds_of_contexts}
        self.pipeline = self._put_contexts("pipeline", ["flights-pipeline"])
        self.nodes = self._put_contexts("node", [f"flights-pipeline.{step}" for step in STEPS])

    def build(self) -> Landmarks:
        """Family by family, chain by chain."""
        report, tables, models = 0, list[int](), list[int]()
        for family in range(FAMILIES):
            tables, models = [], []
            for number in range(CHAINS):
                judged = models if number == CHAINS - 1 else []
                tables, model, report = self._chain(f"flights-{family}-{number:02d}", tables, judged)
                models.append(model)
        return Landmarks(models[0], report, tables[0])

    def _chain(self, name: str, tables: list[int], judged: Sequence[int]) -> tuple[list[int], int, int]:
        """The family's tables, what the chain pushed last, and the report on it and on those it is judged against."""
        chain, pushed, report = _Chain(), list[int](), 0
        runs = [f"{name}-{night:02d}" for night in range(NIGHTS)]
        for run in runs:
            pushed, report = self._night(chain, run, tables, pushed[:1])
        chain.connect(pb.Event.INPUT, "candidates", ids=judged, execution=-2)
        executions, artifacts, _ = self.store.put_lineage_subgraph(chain.executions, chain.artifacts, [], chain.edges)
        self._associate(runs, executions)
        return tables or artifacts[:2], artifacts[pushed[0]], artifacts[report]

    def _night(self, chain: _Chain, run: str, tables: list[int], before: list[int]) -> tuple[list[int], int]:
        """One run: what it pushed, and its report. The first of a family makes the tables that others take from the cache."""
        first, made = not tables and not chain.executions, dict[str, list[int]]()
        for number, step in enumerate(CACHED):
            self._execute(chain, run, step, cached=not first)
            if first:
                chain.artifacts.append(self._artifact(run, "SourceTable"))
            chain.connect(pb.Event.OUTPUT, "table", *([], [tables[number]]) if tables else ([number],))
        for step, (kind, all_in_all) in MADE.items():
            count = all_in_all - 2 * (first and step == "flights")  # it made two tables already
            self._execute(chain, run, step)
            if step == "flights":
                chain.connect(pb.Event.INPUT, "tables", [] if tables else [0, 1], tables)
            chain.connect(pb.Event.INPUT, "input", before[:2])
            made[step] = before = list(range(len(chain.artifacts), len(chain.artifacts) + count))
            chain.artifacts += [self._artifact(run, made_kind) for made_kind in (kind, *[ASIDE] * (count - 1))]
            chain.connect(pb.Event.OUTPUT, "output", before)
        return made["push"], made["evaluate"][0]

    def _associate(self, runs: Sequence[str], executions: Sequence[int]) -> None:
        by_run = [one for one in self._put_contexts("pipeline_run", runs) for _ in STEPS]
        contexts = zip(by_run, self.nodes * len(runs), self.pipeline * len(executions), strict=True)
        pairs = [(one, id_) for three, id_ in zip(contexts, executions, strict=True) for one in three]
        self.store.put_attributions_and_associations(
            [], [pb.Association(context_id=context, execution_id=execution) for context, execution in pairs]
        )

    def _put_contexts(self, kind: str, names: Sequence[str]) -> list[int]:
        contexts = [pb.Context(type_id=self.contexts[kind], name=name) for name in names]
        return list(self.store.put_contexts(contexts))

    def _execute(self, chain: _Chain, run: str, step: str, cached: bool = False) -> None:
        self.count += 1
        state = pb.Execution.CACHED if cached else pb.Execution.COMPLETE
        proto = pb.Execution(type_id=self.steps[step], last_known_state=state)
        _set(proto.custom_properties, _facts(run, step, self.count))
        chain.executions.append(proto)

    def _artifact(self, run: str, kind: str) -> Any:
        self.count += 1
        uri = f"/data/flights/{run}/{kind}/{self.count}"
        proto = pb.Artifact(type_id=self.kinds[kind], uri=uri, state=pb.Artifact.LIVE)
        _set(proto.custom_properties, _content(self.count) | _more(kind, self.count))
        return proto


def _event(kind: int, key: str, artifact: int | None = None) -> Any:
    event = pb.Event(type=kind, artifact_id=artifact)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event


def _facts(run: str, step: str, number: int) -> dict[str, Any]:
    """What Braid's launcher records of an execution."""
    return {
        "run": run,
        "step": step,
        "pipeline": "flights",
        "code_commit": digest(run) + "01234567",
        "code_dirty": 0,
        "lock_digest": digest("lock"),
        "runner": "FnApiRunner",
        "target": "local",
        "python": "3.11.7",
        "seconds": number % 1000 / 100,
        "cache": "miss",
        "cache_key": digest(f"key {number}"),
        "executor": f"components.{step}.executor.Executor",
        "io_sources": json.dumps([f"/data/flights/{run}/{step}/part-{part:06d}.parquet" for part in range(3)]),
        "io_sinks": json.dumps([f"/data/flights/{run}/{step}/Split-{part}.parquet" for part in range(4)]),
        "counters": json.dumps({f"{step}.{count}": number for count in ("chunks", "read", "rejected", "kept")}),
        "config": json.dumps({"sql": f"SELECT * FROM {step} WHERE dep_time IS NOT NULL" * 6, "step": step}),
    }


def _content(number: int) -> dict[str, Any]:
    """What Braid records of an artifact."""
    return {
        "bytes": number,
        "files_count": 3,
        "is_external": 0,
        "rows": number,
        "table": "flights",
        "tfx_version": "1.21.0",
        "content_digest": digest(f"content {number}"),
        "schema_digest": digest("schema"),
        "tree_digest": digest(f"tree {number}"),
        "splits": '{"train": 235743, "eval": 50517, "test": 50516}',
        "ledger": json.dumps(dict.fromkeys(("read", "rejected", "filtered", "merged", "kept", "multiplied"), number)),
    }


def _more(kind: str, number: int) -> dict[str, Any]:
    """What Braid records of an artifact of this type."""
    if kind == "SourceTable":
        return {"files": json.dumps([{"path": f"/data/{number}.csv", "size": number, "digest": digest(str(number))}])}
    if kind == "PushedModel":
        return {"pushed": 1, "pushed_destination": f"/data/serving/{number:08d}", "reason": "Pushed."}
    return {}


def digest(text: str) -> str:
    """A short digest of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _set(properties: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, str):
            properties[key].string_value = value
        elif isinstance(value, float):
            properties[key].double_value = value
        else:
            properties[key].int_value = value
