import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from beam_jobs.table import read_batches
from components import feature_tensors
from components.errors import StepError
from components.keras_scoring import EXAMPLES, PREDICTIONS, SERVING, KerasScorer, signature_names
from components.keras_trainer.training import TrainingConfig
from components.model_contract import Feature, ModelContract
from components.scoring import load_scorer
from tests.components import keras_factory
from tests.components.keras_factory import importances

QUANTITIES = ("day", "hour", "seats", "seats_missing", "weekend", "wind")
"""What the transform makes of the columns, but for the ids."""


@pytest.fixture(scope="module")
def model() -> KerasScorer:
    loaded = load_scorer(keras_factory.flights_model())
    assert isinstance(loaded, KerasScorer)
    return loaded


@pytest.fixture(scope="module")
def rows(model: KerasScorer) -> pa.RecordBatch:
    """10,000 rows with missing values in every column, categories that training never saw, and dates far off."""
    batches = list(read_batches(keras_factory.flights().table, "test", model.columns))
    (batch,) = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()
    assert batch.num_rows == 10_000
    for name in keras_factory.KEPT:
        assert batch.column(name).null_count > 500
    return batch


def serialized(row: dict[str, object], features: tuple[Feature, ...]) -> bytes:
    """A row as a client of TensorFlow Serving would write it: what is missing is left out."""
    found = {}
    for feature in features:
        value = row[feature.name]
        if value is None:
            continue
        if isinstance(value, str):
            found[feature.name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        else:
            number = (value.toordinal() - 719_163) if feature.kind == "time" else float(value)
            found[feature.name] = tf.train.Feature(float_list=tf.train.FloatList(value=[number]))
    return tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString()


def test_batches_and_both_signatures_agree_row_by_row(model: KerasScorer, rows: pa.RecordBatch) -> None:
    scores = model.predict(rows)
    assert scores.dtype == np.float32
    assert len(np.unique(scores)) > 5_000
    arrays = feature_tensors.arrays(rows, model.contract.features)
    raw = model.model.signatures[SERVING](**{name: tf.constant(values) for name, values in arrays.items()})
    np.testing.assert_allclose(raw[PREDICTIONS], scores, atol=1e-6)
    records = [serialized(row, model.contract.features) for row in rows.to_pylist()]
    parsed = model.model.signatures[EXAMPLES](examples=tf.constant(records))
    np.testing.assert_allclose(parsed[PREDICTIONS], scores, atol=1e-6)
    for place in range(0, 10_000, 50):
        one = model.predict(rows.slice(place, 1))
        alone = model.model.signatures[EXAMPLES](examples=tf.constant(records[place : place + 1]))[PREDICTIONS].numpy()
        assert one.shape == alone.shape == (1,)
        assert abs(one[0] - scores[place]) < 1e-6
        assert abs(alone[0] - scores[place]) < 1e-6


def test_what_is_served_is_what_was_trained_and_transformed(model: KerasScorer, rows: pa.RecordBatch) -> None:
    """The numbers by hand: tensorflow-transform's own function, then the weights of the SavedModel in NumPy."""
    import tensorflow_transform as tft

    made = keras_factory.flights()
    layer = tft.TFTransformOutput(made.transform).transform_features_layer()
    arrays = feature_tensors.arrays(rows, model.contract.features)
    given = {name: tensor.numpy() for name, tensor in layer({n: tf.constant(v) for n, v in arrays.items()}).items()}
    weights = {variable.name.rpartition(":")[0]: variable.numpy() for variable in model.model.model}
    ids, quantities = ("carrier", "wind_bucket"), np.stack([given[n] for n in sorted(given) if n in QUANTITIES], axis=1)
    embeddings = [weights.pop(name) for name in list(weights) if name.endswith("/embeddings")]
    embedded, wide = embeddings[:2], embeddings[2:]
    assert sorted(given) == sorted((*ids, *QUANTITIES))
    width = len(QUANTITIES)
    (hidden_kernel,) = (w for w in weights.values() if w.shape == (width + sum(e.shape[1] for e in embedded), 16))
    (hidden_bias,) = (w for w in weights.values() if w.shape == (16,))
    (last_kernel,) = (w for w in weights.values() if w.shape == (16, 1))
    (last_bias,) = (w for w in weights.values() if w.shape == (1,))
    (wide_kernel,) = (w for w in weights.values() if w.shape == (width, 1))
    vectors = [table[given[name]] for table, name in zip(embedded, ids, strict=True)]
    deep = np.maximum(np.hstack([quantities, *vectors]) @ hidden_kernel + hidden_bias, 0)
    margin = deep @ last_kernel + last_bias + quantities @ wide_kernel
    margin += sum(table[given[name]] for table, name in zip(wide, ids, strict=True))
    np.testing.assert_allclose(model.predict(rows), 1 / (1 + np.exp(-margin[:, 0])), atol=2e-6)


def test_contributions_sum_to_the_margin(model: KerasScorer, rows: pa.RecordBatch) -> None:
    values, scores = model.contributions(rows), model.predict(rows).astype(np.float64)
    assert values.shape == (10_000, 7)
    np.testing.assert_allclose(values.sum(axis=1), np.log(scores / (1 - scores)), atol=1e-4)
    assert len(np.unique(values[:, -1])) == 1
    np.testing.assert_allclose(values[50:60], model.contributions(rows.slice(50, 10)), atol=1e-5)
    sizes = dict(zip(model.contract.names, np.abs(values[:, :-1]).mean(axis=0), strict=True))
    assert min(sizes["wind"], sizes["hour"], sizes["carrier"]) > 2 * max(sizes["weekend"], sizes["seats"])
    carriers = rows.column("carrier").dictionary_decode().to_pylist()
    of_carrier = values[:, model.contract.names.index("carrier")]
    late = np.array([carrier == "EV" for carrier in carriers])
    assert of_carrier[late].mean() > of_carrier[~late].mean() + 0.5


def test_a_linear_model_contributes_what_its_weights_say(tmp_path: Path) -> None:
    """Slope times the distance from the mean: the closed form of integrated gradients, whatever the path."""
    rng = np.random.default_rng(5)

    def table(rows: int) -> pa.Table:
        a, b = rng.normal(3, 2, rows), rng.normal(-1, 1, rows)
        return pa.table({"trip miles (km)": a, "1b": b, "price": 2 * a - 3 * b + 10})

    of = importances(["trip miles (km)", "1b"], "price", "regression")
    made = keras_factory.prepared("line", {"train": table(4_000), "eval": table(500)}, of)
    learning = {"hidden": [], "wide": False, "learning_rate": 0.05, "batch_rows": 200}
    report = made.train(tmp_path, TrainingConfig(epochs=12, parameters=learning))
    assert report.score < 0.05
    model = load_scorer(str(tmp_path))
    batch = next(read_batches(made.table, "eval", model.columns))
    values = model.contributions(batch)
    train = pa.Table.from_batches(read_batches(made.table, "train", model.columns)).to_pandas()
    a, b = (batch.column(name).to_numpy() for name in ("trip miles (km)", "1b"))
    np.testing.assert_allclose(values[:, 0], 2 * (a - train["trip miles (km)"].mean()), atol=0.05)
    np.testing.assert_allclose(values[:, 1], -3 * (b - train["1b"].mean()), atol=0.05)
    np.testing.assert_allclose(values[:, 2], train["price"].mean(), atol=0.05)
    np.testing.assert_allclose(values.sum(axis=1), model.predict(batch), atol=1e-4)
    signature = tf.saved_model.load(str(tmp_path)).signatures[SERVING]
    assert set(signature.structured_input_signature[1]) == {"trip_miles__km_", "f1b"}


def test_a_multiclass_model_explains_each_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)

    def table(rows: int) -> pa.Table:
        x, y = rng.normal(size=rows), rng.normal(size=rows)
        return pa.table({"x": x, "y": y, "sort": np.where(x > 0.5, "a", np.where(y > 0, "b", "c"))})

    of = importances(["x", "y"], "sort", "multiclass", ("a", "b", "c"))
    made = keras_factory.prepared("classes", {"train": table(2_000), "eval": table(300)}, of)
    made.train(tmp_path, TrainingConfig(epochs=4, parameters={"hidden": [8], "learning_rate": 0.02, "batch_rows": 100}))
    model = load_scorer(str(tmp_path))
    batch = next(read_batches(made.table, "eval", model.columns))
    values, scores = model.contributions(batch), model.predict(batch)
    assert (values.shape, scores.shape) == ((150, 3, 3), (150, 3))
    margins = values.sum(axis=2)
    np.testing.assert_allclose(np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True), scores, atol=1e-4)
    above = batch.column("x").to_numpy() > 0.5
    assert values[above, 0, 0].mean() > values[~above, 0, 0].mean() + 0.5


