"""A training that is cut off after any round and goes on writes the bytes of an undisturbed one."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from beam_jobs import progress
from beam_jobs.table import Table
from components.hyperparameters import HyperParameters
from components.trainer import checkpoints
from components.trainer.boosting import Boosting
from components.trainer.checkpoints import CHECKPOINT, Checkpoints
from components.trainer.training import TrainingConfig, TrainingReport, to_properties, train
from tests.components.examples_factory import flights_like, write_examples
from tests.components.test_training import LATE, importances

SETTINGS: dict[str, TrainingConfig] = {
    "early stop": TrainingConfig(threads=1, rounds=60, early_stopping_rounds=5),
    "no early stop": TrainingConfig(threads=1, rounds=25, early_stopping_rounds=0),
    "sampled rows": TrainingConfig(threads=1, rounds=25, params={"subsample": 0.6}),
    "sampled columns": TrainingConfig(threads=1, rounds=25, params={"colsample_bytree": 0.7, "colsample_bynode": 0.6}),
    "by gradient": TrainingConfig(threads=1, rounds=25, params={"subsample": 0.5, "sampling_method": "gradient_based"}),
    "forest": TrainingConfig(threads=2, rounds=12, params={"num_parallel_tree": 3, "subsample": 0.8}),
    "leaf by leaf": TrainingConfig(
        threads=1, rounds=25, params={"grow_policy": "lossguide", "max_leaves": 12, "colsample_bylevel": 0.5}
    ),
    "on disk": TrainingConfig(threads=1, rounds=15, memory="external", params={"subsample": 0.7, "eval_metric": "auc"}),
}


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Table:
    rows = {"train": flights_like(4_000, 1), "eval": flights_like(1_500, 2)}
    return write_examples(tmp_path_factory.mktemp("flights"), rows)


@pytest.fixture(autouse=True)
def a_checkpoint_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE_OF_TIME", 1e9)


class CutOffError(Exception):
    """In place of a kill."""


def model(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "model.ubj").read_bytes(), (folder / "contract.json").read_bytes()


def cut_off(after: int, *arguments: Any) -> None:
    """Trains until so many rounds have ended."""
    original = Checkpoints.after_round

    def stop(self: Checkpoints, booster: Any, history: list[float]) -> None:
        original(self, booster, history)
        if len(history) == after:
            raise CutOffError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoints, "after_round", stop)
        with pytest.raises(CutOffError):
            train(*arguments)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_bytes_whichever_round_it_was_cut_off_after(name: str, flights: Table, tmp_path: Path) -> None:
    config = SETTINGS[name]
    whole = train(flights, LATE, config, str(tmp_path / "whole"))
    for after in (1, random.Random(name).randrange(2, whole.rounds - 1), whole.rounds - 1):
        saved = str(tmp_path / f"saved-{after}")
        cut_off(after, flights, LATE, config, str(tmp_path / "killed"), None, saved)
        resumed = train(flights, LATE, config, str(tmp_path / "resumed"), None, saved)
        assert resumed.resumed_from == after
        assert model(tmp_path / "resumed") == model(tmp_path / "whole")
        assert without_times(resumed) == without_times(whole)


def without_times(report: TrainingReport) -> dict[str, object]:
    """What would be recorded of the model."""
    return {name: told for name, told in to_properties(report).items() if name not in ("seconds", "peak_memory")}


def test_several_classes_and_a_metric_that_grows(tmp_path: Path) -> None:
    def rows(count: int, seed: int) -> pa.Table:
        base = flights_like(count, seed)
        return base.set_column(10, "late", base["carrier"].cast(pa.string())).drop_columns(["carrier"])

    table = write_examples(tmp_path / "examples", {"train": rows(2_000, 1), "eval": rows(600, 2)})
    task = importances(["wind", "hour", "seats"], "late", "multiclass", ("AA", "DL", "EV", "F9", "UA"))
    config = TrainingConfig(threads=1, rounds=14, params={"eval_metric": "auc", "subsample": 0.7})
    train(table, task, config, str(tmp_path / "whole"))
    cut_off(6, table, task, config, str(tmp_path / "killed"), None, str(tmp_path / "saved"))
    assert train(table, task, config, str(tmp_path / "resumed"), None, str(tmp_path / "saved")).resumed_from == 6
    assert model(tmp_path / "resumed") == model(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["cut short", "overwritten", "of another seed"])
def test_a_checkpoint_that_is_not_this_trainings_is_passed_over(harm: str, flights: Table, tmp_path: Path) -> None:
    config, saved = SETTINGS["sampled rows"], tmp_path / "saved"
    other = dataclasses.replace(config, seed=1) if harm == "of another seed" else config
    cut_off(7, flights, LATE, other, str(tmp_path / "killed"), None, str(saved))
    written = (saved / CHECKPOINT).read_bytes()
    if harm == "cut short":
        (saved / CHECKPOINT).write_bytes(written[:-10])
    if harm == "overwritten":
        (saved / CHECKPOINT).write_bytes(b"\x00" * len(written))
    assert train(flights, LATE, config, str(tmp_path / "model"), None, str(saved)).resumed_from == 0
    train(flights, LATE, config, str(tmp_path / "whole"))
    assert model(tmp_path / "model") == model(tmp_path / "whole")


def test_a_tuners_parameters_lie_over_the_configurations_and_are_told(flights: Table, tmp_path: Path) -> None:
    tuned = HyperParameters("xgboost", {"eta": 0.2, "max_depth": 2}, "logloss", 0.5, 3)
    config = TrainingConfig(threads=1, rounds=5, params={"learning_rate": 0.01, "max_bin": 32})
    report = train(flights, LATE, config, str(tmp_path), tuned)
    assert (report.params["eta"], report.params["max_depth"], report.params["max_bin"]) == (0.2, 2, 32)
    assert '"trial": 3' in str(to_properties(report)["tuned"])
    assert "tuned" not in to_properties(train(flights, LATE, config, str(tmp_path)))


@pytest.mark.parametrize(
    ("metric", "history", "patience", "best", "over"),
    [
        ("logloss", [0.5, 0.4, 0.4], 2, 1, False),
        ("logloss", [0.5, 0.4, 0.4, 0.41], 2, 1, True),
        ("auc", [0.5, 0.6, 0.6], 1, 1, True),
        ("auc", [0.5, 0.6, 0.7], 1, 2, False),
        ("logloss", [0.5, 0.6, 0.7], 0, 2, False),
        ("logloss", [0.5] * 9, 0, 8, True),
    ],
)
def test_when_a_training_is_over(metric: str, history: list[float], patience: int, best: int, over: bool) -> None:
    settings = Boosting({"eval_metric": metric}, 9, patience)
    assert (settings.best(history), settings.is_over(history)) == (best, over)
    assert not settings.is_over([])


KILLED = """
import os, signal, sys
from beam_jobs import progress
from beam_jobs.table import Table
from components.trainer import checkpoints, training
from tests.components.test_training import LATE
from tests.components.test_training_resumed import SETTINGS

