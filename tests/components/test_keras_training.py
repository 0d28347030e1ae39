import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from ml_metadata.metadata_store import metadata_store
from sklearn.metrics import roc_auc_score
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from beam_jobs import progress
from beam_jobs.table import Table, read_batches
from components.artifacts import FeatureImportances
from components.errors import DivergedError, StepError
from components.keras_trainer.checkpoints import Checkpoints
from components.keras_trainer.component import KerasTrainer
from components.keras_trainer.training import TrainingConfig, TrainingReport, train_on
from components.keras_trainer.training_data import TrainingData
from components.model_contract import ModelContract
from components.pruning import PrunedError
from components.scoring import Scorer, load_scorer
from tests.components import keras_factory
from tests.components.examples_factory import flights_like
from tests.components.keras_factory import KEPT, QUICK, importances


def predictions(table: Table, split: str, model: Scorer) -> tuple[np.ndarray, np.ndarray]:
    batches = list(read_batches(table, split, model.columns))
    return np.concatenate([model.predict(b) for b in batches]), np.concatenate([model.labels(b) for b in batches])


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The numbers of a SavedModel, by their names in it."""
    reader = tf.train.load_checkpoint(str(folder / "variables/variables"))
    names = (name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE"))
    return {name: reader.get_tensor(name) for name in names}


def assert_same_weights(one: Path, other: Path) -> None:
    """To 1e-6: on a CPU even the bits are the same mostly, but several threads may sum in another order."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert len(first) > 4
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, atol=1e-6, err_msg=name)


def test_a_binary_model_learns_stops_early_and_predicts_probabilities(tmp_path: Path) -> None:
    made, notes = keras_factory.flights(), list[str]()
    config = dataclasses.replace(QUICK, epochs=40, early_stopping_epochs=2)
    with progress.listening(lambda step: notes.append(step.note)):
        report = made.train(tmp_path / "model", config, logs=str(tmp_path / "logs"))
    scores, labels = predictions(made.table, "eval", load_scorer(str(tmp_path / "model")))
    assert scores.shape == (2_000,)
    assert roc_auc_score(labels, scores) > 0.7
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.05)
    assert report.epochs == report.best_epoch + 2 < 40
    assert report.score == min(report.history)
    assert (report.train.labelled, report.eval.labelled, report.steps) == (6_000, 2_000, 24 * report.epochs)
    rows = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    log_loss = -np.mean(labels * np.log(rows) + (1 - labels) * np.log(1 - rows))
    assert log_loss == pytest.approx(report.score, abs=1e-6)  # of the best epoch's weights, not the last one's
    assert any(note.startswith("epoch 1 of at most 40, loss 0.") and "s left" in note for note in notes)
    assert [path.name.startswith("events") for path in (tmp_path / "logs").iterdir()] == [True]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "assets",
        "contract.json",
        "fingerprint.pb",
        "saved_model.pb",
        "variables",
    ]


@dataclasses.dataclass(frozen=True)
class Whole:
    """A training that nothing stopped."""

    folder: Path
    report: TrainingReport


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(folder, keras_factory.flights().train(folder))


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path, whole: Whole) -> None:
    keras_factory.flights().train(tmp_path)
    assert_same_weights(tmp_path, whole.folder)
    told: list[float] = []
    with pytest.raises(PrunedError):
        other = dataclasses.replace(QUICK, seed=1)
        keras_factory.flights().train(tmp_path / "other", other, report=lambda _, score: not told.append(score))
    assert abs(told[0] - whole.report.history[0]) > 1e-4


class Stopped(BaseException):
    """What ends a training from outside."""


def stops_after(epoch: int):
    def report(done: int, score: float) -> bool:
        if done == epoch:
            raise Stopped
        return False

    return report


KILLED = """
import os, signal, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
from beam_jobs.table import Table
from components.keras_trainer import checkpoints
from components.keras_trainer.training import train
from tests.components.keras_factory import LATE, QUICK
table, transform, folder = sys.argv[1:]
write = checkpoints.storage.write_text
def killed(path, text):  # in the middle of writing the second checkpoint
    if "epoch-000002" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, text)
checkpoints.storage.write_text = killed
train(Table.load(table), LATE, transform, QUICK, folder + "/model", checkpoints=folder + "/checkpoints")
"""


