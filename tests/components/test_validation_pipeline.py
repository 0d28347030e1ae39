"""Statistics, schema and gate under TFX's launcher, alone and beside TFX's own components."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from examples_factory import write_examples
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2
from test_arrow_statistics import RUNNER, every_type
from tfx.components import ExampleValidator, SchemaGen, StatisticsGen
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import example_gen_pb2
from tfx.types import artifact, artifact_utils, standard_artifacts

from components.arrow_statistics.component import ArrowStatistics
from components.data_gate.component import DataGate
from components.errors import StepError
from components.flat_tfxio import accept_flat_parquet
from components.schema_file.component import SchemaFile
from components.schema_file.inference_mark import user_schema_digest
from components.statistics_files import load_statistics

ARTIFACTS: dict[str, type[artifact.Artifact]] = {
    "ExampleStatistics": standard_artifacts.ExampleStatistics,
    "Schema": standard_artifacts.Schema,
    "ExampleAnomalies": standard_artifacts.ExampleAnomalies,
}


def examples_at(folder: Path, splits: dict[str, pa.Table]) -> Importer:
    write_examples(folder, splits)
    return Importer(
        source_uri=str(folder),
        artifact_type=standard_artifacts.Examples,
        properties={"split_names": json.dumps(list(splits))},
        custom_properties={
            "payload_format": example_gen_pb2.PayloadFormat.Name(example_gen_pb2.FORMAT_PARQUET),
            artifact_utils.ARTIFACT_TFX_VERSION_CUSTOM_PROPERTY_KEY: "1.21.0",
        },
    ).with_id("Examples")


class Store:
    """One pipeline's MLMD file and root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = metadata.sqlite_metadata_connection_config(str(folder / "mlmd.sqlite"))

    def run(self, components: list[Any]) -> None:
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="validation",
                pipeline_root=str(self.folder / "root"),
                components=components,
                enable_cache=True,
                metadata_connection_config=self.config,
                beam_pipeline_args=[*RUNNER, "--sdk_container_image=none"],
            )
        )

    def last(self, type_name: str) -> Any:
        """The newest artifact of a type."""
        with metadata.Metadata(self.config) as handle:
            found = max(handle.store.get_artifacts_by_type(type_name), key=lambda one: one.id)
        wrapped = ARTIFACTS[type_name]()
        wrapped.set_mlmd_artifact(found)
        return wrapped

    def states(self, node: str) -> list[str]:
        """How each execution of a node ended, oldest first."""
        with metadata.Metadata(self.config) as handle:
            found = [e for e in handle.store.get_executions() if e.type.endswith(f".{node}")]
        ordered = sorted(found, key=lambda one: one.id)
        return [metadata_store_pb2.Execution.State.Name(one.last_known_state) for one in ordered]


def our_chain(examples: Importer, schema_path: Path, anomalies: str = "stop") -> list[Any]:
    statistics = ArrowStatistics(examples=examples.outputs["result"])
    schema = SchemaFile(
        statistics=statistics.outputs["statistics"],
        schema_path=str(schema_path),
        user_schema_digest=user_schema_digest(str(schema_path)),
    )
    gate = DataGate(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        examples=examples.outputs["result"],
        config=json.dumps({"anomalies": anomalies, "unused_columns": ["void"]}),
    )
    return [examples, statistics, schema, gate]


def replaced(table: pa.Table, column: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    values = pa.array(change(table[column].to_pylist()), pa.string())
    return table.set_column(table.schema.get_field_index(column), column, values.dictionary_encode())


def test_statistics_schema_and_gate_through_the_launcher(tmp_path: Path) -> None:
    store, schema_path = Store(tmp_path), tmp_path / "user" / "schema.pbtxt"
    usual = {"train": every_type(3_000), "eval": every_type(600)}

    store.run(our_chain(examples_at(tmp_path / "e", usual), schema_path))
    statistics = store.last("ExampleStatistics")
    counted = {split: one.datasets[0].num_examples for split, one in load_statistics(statistics).items()}
    assert counted == {"train": 3_000, "eval": 600} == statistics.get_json_value_custom_property("rows")
    assert statistics.get_json_value_custom_property("columns")["at"] == "timestamp[us, tz=UTC]"
    assert store.last("Schema").get_int_custom_property("inferred") == 1
    anomalies = store.last("ExampleAnomalies")
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1, "eval": 1}
    written = Path(artifact_utils.get_split_uri([anomalies], "eval")) / "SchemaDiff.pb"
    assert not anomalies_pb2.Anomalies.FromString(written.read_bytes()).anomaly_info

    store.run(our_chain(examples_at(tmp_path / "e", usual), schema_path))
    for node in ("ArrowStatistics", "SchemaFile", "DataGate"):
        assert store.states(node) == ["COMPLETE", "CACHED"]

    schema_path.write_text(schema_path.read_text().replace('value: "UA"', 'value: "ZZ"'))
    with pytest.raises(StepError) as caught:
        store.run(our_chain(examples_at(tmp_path / "e", usual), schema_path))
    assert store.states("ArrowStatistics")[-1] == "CACHED"
    assert store.last("Schema").get_int_custom_property("inferred") == 0
    assert str(schema_path) in str(caught.value)
    # 'UA' stands in every third row, but for the 29 that are null.
    assert "split 'eval', column 'carrier': 171 of 600 rows (28.50%) hold values that" in str(caught.value)
    assert "'UA' (171); allowed: 'AA', 'B6', 'ZZ'" in str(caught.value)
    assert str(schema_path) in caught.value.hint

    store.run(our_chain(examples_at(tmp_path / "e", usual), schema_path, "warn"))
    anomalies = store.last("ExampleAnomalies")
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 0, "eval": 0}
    assert any("171 of 600 rows" in text for text in anomalies.get_json_value_custom_property("findings"))


def test_our_statistics_feed_tfxs_schema_gen_and_example_validator(tmp_path: Path) -> None:
    store = Store(tmp_path)
    train = every_type(2_000)
    odd = replaced(train, "carrier", lambda values: ["ZZ"] * 500 + values[500:])
    examples = examples_at(tmp_path / "e", {"train": train, "eval": odd})
    statistics = ArrowStatistics(examples=examples.outputs["result"])
    schema = SchemaGen(statistics=statistics.outputs["statistics"], exclude_splits=["eval"], infer_feature_shape=False)
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    store.run([examples, statistics, schema, validator])
    blessed = store.last("ExampleAnomalies").get_json_value_custom_property("blessed")
    assert blessed == {"train": 1, "eval": 0}


def test_tfxs_statistics_gen_reads_our_examples_through_the_adapter(tmp_path: Path) -> None:
    accept_flat_parquet()
    store = Store(tmp_path)
    train = every_type(700)
    examples = examples_at(tmp_path / "e", {"train": train})
    statistics = StatisticsGen(examples=examples.outputs["result"])
    store.run([examples, statistics])
    counted = load_statistics(store.last("ExampleStatistics"))["train"].datasets[0]
    assert counted.num_examples == 700
    features = {feature.path.step[0]: feature for feature in counted.features}
    assert set(features) == set(train.schema.names)  # _row stays out
    assert features["carrier"].string_stats.common_stats.num_missing == train["carrier"].null_count
    assert features["day"].num_stats.min == 15_706
