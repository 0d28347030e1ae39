"""A store that TFX's own taxi example wrote, Braid not involved: answers are complete as far as ML Metadata knows."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from store_factory import sqlite_store

from pipeline.lineage import ancestry, differences, naming, reasons, retention, verification, waste
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.archive import Archive
from pipeline.lineage.differences import diff
from pipeline.lineage.errors import LineageError
from pipeline.lineage.keeping import Policy

pytestmark = pytest.mark.long

# TFX's example as it is, twice; in a process of its own, as it sets the environment and leaves TensorFlow behind.
PROGRAM = """
import os, sys
import tfx
from tfx.examples.chicago_taxi_pipeline import taxi_pipeline_native_keras as example
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

folder = os.path.join(os.path.dirname(tfx.__file__), "examples", "chicago_taxi_pipeline")
for _ in range(2):
    LocalDagRunner().run(
        example._create_pipeline(
            pipeline_name="taxi",
            pipeline_root="output",
            data_root=os.path.join(folder, "data", "simple"),
            module_file=os.path.join(folder, "taxi_utils_native_keras.py"),
            serving_model_dir="serving",
            metadata_path="metadata.sqlite",
            beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
        )
    )
"""
STEPS = {
    "CsvExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Evaluator",
    "Pusher",
}
ABOVE_THE_MODEL = {"CsvExampleGen", "StatisticsGen", "SchemaGen", "Transform", "Trainer"}


@dataclass(frozen=True)
class Taxi:
    """The store, and the names of the two runs."""

    folder: Path
    archive: Archive
    first: str
    second: str


@pytest.fixture(scope="session")
def written_by_tfx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taxi")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture
def taxi(written_by_tfx: Path, monkeypatch: pytest.MonkeyPatch) -> Taxi:
    monkeypatch.chdir(written_by_tfx)  # its root and its serving folder are relative paths
    archive = Archive(sqlite_store(written_by_tfx / "metadata.sqlite"))
    first, second = (run.name for run in archive.runs())
    return Taxi(written_by_tfx, archive, first, second)


def _steps(lineage: Lineage) -> Mapping[str, str]:
    assert len({one.step for one in lineage.executions.values()}) == len(lineage.executions), "each step once"
    return {one.step: one.state for one in lineage.executions.values()}


def test_up_from_the_model_is_all_that_made_it(taxi: Taxi) -> None:
    lineage = ancestry.up(taxi.archive, f"{taxi.first}/Trainer.model")
    assert _steps(lineage) == dict.fromkeys(ABOVE_THE_MODEL, "COMPLETE")
    assert {(one.run, one.pipeline) for one in lineage.executions.values()} == {(taxi.first, "taxi")}
    assert {one.type for one in lineage.artifacts.values()} == {
        "Model", "Examples", "Schema", "TransformGraph", "ExampleStatistics"
    }  # fmt: skip
    [raw] = [one for one in lineage.artifacts.values() if one.uri.endswith("CsvExampleGen/examples/1")]
    assert "num_files:1,total_bytes:" in raw.properties["input_fingerprint"]  # all that TFX records of its source
    train = next(one for one in lineage.executions.values() if one.step == "Trainer")
    assert train.properties["train_args"] == {"num_steps": 1000} and train.seconds > 0


def test_the_second_run_s_model_was_made_by_the_first(taxi: Taxi) -> None:
    """All but Evaluator and Pusher came from the cache."""
    by_first, by_second = (ancestry.up(taxi.archive, f"{run}/Trainer") for run in (taxi.first, "latest"))
    assert dataclasses.replace(by_second, subject=by_first.subject) == by_first
    lineage = ancestry.up(taxi.archive, "latest")
    by_step = {one.step: one for one in lineage.executions.values()}
    assert set(by_step) == STEPS
    assert {step for step, one in by_step.items() if one.run == taxi.second} == {"Evaluator", "Pusher"}


def test_the_evaluator_took_one_model_as_candidate_and_as_baseline(taxi: Taxi) -> None:
    lineage = ancestry.up(taxi.archive, "latest/Evaluator.evaluation")
    [judge] = [one for one in lineage.executions.values() if one.step == "Evaluator"]
    inputs = [event for event in lineage.events if event.execution == judge.id and event.is_input]
    assert sorted(event.key for event in inputs) == ["baseline_model", "examples", "model"]
    assert len({event.artifact for event in inputs}) == 2


def test_the_resolver_found_the_first_run_s_model(taxi: Taxi) -> None:
    found = naming.find(taxi.archive, "latest/latest_blessed_model_resolver.model").artifacts
    assert found == naming.find(taxi.archive, f"{taxi.first}/Trainer.model").artifacts
    nothing = ancestry.up(taxi.archive, f"{taxi.first}/latest_blessed_model_resolver")
    assert not nothing.artifacts and len(nothing.starting) == 1


def test_down_from_the_examples_is_every_step_of_both_runs(taxi: Taxi) -> None:
    lineage = ancestry.down(taxi.archive, f"{taxi.first}/CsvExampleGen")
    expected = {(run, step) for run in (taxi.first, taxi.second) for step in STEPS - {"CsvExampleGen"}}
    assert {(one.run, one.step) for one in lineage.executions.values()} == expected
    assert len(lineage.artifacts) == len(taxi.archive.newest_artifacts(1_000))
    cached = {one.step for one in lineage.executions.values() if one.is_cached}
    assert cached == STEPS - {"CsvExampleGen", "Evaluator", "Pusher"}


def test_the_model_that_serves_is_marked_and_found_where_it_serves(taxi: Taxi) -> None:
    model = naming.find(taxi.archive, f"{taxi.first}/Trainer.model").artifacts[0]
    lineage = ancestry.down(taxi.archive, str(model.id))
    newest = max(os.listdir(taxi.folder / "serving"), key=int)
    pushed = naming.find(taxi.archive, "latest/Pusher.pushed_model").artifacts[0]
    assert set(lineage.serving) == {model.id, pushed.id}
    assert {os.path.abspath(place) for place in lineage.serving.values()} == {str(taxi.folder / "serving" / newest)}
    for place in (f"serving/{newest}", str(taxi.folder / "serving" / newest / "saved_model.pb")):
        assert naming.find_model(taxi.archive, place) == model


@pytest.mark.parametrize(
    "inside", ["", "/", "/Format-Serving/saved_model.pb", "/Format-Serving/variables/variables.index"]
)
def test_its_relative_uris_are_found_by_any_path(taxi: Taxi, inside: str) -> None:
    model = naming.find(taxi.archive, "latest/Trainer.model").artifacts[0]
    assert not model.uri.startswith("/")
    for root in (model.uri, f"./{model.uri}", str(taxi.folder / model.uri)):
        assert naming.find(taxi.archive, f"{root}{inside}").artifacts == (model,)


def test_two_runs_are_compared_by_what_is_recorded(taxi: Taxi) -> None:
    """The second judged and pushed the first's model again: nothing else may seem to have changed."""
    found = diff(taxi.archive, taxi.first, taxi.second)
    [push] = found.changes
    assert (push.kind, push.where) == ("push", "Pusher.pushed_model")
    versions = sorted(os.listdir(taxi.folder / "serving"), key=int)
    assert [os.path.basename(str(place)) for place in (push.before, push.after)] == versions
    assert found.compared["step"] == found.compared["outcome"] == len(STEPS)
    assert found.compared["parameter"] > 10 and found.compared["source file"] == 1
    assert any(told.startswith("Configuration: ") and "did not record it" in told for told in found.unknown)
    assert any(told.startswith("Code: neither run recorded") for told in found.unknown)


