"""The Transform in TFX's own launcher with a real store, and what its graph computes."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_metadata.metadata_store import metadata_store
from scipy import stats
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from beam_jobs.folder_digest import folder_digest
from components import encoding, feature_tensors
from components.artifacts import FeatureImportances
from components.errors import StepError
from components.importances import FeatureImportance, Importances
from components.step_config import parse
from components.transform.columns import SAMPLE_ROWS, TransformConfig, sample, skewness
from components.transform.component import Transform
from components.user_module import read_function
from tests.components.examples_factory import flights_like, write_examples

KEPT = ["wind", "hour", "carrier", "seats", "day", "weekend", "tail", "engine"]
VOCABULARY, BUCKETS = 50, 5
SCHEMA = 'feature {{ name: "hour" type: INT int_domain {{ is_categorical: {} }} }}'
IDS = ("carrier", "tail", "engine", "wind_bucket")
ARGUMENTS = ["--runner=FnApiRunner", "--sdk_container_image=none", "--direct_running_mode=multi_threading"]


def rows(count: int, seed: int) -> pa.Table:
    """Flights with missing values of each kind, and a value that a vocabulary file cannot hold."""
    table = flights_like(count, seed)
    rng = np.random.default_rng(seed)
    engine = [None if n % 7 == 0 else ["jet", "prop", "", "two\nlines"][n % 4] for n in range(count)]
    weekend = pa.array([None if n % 11 == 0 else bool(n % 3) for n in rng.permutation(count)], pa.bool_())
    places = table.schema.get_field_index("weekend")
    return table.set_column(places, "weekend", weekend).append_column("engine", pa.array(engine))


def importances(kept: list[str]) -> Importances:
    features = tuple(FeatureImportance(name, 0.1, 0, 0, rank, True, "") for rank, name in enumerate(kept, 1))
    return Importances("late", "binary", (False, True), features)


def run(
    folder: Path, config: dict[str, Any], workers: int = 2, categorical: str = "false"
) -> metadata_store.MetadataStore:
    if not (folder / "examples").exists():
        write_examples(folder / "examples", {"train": rows(3_000, 1), "eval": rows(200, 2)})
        importances(KEPT).save(str(folder / "importances"))
        (folder / "schema").mkdir()
        (folder / "schema/schema.pbtxt").write_text(SCHEMA.format(categorical))
    inputs = [
        Importer(str(folder / name), kind).with_id(name)
        for name, kind in (
            ("examples", standard_artifacts.Examples),
            ("importances", FeatureImportances),
            ("schema", standard_artifacts.Schema),
        )
    ]
    transform = Transform(*(one.outputs["result"] for one in inputs), json.dumps(config))
    store = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    LocalDagRunner().run(
        Pipeline(
            "transform",
            str(folder / "root"),
            components=[*inputs, transform],
            metadata_connection_config=store,
            beam_pipeline_args=[*ARGUMENTS, f"--direct_num_workers={workers}"],
        )
    )
    return metadata_store.MetadataStore(store)


def graphs(store: metadata_store.MetadataStore) -> list[Any]:
    return sorted(store.get_artifacts_by_type("TransformGraph"), key=lambda one: one.id)


def transformed(uri: str, table: pa.Table, names: list[str]) -> tuple[dict[str, np.ndarray], Any]:
    import tensorflow as tf
    import tensorflow_transform as tft

    features = encoding.features_of(table.schema, names, {})
    raw = feature_tensors.arrays(table, features)
    output = tft.TFTransformOutput(uri)
    inputs = {name: tf.constant(values.tolist() if values.dtype == object else values) for name, values in raw.items()}
    return {name: one.numpy() for name, one in output.transform_raw_features(inputs).items()}, output


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[metadata_store.MetadataStore, Path]:
    folder = tmp_path_factory.mktemp("analysed")
    return run(folder, {"vocabulary": VOCABULARY, "buckets": BUCKETS, "oov_buckets": 2}), folder


def test_the_graph_computes_what_numpy_does(analysed: tuple[metadata_store.MetadataStore, Path]) -> None:
    train, held_out = rows(3_000, 1), rows(200, 2)
    (graph,) = graphs(analysed[0])
    found, _ = transformed(graph.uri, held_out, KEPT)
    features = {feature.name: feature for feature in encoding.features_of(train.schema, KEPT, {})}
    for name in ("wind", "hour", "seats", "day"):
        known, values = (
            encoding.encode(table.column(name), features[name]).astype(float) for table in (train, held_out)
        )
        z = (values - np.nanmean(known)) / np.nanstd(known)
        np.testing.assert_allclose(found[name], np.nan_to_num(z), rtol=2e-4, atol=2e-5)
    weekend = encoding.encode(held_out.column("weekend"), features["weekend"])
    np.testing.assert_array_equal(found["weekend"], np.nan_to_num(weekend))
    np.testing.assert_array_equal(found["weekend_missing"], np.isnan(weekend).astype(np.float32))
    seats = encoding.encode(held_out.column("seats"), features["seats"])
    np.testing.assert_array_equal(found["seats_missing"], np.isnan(seats).astype(np.float32))
    assert set(found) == {*KEPT, "seats_missing", "weekend_missing", "wind_bucket"}
    assert {str(values.dtype) for name, values in found.items() if name not in IDS} == {"float32"}


def test_ids_are_places_in_the_vocabulary_and_their_domain_is_told(
    analysed: tuple[metadata_store.MetadataStore, Path],
) -> None:
    train, held_out = rows(3_000, 1), rows(200, 2)
    found, output = transformed(graphs(analysed[0])[0].uri, held_out, KEPT)
    domains = output.transformed_domains()
    for name, size in (("carrier", 5), ("engine", 3), ("tail", VOCABULARY)):
        words = [word or "(missing)" for word in train.column(name).to_pylist()]
        counts = Counter(word for word in words if "\n" not in word)
        ordered = sorted(counts, key=lambda word: (counts[word], word), reverse=True)[:VOCABULARY]
        assert len(ordered) == size
        places = {word: place for place, word in enumerate(ordered)}
        ids = found[name]
        assert ids.dtype == np.int64
        assert (domains[name].min, domains[name].max) == (0, size + 1)  # two ids for what is not in it
        for word, number in zip(held_out.column(name).to_pylist(), ids, strict=True):
            assert number == places.get(word or "(missing)", number if number in (size, size + 1) else -1)
    wind = np.asarray(held_out.column("wind"))
    edges = np.quantile(np.asarray(train.column("wind")), np.arange(1, BUCKETS) / BUCKETS)
    exact = np.searchsorted(edges, wind, side="right")
    assert (domains["wind_bucket"].min, domains["wind_bucket"].max) == (0, BUCKETS - 1)
    assert np.abs(found["wind_bucket"] - exact).max() <= 1
    assert (found["wind_bucket"] == exact).mean() > 0.97


def test_what_is_recorded_and_what_others_read(analysed: tuple[metadata_store.MetadataStore, Path]) -> None:
    import tensorflow as tf
    import tensorflow_transform as tft

    store, folder = analysed
    (graph,) = graphs(store)
    assert graph.custom_properties["rows"].int_value == 3_000
    assert graph.custom_properties["columns"].int_value == len(KEPT)
    (execution,) = [one for one in store.get_executions() if "io_sources" in one.custom_properties]
    sources = json.loads(execution.custom_properties["io_sources"].string_value)
    assert sources == [str(folder / f"examples/Split-train/part-00000{n}.parquet") for n in (0, 1)]
    counters = json.loads(execution.custom_properties["counters"].string_value)
    assert (counters["transform.read"], counters["transform.chunks"]) == (3_000, 2)
    assert sorted(path.name for path in Path(graph.uri).iterdir()) == [
        "metadata",
        "transform_fn",
        "transformed_metadata",
    ]
    spec = tft.TFTransformOutput(graph.uri).raw_feature_spec()
    features = encoding.features_of(rows(9, 0).schema, KEPT, {})
    assert {name: (one.dtype, one.shape) for name, one in spec.items()} == {
        feature.name: (tf.string if feature_tensors.is_text(feature) else tf.float32, []) for feature in features
    }
    empty = tf.io.parse_example(tf.constant([tf.train.Example().SerializeToString()]), spec)
    assert empty["carrier"].numpy().tolist() == [b""]
    assert np.isnan(empty["wind"].numpy()).all()


def test_two_analyses_write_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for workers in (1, 2):
        store = run(tmp_path, {"vocabulary": 20}, workers)
        digests.add(folder_digest(graphs(store)[-1].uri))
    assert len(digests) == 1


def test_tensorflow_transforms_own_steps_write_the_same_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analysed: tuple[metadata_store.MetadataStore, Path]
) -> None:
    from components.transform import analysis_job

    monkeypatch.setattr(analysis_job, "analyzers_of", lambda *_: None)
    store = run(tmp_path, {"vocabulary": VOCABULARY, "buckets": BUCKETS, "oov_buckets": 2})
    assert folder_digest(graphs(store)[0].uri) == folder_digest(graphs(analysed[0])[0].uri)


TWO_PASSES = """
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    share = inputs["wind"] / tft.max(inputs["wind"])
    by_carrier = tft.scale_to_z_score_per_key(inputs["wind"], inputs["carrier"])
    return {"square": share / tft.mean(share), "by_carrier": by_carrier}