examples, folder, saved, last = sys.argv[1:]
checkpoints.SECONDS_BETWEEN, checkpoints.SHARE_OF_TIME, training.ROUNDS_A_NOTE = 0.0, 1e9, 2

def kill(step):
    if step.note.startswith(f"round {last} "):
        os.kill(os.getpid(), signal.SIGKILL)

with progress.listening(kill):
    training.train(Table.load(examples), LATE, SETTINGS["sampled columns"], folder, None, saved)
"""


def test_killed_twice_by_the_system(flights: Table, tmp_path: Path) -> None:
    config, saved = SETTINGS["sampled columns"], str(tmp_path / "saved")
    train(flights, LATE, config, str(tmp_path / "whole"))
    root = str(Path(__file__).parents[2])
    for last in ("5", "17"):
        arguments = [sys.executable, "-c", KILLED, flights.root, str(tmp_path / "killed"), saved, last]
        path = os.pathsep.join([root, f"{root}/tests", f"{root}/tests/components", os.environ.get("PYTHONPATH", "")])
        ended = subprocess.run(
            arguments, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert not (tmp_path / "killed/model.ubj").exists()
    notes: list[str] = []
    with progress.listening(lambda step: notes.append(step.note)):
        report = train(flights, LATE, config, str(tmp_path / "resumed"), None, saved)
    assert report.resumed_from >= 16
    assert f"going on after round {report.resumed_from}, where a training was cut off" in notes
    assert model(tmp_path / "resumed") == model(tmp_path / "whole")
