"""A run as a store and a folder of artifacts hold it: with everything that a report shows, or with less."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.explanations import EXPLANATIONS, Effect, FeatureEffect, Summary
from components.hyperparameters import HyperParameters
from components.importances import FeatureImportance, Importances
from tests.pipeline.lineage.store_factory import World, sqlite_store, write

RUN = "run-1"
COMMIT = "fd2c0806f138914d142b3222cced9f0492f77be8"
CLASSES = {"binary": (True,), "multiclass": ("low", "mid", "high"), "regression": ()}


@dataclass(frozen=True)
class Texts:
    """The words of the run that its user chose."""

    feature: str = "wind"
    value: str = "EWR"
    model: str = "fast"
    error: str = "Step 'late' failed:\nit was late"


def figure(value: float | None, half: float = 0.01) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "reason": "no row has the label 'True'"}
    return {"value": value, "low": value - half, "high": value + half}


def node(rows: int, auc: float | None) -> dict[str, Any]:
    figures = {"auc": figure(auc), "pr_auc": figure(0.5), "log_loss": figure(0.3), "accuracy": figure(0.8)}
    figures |= {"calibration_error": figure(0.02), "base_rate": figure(0.2), "mean_prediction": figure(0.21)}
    return {"rows": rows, "unlabelled": 0, **figures}


def metrics(texts: Texts) -> dict[str, Any]:
    """A judge's report on two candidates and a champion."""
    compared = {"champion": {"auc": figure(0.71)}, "difference": {"auc": figure(0.02)}}
    slices = {texts.value: {**node(700, 0.75), **compared}, "JFK": node(300, None), "": node(5, 0.5)}
    split = {
        "overall": {**node(1_000, 0.73), **compared},
        "slices": {texts.feature: slices},
        "crosses": [{"columns": ["origin", texts.feature], "slices": [{"values": ["a", texts.value], **node(9, 0.6)}]}],
        "fairness": [
            {
                "columns": [texts.feature], "metric": "auc", "gap": figure(0.25),
                "highest": {"values": [texts.value], "value": 0.75}, "lowest": {"values": [""], "value": 0.5},
                "slices": 2, "left_out": 1,
            }
        ],
    }  # fmt: skip
    overall = {name: {"auc": figure(0.73), "log_loss": figure(0.3)} for name in ("eval", "test")}
    candidate = {"name": texts.model, "model": "d1", "family": "xgboost", "overall": overall}
    other = {"name": "deep", "model": "d2", "family": "keras", "overall": overall}
    return {
        "task": "binary",
        "label": "late",
        "classes": ["False", "True"],
        "splits": {"eval": split, "test": split},
        "notes": [f"Slice column '{texts.feature}': 3 rarer values share one slice."],
        "decision": {"blessed": True, "reasons": ["auc is 0.73."], "decide_on": "test"},
        "candidates": [
            {**candidate, "passed": True, "reasons": ["auc is 0.73."], "chosen": True},
            {**other, "passed": False, "reasons": [f"auc of {texts.model} is higher."], "chosen": False},
        ],
    }


def write_importances(folder: Path, texts: Texts) -> None:
    kept = FeatureImportance(texts.feature, 0.9, 0.1, 0.01, 1, True, "90% of the importance")
    left_out = FeatureImportance("noise", 0.1, -0.01, 0.02, 2, False, "no importance on held-out rows")
    told = Importances(
        "late", "binary", (False, True), (kept, left_out), (f"'{texts.feature}' may leak.",), "auc", 9, 3
    )
    folder.mkdir()
    told.save(str(folder))


def write_tuning(folder: Path, texts: Texts) -> None:
    folder.mkdir()
    HyperParameters("xgboost", {"eta": 0.1}, "logloss", 0.41, 1).save(str(folder))
    states = [(0, "complete", 0.45), (1, "complete", 0.41), (2, "pruned", 0.5), (3, "diverged", None)]
    trials = [
        {"number": number, "state": state, "parameters": {"eta": 0.1 * number, texts.feature: "x"}, "value": value, "rounds": 9}
        for number, state, value in states
    ]  # fmt: skip
    (folder / "trials.json").write_text(json.dumps(trials))