"""


def test_a_function_that_needs_two_passes_gets_them(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(TWO_PASSES)
    store = run(tmp_path, {"module": str(tmp_path / "own.py"), "module_digest": "1"})
    train, held_out = rows(3_000, 1), rows(200, 2)
    found, _ = transformed(graphs(store)[0].uri, held_out, KEPT)
    wind = np.asarray(held_out.column("wind"))
    np.testing.assert_allclose(found["square"], wind / np.asarray(train.column("wind")).mean(), rtol=1e-4)
    known = train.group_by("carrier").aggregate([("wind", "mean"), ("wind", "stddev")]).to_pylist()
    scales = {one["carrier"]: (one["wind_mean"], one["wind_stddev"]) for one in known}
    z = [(w - scales[c][0]) / scales[c][1] for w, c in zip(wind, held_out.column("carrier").to_pylist(), strict=True)]
    np.testing.assert_allclose(found["by_carrier"], z, rtol=1e-3, atol=1e-4)


TABLE = """
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    words = tf.lookup.KeyValueTensorInitializer(["UA", "AA"], [2.0, 3.0])
    weight = tf.lookup.StaticHashTable(words, 1.0).lookup(inputs["carrier"])
    return {"weight": weight / tft.max(weight)}
"""
NOTHING = "def preprocessing_fn(inputs):\n    return {'double': inputs['wind'] * 2.0}\n"


@pytest.mark.parametrize(
    ("text", "output", "expected"),
    [
        (TABLE, "weight", lambda table: [{"UA": 2 / 3, "AA": 1.0}.get(c, 1 / 3) for c in table["carrier"].to_pylist()]),
        (NOTHING, "double", lambda table: np.asarray(table["wind"]) * 2),
    ],
)
def test_functions_with_a_table_before_an_analyzer_and_with_none(
    tmp_path: Path, text: str, output: str, expected: Callable[[pa.Table], Any]
) -> None:
    (tmp_path / "own.py").write_text(text)
    store = run(tmp_path, {"module": str(tmp_path / "own.py"), "module_digest": "1"})
    held_out = rows(200, 2)
    found, _ = transformed(graphs(store)[0].uri, held_out, KEPT)
    np.testing.assert_allclose(found[output], expected(held_out), rtol=1e-5)


def test_whole_numbers_that_the_schema_calls_categorical_get_ids(tmp_path: Path) -> None:
    (graph,) = graphs(run(tmp_path, {}, categorical="true"))
    found, output = transformed(graph.uri, rows(300, 2), ["hour", *(name for name in KEPT if name != "hour")])
    counts = Counter(map(str, rows(3_000, 1).column("hour").to_pylist()))
    ordered = sorted(counts, key=lambda word: (counts[word], word), reverse=True)
    assert [ordered[place] for place in found["hour"]] == list(map(str, rows(300, 2).column("hour").to_pylist()))
    assert output.transformed_domains()["hour"].max == len(ordered)


OWN = """
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    log = tf.math.log1p(inputs["wind"])
    both = tf.stack([log, tft.scale_to_0_1(log)], axis=1)
    return {"both": both, "carrier": tft.compute_and_apply_vocabulary(inputs["carrier"])}
