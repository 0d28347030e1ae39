"""Tables that Braid has never heard of run from `braid init` on their file alone to a pushed model.

All are real: Fisher's iris and the diabetes study that scikit-learn ships, written as CSV under their own column names;
handwritten digits, a compressed CSV without header inside scikit-learn; and the raw Palmer penguins (dates, texts,
missing labels, names such as `Delta 15 N (o/oo)`) inside the package palmerpenguins.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import datasets

from beam_jobs.table import Table, read_batches
from pipeline.cli import main

PENGUINS = "package://palmerpenguins/data/penguins-raw.csv"
DIGITS = "package://sklearn/datasets/data/digits.csv.gz"

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Finished:
    """A run as `braid run --json` tells it."""

    steps: dict[str, dict[str, Any]]

    def place(self, kind: str) -> Path:
        """The folder of the only output of a kind."""
        found = [
            out["uri"] for s in self.steps.values() for key, outs in s["outputs"].items() for out in outs if key == kind
        ]
        assert len(found) == 1
        return Path(found[0])

    def read(self, kind: str, file: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.place(kind) / file).read_text())
        return document

    @property
    def ledgers(self) -> list[dict[str, int]]:
        """Every ledger of the run."""
        outs = [out for step in self.steps.values() for outs in step["outputs"].values() for out in outs]
        return [out["properties"]["ledger"] for out in outs if "ledger" in out["properties"]]

    def label(self, name: str, split: str) -> np.ndarray[Any, Any]:
        """The labels of a split, without the missing."""
        batches = read_batches(Table.load(str(self.place("examples"))), split, [name])
        values: np.ndarray[Any, Any] = pa.Table.from_batches(batches)[name].drop_null().to_numpy()
        return values


def run(capsys: pytest.CaptureFixture[str], table: str, label: str, *settings: str) -> Finished:
    """`braid init` and `braid run`, in the working directory."""
    main.main(["init", table, "--label", label, "--output", "it.yaml"])
    capsys.readouterr()
    main.main(["run", "it.yaml", "--json", *settings])
    return Finished({step["name"]: step for step in json.loads(capsys.readouterr().out)["steps"]})


def write_csv(path: Path, names: list[str], rows: list[list[Any]]) -> str:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([names, *rows])
    return str(path)


def bundled(path: Path, name: str, names: list[str] | None = None) -> str:
    """One of scikit-learn's tables as a CSV file with its own column names; classes as text."""
    frame = getattr(datasets, f"load_{name}")()
    classes = getattr(frame, "target_names", None)
    target = frame.target if classes is None else [classes[code] for code in frame.target]
    rows = [[*row, label] for row, label in zip(frame.data.tolist(), target, strict=True)]
    return write_csv(path, names or [*frame.feature_names, "target"], rows)


def commonest(finished: Finished, label: str) -> float:
    """The accuracy on test of always guessing the commonest class of train."""
    values, counts = np.unique(finished.label(label, "train"), return_counts=True)
    return float(np.mean(finished.label(label, "test") == values[counts.argmax()]))


def judged(finished: Finished) -> dict[str, float]:
    """The metrics on test."""
    overall = finished.read("evaluation", "metrics.json")["splits"]["test"]["overall"]
    return {name: metric["value"] for name, metric in overall.items() if isinstance(metric, dict) and "value" in metric}


def is_pushed(finished: Finished) -> bool:
    """Whether the run ended with a model in the serving folder, blessed."""
    pushed = finished.steps["push"]["outputs"]["pushed_model"][0]["properties"]
    blessed: bool = finished.read("evaluation", "metrics.json")["decision"]["blessed"]
    assert bool(pushed["pushed"]) == blessed
    return blessed


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_many_classes_in_a_tiny_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = run(capsys, bundled(here / "iris.csv", "iris"), "target")
    assert judged(finished)["accuracy"] > max(0.85, 2 * commonest(finished, "target"))
    kept = [f["name"] for f in finished.read("importances", "importances.json")["features"] if f["kept"]]
    assert any(name in kept for name in ("petal length (cm)", "petal width (cm)"))
    assert is_pushed(finished)


def test_a_regression(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = run(capsys, bundled(here / "diabetes.csv", "diabetes"), "target")
    spread = np.sqrt(np.mean((finished.label("target", "test") - finished.label("target", "train").mean()) ** 2))
    assert judged(finished)["rmse"] < 0.9 * spread
    assert judged(finished)["r2"] > 0.2
    assert is_pushed(finished)


def test_dates_and_texts_and_missing_labels(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = run(capsys, PENGUINS, "Body Mass (g)")
    assert finished.ledgers
    for ledger in finished.ledgers:
        assert ledger["read"] == ledger["rejected"] + ledger["filtered"] + ledger["merged"] + ledger["kept"]
    splits = finished.read("examples", "table.json")["ledger"]
    assert splits["written"] == 344
    spread = np.sqrt(
        np.mean((finished.label("Body Mass (g)", "test") - finished.label("Body Mass (g)", "train").mean()) ** 2)
    )
    assert judged(finished)["rmse"] < 0.9 * spread
    importances = finished.read("importances", "importances.json")
    assert any("have no 'Body Mass (g)'" in warning for warning in importances["warnings"])
    reasons = {f["name"]: f["reason"] for f in importances["features"]}
    assert reasons["Date Egg"] == "excluded by configuration"
    assert is_pushed(finished)


def test_two_classes_as_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = run(capsys, PENGUINS, "Sex")
    assert finished.read("importances", "importances.json")["classes"] == ["FEMALE", "MALE"]
    assert judged(finished)["auc"] > 0.8
    assert is_pushed(finished)


def test_a_compressed_file_without_header(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = run(capsys, DIGITS, "column_65", "--set", "train.rounds=40")
    assert len(finished.read("importances", "importances.json")["classes"]) == 10
    assert judged(finished)["accuracy"] > 0.85
    assert is_pushed(finished)


def test_names_that_no_language_likes_and_a_model_not_blessed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a.b [cm]", 'the "size" <', "größe, breit", "select", "it's #1: a class"]
    table = bundled(here / "odd.csv", "iris", names)
    finished = run(capsys, table, names[-1], "--set", "evaluate.thresholds={accuracy: {min: 1.01}}")
    assert judged(finished)["accuracy"] > 0.85
    features = finished.read("importances", "importances.json")["features"]
    assert sorted(f["name"] for f in features) == sorted(names[:-1])
    assert not is_pushed(finished)
    main.main(["show"])
    assert "Not blessed, so not pushed" in capsys.readouterr().out