def test_a_training_that_was_killed_and_stopped_goes_on_to_the_same_model(tmp_path: Path, whole: Whole) -> None:
    made, folder = keras_factory.flights(), str(tmp_path / "checkpoints")
    arguments = [sys.executable, "-W", "ignore", "-c", KILLED, made.table.root, made.transform, str(tmp_path)]
    root = Path(__file__).parents[2]
    killed = subprocess.run(arguments, cwd=root, env={**os.environ, "PYTHONPATH": f"{root}:{root}/tests"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(os.listdir(folder)) == ["epoch-000001", "epoch-000002"]
    assert Checkpoints(folder).latest() == f"{folder}/epoch-000001"  # the other one is not whole
    with pytest.raises(Stopped):
        made.train(tmp_path / "model", checkpoints=folder, report=stops_after(2))
    assert os.listdir(folder) == ["epoch-000003"]
    assert not (tmp_path / "model").exists()
    notes: list[str] = []
    with progress.listening(lambda step: notes.append(step.note)):
        report = made.train(tmp_path / "model", checkpoints=folder)
    assert "goes on after epoch 3, from the checkpoint of an earlier execution" in notes
    assert (report.resumed_epochs, report.epochs, report.steps) == (3, whole.report.epochs, whole.report.steps)
    np.testing.assert_allclose(report.history, whole.report.history, atol=1e-6)
    assert_same_weights(tmp_path / "model", whole.folder)
    assert not Path(folder).exists()


@pytest.mark.parametrize("memory", ["memory", "streamed"])
def test_the_optimizer_goes_on_where_it_was(tmp_path: Path, memory: str) -> None:
    """All of the state at the end of the third epoch, with a stop after the first and without one."""
    made, config = keras_factory.flights(), dataclasses.replace(QUICK, memory=memory)
    for name, stops in (("straight", (2,)), ("halting", (0, 2))):
        for epoch in stops:
            with pytest.raises(Stopped):
                made.train(tmp_path / "m", config, checkpoints=str(tmp_path / name), report=stops_after(epoch))
    read = [tf.train.load_checkpoint(f"{tmp_path}/{name}/epoch-000003/state") for name in ("straight", "halting")]
    names = [name for name in read[0].get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    assert len([name for name in names if "optimizer" in name]) > 8
    assert read[0].get_tensor("optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE") == 72
    for name in names:
        np.testing.assert_allclose(read[0].get_tensor(name), read[1].get_tensor(name), atol=1e-6, err_msg=name)


def test_a_loss_that_is_no_number_ends_the_training_and_nothing_is_written(tmp_path: Path) -> None:
    config = dataclasses.replace(QUICK, parameters={"learning_rate": 1e38})
    with pytest.raises(DivergedError, match=r"loss became (nan|inf) in epoch 1; no model was written") as caught:
        keras_factory.flights().train(tmp_path / "model", config, checkpoints=str(tmp_path / "checkpoints"))
    assert "Lower 'learning_rate'" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_inputs_that_are_no_numbers_are_named_as_the_cause(tmp_path: Path) -> None:
    made = keras_factory.flights()
    module = tmp_path / "raw.py"
    module.write_text("def preprocessing_fn(inputs):\n    return {name: inputs[name] for name in ('seats', 'wind')}\n")
    of = importances(["wind", "seats"], "late", "binary", (False, True))
    transform = keras_factory.write_transform(tmp_path / "transform", made.table, of, str(module))
    with pytest.raises(DivergedError) as caught:
        dataclasses.replace(made, transform=transform, importances=of).train(tmp_path / "model")
    assert "not finite: 'seats' (" in caught.value.hint
    assert not (tmp_path / "model").exists()


def test_a_training_that_is_not_worth_going_on_ends(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []

    def prune(epoch: int, score: float) -> bool:
        told.append((epoch, score))
        return epoch == 1

    with pytest.raises(PrunedError):
        keras_factory.flights().train(tmp_path / "model", report=prune)
    assert [epoch for epoch, _ in told] == [0, 1]
    assert not (tmp_path / "model").exists()


def test_trials_share_the_rows_that_were_read_once_and_write_nothing(whole: Whole) -> None:
    made = keras_factory.flights()
    data = TrainingData.read(made.table, made.importances, made.transform, "memory")
    narrow = QUICK.with_parameters({"hidden": [2]})
    reports = [train_on(data, config, "") for config in (dataclasses.replace(narrow, epochs=1), QUICK)]
    assert reports[0].weights < reports[1].weights == whole.report.weights
    np.testing.assert_allclose(reports[1].history, whole.report.history, atol=1e-6)


def test_a_multiclass_model_and_a_regression_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def rows(count: int) -> pa.Table:
        word, x = rng.choice(["p", "q", "r"], count), rng.normal(size=count)
        sort = np.where(word == "p", "low", np.where(x > 0, "middle", "high"))
        price = 5_000 + 1_000 * x + np.where(word == "q", 2_000, 0)
        return pa.table({"word": word, "x": x, "sort": sort, "price": price})

    splits = {"train": rows(3_000), "eval": rows(1_000)}
    config = dataclasses.replace(QUICK, epochs=12)
    of = importances(["word", "x"], "sort", "multiclass", ("high", "low", "middle"))
    made = keras_factory.prepared("sorts", splits, of)
    report = made.train(tmp_path / "sorts", config)
    scores, labels = predictions(made.table, "eval", load_scorer(str(tmp_path / "sorts")))
    assert scores.shape == (1_000, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores.argmax(axis=1) == labels).mean() > 0.97
    assert report.metric == "mlogloss"
    priced = dataclasses.replace(made, importances=importances(["word", "x"], "price", "regression"))
    report = priced.train(tmp_path / "prices", config)
    values, labels = predictions(made.table, "eval", load_scorer(str(tmp_path / "prices")))
    assert values.shape == (1_000,)
    assert np.sqrt(np.mean((values - labels) ** 2)) == pytest.approx(report.score, rel=1e-4)
    assert report.score < 0.1 * labels.std()


USERS = """
import tensorflow as tf

def build_model(tf_transform_output, task, classes, parameters):
    spec = tf_transform_output.transformed_feature_spec()
    inputs = {name: tf.keras.Input(shape=one.shape, dtype=one.dtype) for name, one in spec.items()}
    ids = {name: tensor for name, tensor in inputs.items() if tensor.dtype == "int64"}
    sizes = {name: tf_transform_output.num_buckets_for_transformed_feature(name) for name in ids}
    deep = tf.keras.layers.Concatenate()([
        *(tf.keras.layers.Embedding(sizes[name], 3)(tensor) for name, tensor in ids.items()),
        *(tf.keras.layers.Reshape((1,))(tensor) for name, tensor in inputs.items() if name not in ids),
    ])
    deep = tf.keras.layers.Dropout(0.1)(tf.keras.layers.Dense(parameters["units"], "relu")(deep))
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(END)(deep))
    COMPILE
    return model
"""


def users(folder: Path, text: str) -> TrainingConfig:
    (folder / "mine.py").write_text(text)
    return dataclasses.replace(
        QUICK, module=str(folder / "mine.py"), parameters={"units": 8, "batch_rows": 256}, epochs=2
    )


def test_a_users_own_model_trains_with_its_own_optimizer(tmp_path: Path) -> None:
    compiled = "model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), tf.keras.losses.BinaryCrossentropy(from_logits=True))"
    made, config = keras_factory.flights(), users(tmp_path, USERS.replace("END", "1").replace("COMPILE", compiled))
    report = made.train(tmp_path / "model", config)
    assert (report.epochs, report.steps) == (2, 48)
    model = load_scorer(str(tmp_path / "model"))
    scores, labels = predictions(made.table, "eval", model)
    assert roc_auc_score(labels, scores) > 0.65
    batch = next(read_batches(made.table, "test", model.columns))
    margin = np.log(model.predict(batch) / (1 - model.predict(batch)))
    np.testing.assert_allclose(model.contributions(batch).sum(axis=1), margin, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        (USERS.replace("END", "2"), r"answers float32 of the shape \(rows, 2\).*'binary' needs float32 of \(rows,\) or \(rows, 1\)", "Dense(1)"),
        (USERS.replace("END", "1, 'sigmoid'"), "ends in a sigmoid", "Leave the last activation out"),
        (
            USERS.replace("END", "1").replace("COMPILE", "model.compile('adam', 'binary_crossentropy')"),
            "compiled the model with the loss 'binary_crossentropy' of probabilities",
            "from_logits=True",
        ),
        ("def build_model(*arguments):\n    return 3\n", "returned a builtins.int", "Return a tf.keras.Model"),
        ("def build_model(*arguments):\n    pass\n", "returned None", "Return a tf.keras.Model"),
        ("def build_model(*arguments):\n    return arguments[3]['unit']\n", "line 2.*KeyError: 'unit'", "Mend the function"),
        ("def build_modell(*arguments):\n    pass\n", "has no function 'build_model'. Did you mean 'build_modell'", ""),
        ("import no_such_library\n", "No module named 'no_such_library'", "Install"),
        (
            "import tensorflow as tf\ndef build_model(*arguments):\n"
            "    one = tf.keras.Input(shape=(1,), name='wins')\n"
            "    return tf.keras.Model({'wins': one}, tf.keras.layers.Dense(1)(one))\n",
            "fails on the transform's outputs.*wins",
            "named as preprocessing_fn names them",
        ),
    ],
)  # fmt: skip
def test_a_users_model_that_does_not_fit_is_told_before_training(
    tmp_path: Path, text: str, told: str, hint: str
) -> None:
    config = users(tmp_path, text.replace("COMPILE", "pass"))
    with pytest.raises(StepError, match=rf"(?s)mine\.py'.*{told}") as caught:
        keras_factory.flights().train(tmp_path / "model", config)
    assert hint in caught.value.hint
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": {"hiden": [8]}}, "no parameter 'hiden'. Did you mean 'hidden'"),
        ({"parameters": {"hidden": 8}}, "'hidden' must be a list of units"),
        ({"parameters": {"dropout": 1.5}}, "'dropout' must be at least 0 and below 1"),
        ({"parameters": {"batch_rows": 0}}, "'batch_rows' must be a whole number of rows, not 0"),
        ({"parameters": {"learning_rate": "fast"}}, "'learning_rate' must be a number above 0, not 'fast'"),
        ({"device": "cuda"}, "finds no CUDA device"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(tmp_path: Path, change: dict, told: str) -> None:
    if change == {"device": "cuda"} and tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a CUDA device")
    with pytest.raises(StepError, match=told):
        keras_factory.flights().train(tmp_path / "model", dataclasses.replace(QUICK, **change))
    assert not (tmp_path / "model").exists()


def test_settings_that_no_training_can_have_are_refused() -> None:
    with pytest.raises(StepError, match="epochs is 0; 1 is the least"):
        TrainingConfig(epochs=0)
    with pytest.raises(StepError, match="device is 'gpu'"):
        TrainingConfig(device="gpu")


def test_the_component_runs_in_tfx_and_records_what_came_of_the_training(tmp_path: Path) -> None:
    made = keras_factory.flights()
    made.importances.save(str(tmp_path / "importances"))
    (tmp_path / "tuned").mkdir()
    tuned = {"family": "keras", "parameters": {"hidden": [4]}, "metric": "logloss", "value": 0.5, "trial": 0}
    (tmp_path / "tuned/hyperparameters.json").write_text(json.dumps(tuned))
    inputs = {
        "examples": (made.table.root, standard_artifacts.Examples),
        "importances": (str(tmp_path / "importances"), FeatureImportances),
        "graph": (made.transform, standard_artifacts.TransformGraph),
        "tuned": (str(tmp_path / "tuned"), standard_artifacts.HyperParameters),
    }
    nodes = {name: Importer(uri, kind).with_id(name) for name, (uri, kind) in inputs.items()}
    settings = {"name": "net", "epochs": 2, "threads": 2, "parameters": {"hidden": [64], "batch_rows": 512}}
    trainer = KerasTrainer(
        nodes["examples"].outputs["result"],
        nodes["importances"].outputs["result"],
        nodes["graph"].outputs["result"],
        json.dumps(settings),
        hyperparameters=nodes["tuned"].outputs["result"],
    )
    store_at = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    steps = [*nodes.values(), trainer]
    LocalDagRunner().run(
        Pipeline("keras", str(tmp_path / "root"), components=steps, metadata_connection_config=store_at)
    )
    store = metadata_store.MetadataStore(store_at)
    (model,) = store.get_artifacts_by_type("Model")
    told = {name: getattr(v, str(v.WhichOneof("value"))) for name, v in model.custom_properties.items()}
    assert (told["model_name"], told["task"], told["epochs"], told["steps"], told["device"]) == (
        "net",
        "binary",
        2,
        24,
        "cpu",
    )
    assert json.loads(told["params"])["hidden"] == [4]
    assert (told["train_rows"], told["eval_rows"], told["train_label_missing"]) == (6_000, 2_000, 0)
    assert 0 < told["eval_score"] < 0.7
    (run,) = store.get_artifacts_by_type("ModelRun")
    assert any(path.name.startswith("events.out.tfevents") for path in Path(run.uri).iterdir())
    assert ModelContract.load(model.uri).names == tuple(KEPT)
    assert '"net"' not in (Path(model.uri) / "contract.json").read_text()
    assert not (Path(model.uri).parents[1] / ".resume").exists()
    assert len(load_scorer(model.uri).predict(flights_like(5).to_batches()[0])) == 5