def test_threads_share_a_scorer(model: KerasScorer, rows: pa.RecordBatch) -> None:
    whole, together = model.predict(rows), threading.Barrier(4)

    def score(start: int) -> np.ndarray:
        together.wait()
        return model.predict(rows.slice(start, 2_500))

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(score, range(0, 10_000, 2_500)))
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_no_rows_are_no_mistake(model: KerasScorer, rows: pa.RecordBatch) -> None:
    assert model.predict(rows.slice(0, 0)).shape == (0,)
    assert model.contributions(rows.slice(0, 0)).shape == (0, 7)


def test_a_table_that_lacks_a_column_or_has_it_in_another_kind_is_told(
    model: KerasScorer, rows: pa.RecordBatch
) -> None:
    with pytest.raises(StepError, match="lacks the model's column 'wind'"):
        model.predict(rows.drop_columns(["wind"]))
    texts = rows.set_column(0, "wind", pa.array(["strong"] * rows.num_rows))
    with pytest.raises(StepError, match="Column 'wind' is of type string"):
        model.predict(texts)


def test_a_folder_without_its_saved_model_or_with_a_damaged_one_is_told(tmp_path: Path) -> None:
    contract = ModelContract.load(keras_factory.flights_model())
    contract.save(str(tmp_path))
    with pytest.raises(StepError, match=r"holds no model: 'saved_model.pb' is missing"):
        load_scorer(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"not one")
    with pytest.raises(StepError, match="holds a SavedModel that cannot be loaded"):
        load_scorer(str(tmp_path))


def test_each_column_has_an_input_of_its_own_in_the_signatures() -> None:
    names = ["a", "A", "a b", "a_b", "self", "é", "_x", "9", "Plain"]
    found = signature_names([Feature(name, "numeric", "double") for name in names])
    assert found["a"] == "a"
    assert (found["a_b"], found["a b"]) == ("a_b", "a_b_1")
    assert (found["A"], found["self"], found["Plain"], found["9"]) == ("A_1", "self_1", "Plain", "f9")
    assert len({name.lower() for name in found.values()}) == len(names)
