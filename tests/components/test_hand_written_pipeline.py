"""Ours are plain TFX components: two of them in a pipeline written by hand, beside stock ones."""

import json
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components import SchemaGen, StatisticsGen
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from components.flat_tfxio import accept_flat_parquet
from components.ingest.component import Ingest
from components.prepare.component import PrepareExamples

BEAM = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=2"]


def test_ingest_and_prepare_feed_stock_statistics_and_schema(tmp_path: Path) -> None:
    rows = [f"{i},{'ab'[i % 2]},{i * 0.5}" for i in range(400)]
    (tmp_path / "trips.csv").write_text("\n".join(["id,kind,fare", *rows]) + "\n")
    accept_flat_parquet()
    trips = Ingest(json.dumps({"name": "trips", "path": str(tmp_path / "trips.csv")}), "as given").with_id("trips")
    config = {
        "step": "rides",
        "stream": "trips",
        "sql": "SELECT id, kind, fare, fare > 100 AS dear FROM trips WHERE id >= 10",
        "partition_by": [],
        "fan_out": False,
        "split": {"by": "hash", "columns": ["id"], "shares": {"train": 0.7, "eval": 0.3}},
    }
    rides = PrepareExamples(json.dumps(config), sources=trips.outputs["table"])
    statistics = StatisticsGen(examples=rides.outputs["examples"])
    schema = SchemaGen(statistics=statistics.outputs["statistics"])
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="by-hand",
            pipeline_root=str(tmp_path / "root"),
            components=[trips, rides, statistics, schema],
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite")),
            beam_pipeline_args=[*BEAM, "--sdk_container_image=none"],
        )
    )
    [written] = (tmp_path / "root").glob("SchemaGen/schema/*/schema.pbtxt")
    found = text_format.Parse(written.read_text(), schema_pb2.Schema())
    assert {feature.name for feature in found.feature} >= {"id", "kind", "fare", "dear"}
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))) as handle:
        [source] = handle.store.get_artifacts_by_type("SourceTable")
        executions = {execution.type.rpartition(".")[2]: execution for execution in handle.store.get_executions()}
    [file] = json.loads(source.custom_properties["files"].string_value)
    assert (file["path"], file["size"]) == (str(tmp_path / "trips.csv"), (tmp_path / "trips.csv").stat().st_size)
    counters = json.loads(executions["PrepareExamples"].custom_properties["counters"].string_value)
    assert (counters["rides.read"], counters["rides.written"]) == (400, 390)
    [table] = (tmp_path / "root").glob("PrepareExamples/examples/*/table.json")
    assert json.loads(table.read_text())["ledger"] == {
        "read": 400, "rejected": 0, "filtered": 10, "merged": 0, "kept": 390, "multiplied": 0, "written": 390,
    }  # fmt: skip