"""


def test_a_users_own_function_is_used(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (graph,) = graphs(run(tmp_path, {"module": str(tmp_path / "own.py"), "module_digest": "1"}))
    found, _ = transformed(graph.uri, rows(200, 2), KEPT)
    log, known = (np.log1p(np.asarray(rows(*size).column("wind"))) for size in ((200, 2), (3_000, 1)))
    np.testing.assert_allclose(found["both"][:, 0], log, rtol=1e-5)
    np.testing.assert_allclose(found["both"][:, 1], (log - known.min()) / (known.max() - known.min()), atol=1e-5)
    assert json.loads(graph.custom_properties["outputs"].string_value) == ["both", "carrier"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [inputs['wind']]", "returned list, not a dict of tensors by name"),
        ("return {}", "returned an empty dict, not a dict"),
        ("return {'wind': 3.0}", "output 'wind' is float, not a tensor"),
        ("return {'carrier': inputs['carrier']}", "output 'carrier' is text, which no model can learn from"),
        ("return {'w': tf.cast(inputs['wind'], tf.float64)}", "output 'w' is float64; float32 and int64"),
        ("return {'w': tf.reduce_mean(inputs['wind'])}", r"output 'w' has the shape \(\)"),
        ("return {'w': tf.zeros([5])}", "output 'w' has 5 rows whatever the number of input rows"),
        ("return {'w': tf.sparse.from_dense(inputs['wind'])}", "output 'w' is a SparseTensor, not a dense tensor"),
        ("return {'w': inputs['wnd']}", r"failed in '.*own.py', line 5, `return .*`: KeyError: 'wnd'\."),
        ("return {'w': tf.boolean_mask(inputs['wind'], inputs['wind'] > 9)}", "output 'w' has . rows for 7 input rows"),
    ],
)
def test_a_users_mistake_is_one_clear_paragraph_and_leaves_no_graph(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "own.py").write_text(f"import tensorflow as tf\n\n\ndef preprocessing_fn(inputs):\n    {body}\n")
    with pytest.raises(StepError, match=message) as caught:
        run(tmp_path, {"module": str(tmp_path / "own.py"), "module_digest": "1"})
    assert str(caught.value).startswith("Transform: module: 'preprocessing_fn' ")
    assert caught.value.hint and "\n" not in str(caught.value)
    assert not list(tmp_path.glob("root/Transform/transform_graph/*/transform_fn"))


def test_a_module_that_does_not_load_fails_before_any_row_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import tenserflow\n")
    with pytest.raises(StepError, match=r"does not import, line 1, `import tenserflow`: ModuleNotFoundError"):
        run(tmp_path, {"module": str(tmp_path / "own.py"), "module_digest": "1"})


def test_a_line_that_tensorflow_translated_is_told_as_the_user_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "import tensorflow as tf\n\n@tf.function\ndef f(x):\n    if x > 0:\n        x = x['a']\n    return x\n"
    )
    function = read_function(str(path), "f", "Transform: module")
    with (
        pytest.raises(StepError, match=r"own.py', line 6, `x = x\['a'\]`: .*Error: ") as caught,
        function.errors_told(),
    ):
        function.load()(tf_constant(1.0))
    assert "in user code" not in str(caught.value)


def tf_constant(value: float) -> Any:
    import tensorflow as tf

    return tf.constant(value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vocabulary": 0}, "Transform: vocabulary is 0; 1 is the least"),
        ({"oov_bucket": 1}, "there is no setting 'oov_bucket'. Did you mean 'oov_buckets'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError, match=message):
        parse(TransformConfig, json.dumps(config), "Transform")


def test_the_sample_is_bounded_and_spread_over_the_whole_split(tmp_path: Path) -> None:
    count = 3 * SAMPLE_ROWS
    table = write_examples(tmp_path, {"train": pa.table({"n": np.arange(count)})}, parts=3, row_group_rows=4_096)
    numbers = np.concatenate([batch.column("n").to_numpy() for batch in sample(table, ["n"])])
    assert SAMPLE_ROWS / 2 < len(numbers) <= SAMPLE_ROWS
    assert np.histogram(numbers, bins=8, range=(0, count))[0].min() > len(numbers) / 16
    small = write_examples(tmp_path / "small", {"train": pa.table({"n": np.arange(5_000)})})
    assert sum(batch.num_rows for batch in sample(small, ["n"])) == 5_000


@given(st.lists(st.floats(-1e3, 1e3, width=32) | st.just(math.nan), max_size=50))
def test_skewness_is_scipys(values: list[float]) -> None:
    array = np.array(values, np.float32)
    known = array[~np.isnan(array)].astype(float)
    if len(known) and np.ptp(known) > 1e-2:
        assert skewness(array) == pytest.approx(float(stats.skew(known)), abs=1e-6)
    elif not len(known) or not np.ptp(known):
        assert skewness(array) == 0