def test_wrong_names_are_told(taxi: Taxi) -> None:
    with pytest.raises(LineageError, match="Did you mean 'Trainer'"):
        ancestry.up(taxi.archive, "latest/Trianer")
    with pytest.raises(LineageError, match=f"Did you mean '{taxi.first[:-3]}"):
        ancestry.up(taxi.archive, taxi.first[:-1])


def test_damage_to_the_files_is_no_matter_of_the_store(
    taxi: Taxi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may be asked where its files are not."""
    shutil.copy(taxi.folder / "metadata.sqlite", tmp_path)
    monkeypatch.chdir(tmp_path)
    archive = Archive(sqlite_store(tmp_path / "metadata.sqlite"))
    here = ancestry.up(archive, "latest/Pusher")
    assert set(here.executions) == set(ancestry.up(taxi.archive, "latest/Pusher").executions) and not here.serving


def test_what_changed_from_the_first_run_to_the_second(taxi: Taxi) -> None:
    found = differences.diff(taxi.archive, taxi.first, taxi.second)
    assert {change.where.partition(".")[0] for change in found.changes} <= {"Evaluator", "Pusher"}
    assert [(change.kind, change.before, change.after) for change in found.changes if change.kind == "push"] != []
    assert found.compared["parameter"] > 10
    told = " ".join(found.unknown)
    assert "did not record it" in told and "neither run recorded its commit" in told and "metrics by slice" in told
    assert differences.diff(taxi.archive, "latest", taxi.second).changes == ()


def test_why_steps_ran_again_or_did_not(taxi: Taxi) -> None:
    found = {one.execution.step: one for one in reasons.why(taxi.archive, taxi.second)}
    assert {step for step, one in found.items() if one.reused} == STEPS - {"Evaluator", "Pusher"}
    assert all(
        one.earlier and one.earlier.run == taxi.first and not one.reasons for one in found.values() if one.reused
    )
    [baseline] = found["Evaluator"].reasons
    assert (baseline.kind, baseline.what, baseline.note) == ("input", "baseline_model", "not there before")
    [blessing] = found["Pusher"].reasons
    assert (blessing.kind, blessing.what) == ("input", "model_blessing")


def test_nothing_of_it_is_broken_wasted_or_another_workspace_s_to_delete(taxi: Taxi) -> None:
    found = verification.verify(taxi.archive, verification.scope(taxi.archive))
    assert (found.is_sound, found.by_digest, found.by_existence) == (True, 0, len(taxi.archive.newest_artifacts(1_000)))
    spent = waste.waste(taxi.archive)
    assert spent.judged and spent.wasted.executions < spent.spent.executions
    plan = retention.plan(taxi.archive, {str(taxi.folder / "ws" / "taxi"): "taxi"}, Policy(0, 0))
    assert plan.removals == () and "serving" in plan.kept_runs.values()
