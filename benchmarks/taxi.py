"""The taxi pipeline end to end: Braid against TFX's own example (`tfx.examples.chicago_taxi_pipeline`, native Keras).

TFX's example runs first and splits the rows by its own hash. The rows of its eval split are then Braid's test split; Braid
takes its eval split, for early stopping, out of the rows that TFX's trainer learned from. Both are judged on the same rows
by scikit-learn's AUC and accuracy. Wall time is that of the whole process, imports and all. Braid runs twice: with XGBoost, as
the configuration says, and with its default Keras model, which is the like of the example's.
"""

import csv
import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import yaml

from benchmarks import flights_rows
from benchmarks.measure import Measurement, run_once, table, work

MODULE = "benchmarks.taxi"
ROOT = os.path.join(flights_rows.CACHE, "taxi")
FAMILIES = ("xgboost", "keras")
CONFIG = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs", "pipelines", "taxi.yaml")


def _example_folder() -> str:
    import tfx

    return os.path.join(os.path.dirname(tfx.__file__), "examples", "chicago_taxi_pipeline")


def stock() -> None:
    """TFX's example as it is, its functions and settings untouched, in a folder of our own."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    with work():
        from tfx.examples.chicago_taxi_pipeline import taxi_pipeline_native_keras as example
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner

        LocalDagRunner().run(
            example._create_pipeline(
                pipeline_name="taxi",
                pipeline_root=f"{ROOT}/stock",
                data_root=os.path.join(_example_folder(), "data", "simple"),
                module_file=os.path.join(_example_folder(), "taxi_utils_native_keras.py"),
                serving_model_dir=f"{ROOT}/stock-serving",
                metadata_path=f"{ROOT}/stock.sqlite",
                # In this process: its own multi_processing workers cannot import TFDV with the lock's versions.
                beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
            )
        )


def stock_auc() -> None:
    """The AUC of TFX's model on its eval split; and that split's rows, written down for Braid."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    from sklearn.metrics import roc_auc_score

    with work() as facts:
        model = tf.saved_model.load(os.path.join(max(glob.glob(f"{ROOT}/stock/Trainer/model/*")), "Format-Serving"))
        serve = model.signatures["serving_default"]
        labels: list[bool] = []
        scores: list[float] = []
        for records in _batches(_records("eval"), 500):
            told = [tf.train.Example.FromString(record) for record in records]
            for example in told:
                values = example.features.feature
                labels.append(_number(values["tips"]) > 0.2 * _number(values["fare"]))
                del values["tips"]
            scores += (
                serve(tf.constant([example.SerializeToString() for example in told]))["outputs"].numpy()[:, 0].tolist()
            )
        right = sum((score > 0.5) == label for score, label in zip(scores, labels, strict=True))
        facts |= {"auc": roc_auc_score(labels, scores), "accuracy": right / len(labels), "rows": len(labels)}


def _records(split: str) -> list[bytes]:
    import tensorflow as tf

    files = glob.glob(f"{ROOT}/stock/CsvExampleGen/examples/*/Split-{split}/*")
    return [record.numpy() for record in tf.data.TFRecordDataset(sorted(files), compression_type="GZIP")]


def _batches(records: list[bytes], size: int) -> list[list[bytes]]:
    return [records[i : i + size] for i in range(0, len(records), size)]


def _number(feature: Any) -> float:
    values = [*feature.float_list.value, *feature.int64_list.value]
    return float(values[0]) if values else float("nan")


def divide() -> None:
    """Writes the rows of TFX's two splits as one CSV with a column `split`, every tenth train row for early stopping."""
    import tensorflow as tf

    with open(os.path.join(_example_folder(), "data", "simple", "data.csv"), encoding="utf-8") as stream:
        names = next(csv.reader(stream))
    with work() as facts, open(f"{ROOT}/rows.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*names, "split"])
        for split in ("train", "eval"):
            for number, record in enumerate(_records(split)):
                features = tf.train.Example.FromString(record).features.feature
                name = "test" if split == "eval" else "eval" if number % 10 == 0 else "train"
                writer.writerow([*(_text(features[column]) for column in names), name])
                facts[name] = facts.get(name, 0) + 1


def _text(feature: Any) -> str:
    values = [*feature.float_list.value, *feature.int64_list.value, *(v.decode() for v in feature.bytes_list.value)]
    return str(values[0]) if values else ""


def configuration(family: str) -> str:
    """configs/pipelines/taxi.yaml with other rows, the split that they name, and the family's trainer."""
    with open(CONFIG, encoding="utf-8") as stream:
        changed = yaml.safe_load(stream)
    changed["sources"]["trips"]["path"] = f"{ROOT}/rows.csv"
    changed["examples"]["split"] = {
        "by": "column",
        "column": "split",
        "values": {n: [n] for n in ("train", "eval", "test")},
    }
    changed["select"]["exclude"].append("split")
    if family == "keras":
        changed["train"] = {"family": "keras"}
    path = f"{ROOT}/{family}.yaml"
    with open(path, "w", encoding="utf-8") as stream:
        yaml.safe_dump(changed, stream, sort_keys=False)
    return path


def braid(family: str) -> None:
    """`braid run`, the whole command."""
    command = [
        sys.executable,
        "-m",
        "pipeline.cli.main",
        "run",
        f"{ROOT}/{family}.yaml",
        "--workspace",
        f"{ROOT}/braid-{family}",
        "--json",
    ]
    with work() as facts:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        steps = {step["name"]: step for step in json.loads(done.stdout)["steps"]}
        with open(
            os.path.join(steps["evaluate"]["outputs"]["evaluation"][0]["uri"], "metrics.json"), encoding="utf-8"
        ) as stream:
            test = json.load(stream)["splits"]["test"]["overall"]
        facts |= {"auc": test["auc"]["value"], "accuracy": test["accuracy"]["value"], "rows": test["rows"]}


def main() -> None:
    """Prints both, and the two ratios that matter."""
    shutil.rmtree(ROOT, ignore_errors=True)
    os.makedirs(ROOT)
    theirs = run_once(MODULE, ("stock",))
    judged = run_once(MODULE, ("stock_auc",))
    run_once(MODULE, ("divide",))
    whole = {
        "TFX's example": Measurement(theirs.total_wall, theirs.cpu, theirs.peak_mb, theirs.total_wall, judged.facts)
    }
    for family in FAMILIES:
        configuration(family)
        ours = run_once(MODULE, ("braid", family))
        whole[f"braid run, {family}"] = Measurement(ours.wall, ours.cpu, ours.peak_mb, ours.total_wall, ours.facts)
    table("The taxi pipeline end to end, whole processes", whole, "TFX's example")
    for name, run in whole.items():
        auc, accuracy, rows = (run.facts[key] for key in ("auc", "accuracy", "rows"))
        print(f"{name}: AUC {auc:.4f}, accuracy {accuracy:.4f} on the same {rows:,} test rows")
    shutil.rmtree(ROOT, ignore_errors=True)


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {
        "stock": stock,
        "stock_auc": stock_auc,
        "divide": divide,
        "braid": braid,
    }
    commands[sys.argv[1]](*sys.argv[2:])