def write_explanations(folder: Path, texts: Texts, rows: int = 6, task: str = "binary", features: int = 3) -> None:
    """Contributions that a test can foretell: of feature f in row r for class c, (r - 2) / (f + 1) + c."""
    classes = CLASSES[task]
    every, names = max(1, len(classes)), [texts.feature, *(f"f{place}" for place in range(1, features))]
    row, output = np.repeat(np.arange(rows), every), np.tile(np.arange(every), rows)
    label = {
        "binary": pa.array([[True, False, None][r % 3] for r in row]),
        "multiclass": pa.array([["low", "mid", "other"][r % 3] for r in row]),
        "regression": pa.array([float(r) for r in row]),
    }[task]
    columns: dict[str, Any] = {
        "_row": pa.array(row + 2**40),
        "class": pa.array([classes[c] for c in output]) if classes else pa.nulls(rows, pa.float64()),
        "label": label,
        "prediction": pa.array((0.1 + 0.1 * (row + output) % 0.9).astype(np.float32)),
        "bias": pa.array(np.full(len(row), -0.5, np.float32)),
    }
    for place, name in enumerate(names):
        values = [texts.value if r else None for r in row] if place == 0 else (row * 1.5).tolist()
        columns[f"value_{name}"] = pa.array(values)
        columns[f"contribution_{name}"] = pa.array(((row - 2) / (place + 1) + output).astype(np.float32))
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / EXPLANATIONS)
    effects = tuple(
        FeatureEffect(
            name, "category" if place == 0 else "numeric", 1.0 / (place + 1),
            tuple(Effect(one, 1.0 / (place + 1), -0.1, None if place == 0 else 0.9) for one in classes or (None,)),
        )
        for place, name in enumerate(names)
    )  # fmt: skip
    summary = Summary(task, "xgboost", "late", "test", rows, 100, classes, (-0.5,) * every, effects, ("A note.",))
    summary.save(str(folder))


def whole_run(folder: Path, texts: Texts | None = None) -> mlmd.MetadataStore:
    """Every kind of step, one that failed and was tried again, one from the cache, and one that fails in the end."""
    texts = texts or Texts()
    write_importances(folder / "importances", texts)
    write_tuning(folder / "tuned", texts)
    write_explanations(folder / "explained", texts)
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(metrics(texts)))
    world = World()
    made = Steps(world, texts)
    table = world.artifact("SourceTable", "/t", table=texts.feature, ledger=_ledger(10, 1))
    made.step("ingest", {"table": [table]}, run="run-0")
    made.step("ingest", {"table": [table]}, state="CACHED", cache_of=1)
    made.step("load", state="FAILED", error="Too early.", error_type="StepError")
    made.step("load", {"examples": [world.artifact("Examples", "/e", ledger=_ledger(9, 0), splits='{"train": 6}')]})
    made.step("check", {"anomalies": [world.artifact("ExampleAnomalies", "/a", findings='["A column drifts."]')]})
    made.step("select", {"importances": [world.artifact("FeatureImportances", str(folder / "importances"))]})
    made.step("tune", {"hyperparameters": [world.artifact("HyperParameters", str(folder / "tuned"))]})
    model = world.artifact("Model", "/m", warnings='["9 rows have no label."]')
    made.step("train", {"model": [model]})
    made.step(
        "champion", {"model": [world.artifact("Model", "/other", warnings='["Not this one."]')]}, kind="x.Resolver"
    )
    made.step("evaluate", {"evaluation": [world.artifact("ModelEvaluation", str(folder / "evaluation"))]})
    made.step("explain", {"explanations": [world.artifact("Explanations", str(folder / "explained"), model="/m")]})
    pushed = {"pushed": 1, "pushed_version": "00000007", "pushed_destination": "/serving/00000007"}
    made.step("push", {"pushed": [world.artifact("PushedModel", "/p", **pushed)]})
    made.step("late", state="FAILED", error=texts.error, error_type="StepError")
    write(world, store := sqlite_store(folder / "metadata.sqlite"))
    _record_run(store, texts)
    return store


def failed_run(folder: Path) -> mlmd.MetadataStore:
    """One that ended in its first step."""
    world = World()
    Steps(world, Texts()).step("ingest", state="FAILED", error="There is no file.", error_type="DataError")
    write(world, store := sqlite_store(folder / "metadata.sqlite"))
    return store


@dataclass(frozen=True)
class Steps:
    """Adds steps to a world."""

    world: World
    texts: Texts

    def step(
        self, name: str, outputs: dict[str, list[int]] | None = None, run: str = RUN, state: str = "COMPLETE",
        kind: str = "", **properties: Any,
    ) -> None:  # fmt: skip
        told = {"seconds": 1.5, "lock_digest": "05e9e0a0", **properties}
        self.world.execute(name, {}, outputs, run=run, state=state, kind=kind, properties=told)


def _ledger(read: int, rejected: int) -> str:
    counts = {"read": read, "rejected": rejected, "filtered": 0, "merged": 0, "kept": read - rejected}
    return json.dumps({**counts, "multiplied": 0, "written": read - rejected})


def _record_run(store: mlmd.MetadataStore, texts: Texts) -> None:
    """The facts that Braid's launcher leaves on the run's own record."""
    context = store.get_context_by_type_and_name("pipeline_run", RUN)
    facts = {"config_file": f"/home/me/{texts.feature}.yaml", "code_commit": COMMIT, "config": '{"name": "flights"}'}
    for key, value in facts.items():
        context.custom_properties[key].string_value = value
    context.custom_properties["code_dirty"].int_value = 1
    store.put_contexts([context])
