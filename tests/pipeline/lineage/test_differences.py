"""Two runs compared: every kind of change, causes before effects, and what cannot be compared is said."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from run_pairs import RunPair, told
from store_factory import CONTEXTS

from beam_jobs.ledger import Ledger
from beam_jobs.table import Table
from pipeline.lineage.changes import KINDS
from pipeline.lineage.differences import diff
from pipeline.lineage.errors import LineageError


def file(path: str, digest: str, size: int = 10) -> dict[str, Any]:
    return {"path": path, "digest": digest, "size": size}


@pytest.fixture
def pair(tmp_path: Path) -> RunPair:
    return RunPair(tmp_path)


def test_source_files_are_told_one_by_one(pair: RunPair) -> None:
    before = [file("/d/a.csv", "aa"), file("/d/b.csv", "bb"), file("/d/c.csv", "cc"), file("/d/same.csv", "ss")]
    after = [
        file("/d/a.csv", "a2", 11),
        file("/d/moved.csv", "bb"),
        file("/d/new.csv", "nn"),
        file("/d/same.csv", "ss"),
    ]
    pair.step(
        "flights", "SourceTable", {"files": before, "content_digest": "1"}, {"files": after, "content_digest": "2"}
    )
    found = pair.diff()
    assert [(change.where, change.note) for change in found.changes] == [
        ("flights: /d/a.csv", "changed"),
        ("flights: /d/moved.csv", "moved"),
        ("flights: /d/new.csv", "added"),
        ("flights: /d/c.csv", "gone"),
    ]
    assert told(found, "source file")[0][1:] == ({"digest": "aa", "size": 10}, {"digest": "a2", "size": 11})
    assert told(found, "source file")[1][1]["path"] == "/d/b.csv"
    assert found.compared["source file"] == 6


def test_where_files_are_not_recorded_the_fingerprint_speaks_and_it_is_said(pair: RunPair) -> None:
    pair.step("flights", "SourceTable", {"content_digest": "1"}, {"content_digest": "2"})
    found = pair.diff()
    assert told(found, "source file") == [("flights", {"digest": "1"}, {"digest": "2"})]
    assert any("no file can be named" in sentence for sentence in found.unknown)


def test_a_source_that_only_one_run_has(pair: RunPair) -> None:
    table = pair.world.artifact("SourceTable", "/x", files=json.dumps([file("/d/a.csv", "aa")]))
    pair.world.execute("flights", {}, {"table": [table]}, run="run-2")
    pair.world.execute("push", run="run-1")
    found = pair.diff()
    assert told(found, "source file") == [("flights: /d/a.csv", None, {"digest": "aa", "size": 10})]
    assert told(found, "step") == [("push", "component.push", None), ("flights", None, "component.flights")]


def test_configuration_keys_are_dotted_and_sql_is_shown_by_lines(pair: RunPair) -> None:
    sql = "SELECT a\nFROM t\nWHERE b > {}\n"
    config = {"name": "x", "train": {"rounds": 10, "gone": None}, "prepare": {"p": {"sql": sql.format(1)}}}
    changed = {"name": "x", "train": {"rounds": 12}, "prepare": {"p": {"sql": sql.format(2)}}, "new": [1]}
    pair.step("train", "Model", {}, {})
    pair.run_facts({"config": config}, {"config": changed})
    found = pair.diff()
    assert told(found, "configuration") == [
        ("train.rounds", 10, 12),
        ("train.gone", None, None),
        ("prepare.p.sql", sql.format(1), sql.format(2)),
        ("new", None, [1]),
    ]
    assert found.changes[2].note.splitlines() == [
        "@@ -1,3 +1,3 @@",
        " SELECT a",
        " FROM t",
        "-WHERE b > 1",
        "+WHERE b > 2",
    ]


def test_a_parameter_that_the_configuration_told_is_not_told_again(pair: RunPair) -> None:
    for run, rounds, threads in (("run-1", 10, 2), ("run-2", 12, 4)):
        config = json.dumps({"rounds": rounds, "threads": threads})
        pair.world.execute("train", run=run, properties={"config": config, "seconds": 1.0 * rounds, "lock_digest": "l"})
    pair.run_facts({"config": {"train": {"rounds": 10}}}, {"config": {"train": {"rounds": 12}}})
    found = pair.diff()
    assert [(change.kind, change.where) for change in found.changes] == [
        ("configuration", "train.rounds"),
        ("parameter", "train: config.threads"),
    ]


def test_code_lock_and_python(pair: RunPair) -> None:
    pair.step("train", "Model", {}, {})
    pair.run_facts(
        {"code_commit": "aaa", "code_dirty": 0, "lock_digest": "l", "python": "3.11.7", "config": {"a": 1}},
        {"code_commit": "bbb", "code_dirty": 1, "lock_digest": "l", "python": "3.11.8", "config": {"a": 1}},
    )
    assert told(pair.diff(), "code") == [
        ("commit", "aaa", "bbb"),
        ("changed since that commit", 0, 1),
        ("Python", "3.11.7", "3.11.8"),
    ]


def test_the_code_of_runs_that_did_not_record_it_themselves_is_their_steps(pair: RunPair) -> None:
    for run, commit in (("run-1", "aaa"), ("run-2", "bbb")):
        pair.world.execute("train", run=run, properties={"code_commit": commit, "lock_digest": "l"})
    found = pair.diff()
    assert told(found, "code") == [("commit", "aaa", "bbb")]
    assert any("Configuration: run-1 and run-2 did not record it" in sentence for sentence in found.unknown)


def test_schema_lines(pair: RunPair) -> None:
    texts = tuple({"schema.pbtxt": f'feature {{\n  name: "{name}"\n}}\n'} for name in ("a", "b"))
    pair.step("schema", "Schema", {"digest": "1"}, {"digest": "2"}, files=texts)
    found = pair.diff()
    assert told(found, "schema") == [("schema.out", "1", "2")]
    assert '-  name: "a"\n+  name: "b"' in found.changes[0].note


def test_a_schema_that_is_gone_is_said_and_its_digest_compared(pair: RunPair) -> None:
    pair.step("schema", "Schema", {"digest": "1"}, {"digest": "2"}, files=({}, {"schema.pbtxt": "x"}))
    found = pair.diff()
    assert told(found, "schema") == [("schema.out", "1", "2")]
    assert any("run-1/schema' is gone" in sentence for sentence in found.unknown)


def table(pair: RunPair, run: str, schema: pa.Schema) -> None:
    Table(str(pair.place(run, "orders")), schema, (), True, Ledger()).save()


def test_columns_come_from_the_manifests(pair: RunPair) -> None:
    table(pair, "run-1", pa.schema([("id", pa.int64()), ("price", pa.float64()), ("old", pa.string())]))
    table(pair, "run-2", pa.schema([("id", pa.int64()), ("price", pa.string()), ("new", pa.date32())]))
    pair.step("orders", "Examples", {"schema_digest": "1"}, {"schema_digest": "2"})
    assert told(pair.diff(), "column") == [
        ("orders.out: price", "double", "string"),
        ("orders.out: old", "string", None),
        ("orders.out: new", None, "date32[day]"),
    ]


def test_columns_in_another_order(pair: RunPair) -> None:
    for run, names in (("run-1", "ab"), ("run-2", "ba")):
        table(pair, run, pa.schema([(name, pa.int64()) for name in names]))
    pair.step("orders", "Examples", {"schema_digest": "1"}, {"schema_digest": "2"})
    assert told(pair.diff(), "column") == [("orders.out", ["a", "b"], ["b", "a"])]


def test_a_manifest_that_is_gone_is_said(pair: RunPair) -> None:
    table(pair, "run-2", pa.schema([("a", pa.int64())]))
    pair.step("orders", "Examples", {"schema_digest": "1"}, {"schema_digest": "2"})
    found = pair.diff()
    assert told(found, "column") == [("orders.out", {"digest": "1"}, {"digest": "2"})]
    assert any("run-1/orders' is gone" in sentence for sentence in found.unknown)


def test_only_the_counts_that_moved_are_told(pair: RunPair) -> None:
    ledger = Ledger(read=10, rejected=1, kept=9, written=9).to_dict()
    before = {"ledger": ledger, "splits": {"train": 5, "eval": 4}, "content_digest": "1"}
    after = {"ledger": {**ledger, "rejected": 2, "kept": 8, "written": 8}, "splits": {"train": 4, "eval": 4}}
    pair.step("orders", "Examples", before, {**after, "content_digest": "2"})
    found = pair.diff()
    assert told(found, "rows") == [
        (
            "orders.out",
            {"rejected": 1, "kept": 9, "written": 9, "in train": 5},
            {"rejected": 2, "kept": 8, "written": 8, "in train": 4},
        )
    ]
    assert told(found, "content") == [("orders.out", {"digest": "1"}, {"digest": "2"})]


def importances(*features: tuple[str, int | None]) -> dict[str, str]:
    told = [{"name": name, "rank": rank, "kept": rank is not None, "reason": f"why {name}"} for name, rank in features]
    return {"importances.json": json.dumps({"features": told})}


def test_features_in_out_and_moved(pair: RunPair) -> None:
    files = (importances(("a", 1), ("b", 2), ("c", None)), importances(("a", 2), ("b", None), ("c", 1)))
    pair.step("select", "FeatureImportances", {}, {}, files=files)
    found = pair.diff()
    assert told(found, "feature") == [("b", 2, None), ("c", None, 1), ("a", 1, 2)]
    assert [change.note for change in found.changes] == ["not kept any more: why b", "newly kept: why c", "rank: why a"]


def test_without_their_file_the_kept_features_are_still_known(pair: RunPair) -> None:
    pair.step("select", "FeatureImportances", {"kept_columns": ["a", "b"]}, {"kept_columns": ["b"]})
    found = pair.diff()
    assert told(found, "feature") == [("a", 1, None), ("b", 2, 1)]
    assert len([sentence for sentence in found.unknown if "is gone" in sentence]) == 2


def metrics(auc: float, ewr: float) -> dict[str, str]:
    def metric(value: float) -> dict[str, Any]:
        return {"rows": 5, "auc": {"value": value, "low": value - 0.05, "high": value + 0.05}, "mae": {"value": None}}

    split = {"overall": metric(auc), "slices": {"origin": {"EWR": metric(ewr), "JFK": metric(0.5)}}}
    return {"metrics.json": json.dumps({"splits": {"test": split}})}


def test_metrics_overall_and_by_slice_with_their_intervals(pair: RunPair) -> None:
    pair.step("evaluate", "ModelEvaluation", {}, {}, files=(metrics(0.7, 0.6), metrics(0.72, 0.4)))
    found = pair.diff()
    assert [(c.where, c.before, c.after, c.beyond) for c in found.changes] == [
        ("test auc", 0.7, 0.72, False),
        ("test auc [origin=EWR]", 0.6, 0.4, True),
    ]
    assert found.changes[1].size == pytest.approx(-0.2)
    assert found.changes[1].note == "outside the interval 0.5500 to 0.6500"
    assert found.compared["metric"] == 6


def test_metrics_whose_file_is_gone_are_those_of_the_record(pair: RunPair) -> None:
    pair.step("evaluate", "ModelEvaluation", {"test_auc": 0.7}, {"test_auc": 0.8})
    found = pair.diff()
    assert told(found, "metric") == [("evaluate.out: test_auc", 0.7, 0.8)]
    assert any("metrics by slice could not be compared" in sentence for sentence in found.unknown)


def test_model_blessing_push(pair: RunPair) -> None:
    pair.step("train", "Model", {"params": {"eta": 0.1}, "seconds": 1.5}, {"params": {"eta": 0.2}, "seconds": 2.5})
    pair.step("bless", "ModelBlessing", {"blessed": 1}, {"blessed": 0, "blessing_message": "worse"})
    pair.step("push", "PushedModel", {"pushed_destination": "/s/1"}, {"pushed_destination": "", "reason": "held back"})
    found = pair.diff()
    assert [(change.kind, change.before, change.after, change.note) for change in found.changes] == [
        ("model", 0.1, 0.2, ""),
        ("blessing", True, False, "worse"),
        ("push", "/s/1", None, "held back"),
    ]


def test_models_that_differ_in_nothing_but_their_bytes(pair: RunPair) -> None:
    pair.step("train", "Model", {"rounds": 5, "tree_digest": "1"}, {"rounds": 5, "tree_digest": "2"})
    assert told(pair.diff(), "model") == [("train.out", {"digest": "1"}, {"digest": "2"})]


def test_a_run_that_ended_early_is_no_pipeline_with_fewer_steps(pair: RunPair) -> None:
    for run, state in (("run-1", "COMPLETE"), ("run-2", "FAILED")):
        pair.world.execute(
            "train", run=run, state=state, properties={"error": "out of memory"} if state == "FAILED" else {}
        )
    pair.world.execute("push", run="run-1")
    found = pair.diff()
    assert told(found, "step") == []
    assert told(found, "outcome") == [("train", "COMPLETE", "FAILED"), ("push", "COMPLETE", None)]
    assert [change.note for change in found.changes] == ["out of memory", ""]


def test_another_pipelines_store_degrades_to_what_mlmd_knows(tmp_path: Path) -> None:
    pair = RunPair(tmp_path, told=CONTEXTS)
    for run, steps, fingerprint in (("run-1", 100, "x1"), ("run-2", 200, "x2")):
        examples = pair.world.artifact("Examples", f"/tfx/{run}", input_fingerprint=fingerprint, span=0)
        pair.world.execute("CsvExampleGen", {}, {"examples": [examples]}, run=run, told=CONTEXTS)
        model = pair.world.artifact("Model", f"/tfx/{run}/m", note=f"of {run}")
        given = {"train_args": json.dumps({"num_steps": steps}), "target": "same", "__execution_result__": run}
        pair.world.execute(
            "Trainer", {"examples": [examples]}, {"model": [model]}, run=run, told=CONTEXTS, properties=given
        )
    found = pair.diff()
    assert [(change.kind, change.where, change.before, change.after) for change in found.changes] == [
        ("source file", "CsvExampleGen.examples", "x1", "x2"),
        ("parameter", "Trainer: train_args.num_steps", 100, 200),
        ("model", "Trainer.model: note", "of run-1", "of run-2"),
    ]
    assert any("neither run recorded its commit" in sentence for sentence in found.unknown)
    assert any("CsvExampleGen.examples (Examples): the digest" in sentence for sentence in found.unknown)


def test_causes_come_first(pair: RunPair) -> None:
    pair.step("bless", "ModelBlessing", {"blessed": 1}, {"blessed": 0})
    pair.step("train", "Model", {"rounds": 1}, {"rounds": 2})
    pair.step("flights", "SourceTable", {"files": [file("/a", "1")]}, {"files": [file("/a", "2")]})
    pair.run_facts({"config": {"a": 1}}, {"config": {"a": 2}})
    found = pair.diff()
    assert [change.kind for change in found.changes] == ["source file", "configuration", "model", "blessing"]
    assert found.first_cause == found.changes[0]
    assert list(found.compared) == list(KINDS)


def test_the_same_run_twice(pair: RunPair) -> None:
    pair.step("flights", "SourceTable", {"files": [file("/a", "1")]}, {"files": [file("/a", "2")]})
    found = diff(pair.archive(), "run-1", "run-1")
    assert (found.changes, found.first_cause) == ((), None)
    assert found.compared["source file"] == 1


def test_two_pipelines_are_compared_by_step_and_it_is_said(pair: RunPair) -> None:
    pair.world.execute("train", run="run-1", properties={"rounds": 1})
    pair.world.execute("train", run="run-2", pipeline="taxi", properties={"rounds": 2})
    found = pair.diff()
    assert told(found, "parameter") == [("train: rounds", 1, 2)]
    assert found.unknown[0].startswith("The runs are of two pipelines, flights and taxi")


def test_an_attempt_that_failed_first_does_not_stand_for_its_step(pair: RunPair) -> None:
    for run, state in (("run-1", "COMPLETE"), ("run-2", "FAILED"), ("run-2", "COMPLETE")):
        pair.world.execute("train", run=run, state=state, properties={"rounds": 2 if state == "FAILED" else 1})
    assert pair.diff().changes == ()


def test_an_unknown_run(pair: RunPair) -> None:
    pair.step("train", "Model", {}, {})
    with pytest.raises(LineageError, match="no run 'run-3'"):
        diff(pair.archive(), "run-1", "run-3")
