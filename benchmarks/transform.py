"""Transform through TFX's launcher: Braid's from Parquet, against TFX's own component from TFRecords of the same rows.

Both apply the very same preprocessing function to the same 13 columns of the 336,776 flights, both without statistics, in
the same runner with two threads. TFX's component also writes the transformed rows unless told not to; both ways are shown.
Braid never writes them: its Keras trainer reads Parquet and has the transform in its graph.
"""

import functools
import importlib
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import flights_rows
from benchmarks.measure import compare, table, work

MODULE = "benchmarks.transform"
ROOT = os.path.join(flights_rows.CACHE, "transform")
ROWS, FILES = 336_776, 4
COLUMNS = [
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "distance",
    "hour",
    "minute",
]
ARGUMENTS = [
    "--runner=FnApiRunner",
    "--sdk_container_image=none",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
]
BRAID, STOCK, STOCK_LEAN = "Braid", "TFX's Transform", "TFX's, no rows written"


def inputs() -> Mapping[str, str]:
    """Folders of the examples, as Parquet and as TFRecords, of the kept columns and of the schema; made once."""
    places = {name: os.path.join(ROOT, name) for name in ("examples", "records", "importances", "schema")}
    if not os.path.exists(os.path.join(ROOT, "done")):
        shutil.rmtree(ROOT, ignore_errors=True)
        _write(places)
        with open(os.path.join(ROOT, "done"), "w", encoding="utf-8"):
            pass
    return places


def _write(places: Mapping[str, str]) -> None:
    import pyarrow.parquet as pq
    from google.protobuf import text_format

    from beam_jobs.ledger import Ledger
    from beam_jobs.table import ROW_GROUP_ROWS, Part, Table
    from components import encoding
    from components.importances import FeatureImportance, Importances
    from components.transform.analysis import raw_schema

    flights = pq.read_table(flights_rows.tables(1)["flights"], columns=COLUMNS).combine_chunks()
    features = encoding.features_of(flights.schema, COLUMNS, {})
    size = -(-len(flights) // FILES)
    parts = []
    for number in range(FILES):
        piece = flights.slice(number * size, size)
        parts.append(Part(f"Split-train/part-{number:06d}.parquet", (len(piece),), number, "train"))
        for folder in ("examples", "records"):
            os.makedirs(f"{places[folder]}/Split-train", exist_ok=True)
        assert len(piece) <= ROW_GROUP_ROWS
        pq.write_table(piece, f"{places['examples']}/{parts[-1].path}", compression="zstd")
        _write_records(f"{places['records']}/Split-train/data_tfrecord-{number:05d}-of-{FILES:05d}.gz", piece, features)
    rows = len(flights)
    Table(places["examples"], flights.schema, tuple(parts), False, Ledger(read=rows, kept=rows, written=rows)).save()
    kept = tuple(FeatureImportance(name, 0.1, 0, 0, rank, True, "") for rank, name in enumerate(COLUMNS, 1))
    Importances("late", "binary", (False, True), kept).save(places["importances"])
    os.makedirs(places["schema"])
    with open(f"{places['schema']}/schema.pbtxt", "w", encoding="utf-8") as stream:
        stream.write(text_format.MessageToString(raw_schema(features)))


def _write_records(path: str, piece: Any, features: Any) -> None:
    """As TFX's ExampleGen writes them: one serialized tf.Example a row, compressed; what is missing is left out."""
    import tensorflow as tf

    from components import feature_tensors

    columns = feature_tensors.arrays(piece, features)
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for row in range(len(piece)):
            example = tf.train.Example()
            for name, values in columns.items():
                value = values[row]
                if isinstance(value, bytes):
                    if value:
                        example.features.feature[name].bytes_list.value.append(value)
                elif not math.isnan(value):
                    example.features.feature[name].float_list.value.append(value)
            writer.write(example.SerializeToString())


@functools.cache
def _function() -> Any:
    from beam_jobs.table import Table
    from components.importances import Importances
    from components.transform.analysis import plan
    from components.transform.columns import TransformConfig, read_schema

    places = inputs()
    examples, importances = Table.load(places["examples"]), Importances.load(places["importances"])
    return plan(examples, importances, read_schema(places["schema"]), TransformConfig(), "").preprocessing


def preprocessing_fn(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    """Braid's default function, for TFX's component."""
    outputs: Mapping[str, Any] = _function()(tensors)
    return outputs


def _run(nodes: list[Any], out: str) -> None:
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline

    store = metadata.sqlite_metadata_connection_config(f"{out}/metadata.sqlite")
    LocalDagRunner().run(
        Pipeline(
            "transform",
            f"{out}/root",
            components=nodes,
            metadata_connection_config=store,
            beam_pipeline_args=ARGUMENTS,
        )
    )


def braid(places: Mapping[str, str]) -> list[Any]:
    """Braid's component and what it reads."""
    from tfx.dsl.components.common.importer import Importer
    from tfx.types import standard_artifacts

    from components.artifacts import FeatureImportances
    from components.transform.component import Transform

    importlib.import_module("components.transform.analysis_job")
    types = {
        "examples": standard_artifacts.Examples,
        "importances": FeatureImportances,
        "schema": standard_artifacts.Schema,
    }
    read = [Importer(places[name], kind).with_id(name) for name, kind in types.items()]
    return [*read, Transform(*(one.outputs["result"] for one in read))]


def stock(places: Mapping[str, str], materialize: bool) -> list[Any]:
    """TFX's component and what it reads."""
    from tfx.components import Transform
    from tfx.dsl.components.common.importer import Importer
    from tfx.proto import transform_pb2
    from tfx.types import standard_artifacts

    examples = Importer(
        places["records"], standard_artifacts.Examples, properties={"split_names": json.dumps(["train"])}
    ).with_id("examples")
    schema = Importer(places["schema"], standard_artifacts.Schema).with_id("schema")
    transform = Transform(
        examples=examples.outputs["result"],
        schema=schema.outputs["result"],
        preprocessing_fn=f"{MODULE}.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train"] if materialize else []),
        materialize=materialize,
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    return [examples, schema, transform]


def _child(name: str) -> None:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    out = os.path.join(ROOT, f"run-{name}")
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    importlib.import_module("tfx.orchestration.portable.launcher")  # imports of either are before the clock
    places = inputs()
    nodes = braid(places) if name == "braid" else stock(places, name == "stock")
    _function()  # what TFX's component is given; planned before its clock starts
    try:
        with work() as facts:
            _run(nodes, out)
            facts["rows"] = ROWS
            facts["vocabulary of tailnum"] = _vocabulary_size(out)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _vocabulary_size(out: str) -> int:
    import glob

    (path,) = glob.glob(f"{out}/root/Transform/transform_graph/*/transform_fn/assets/vocabulary_tailnum")
    with open(path, encoding="utf-8") as stream:
        return sum(1 for _ in stream)


def main() -> None:
    """Prints all three."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    inputs()
    contenders = {STOCK: ("stock",), STOCK_LEAN: ("stock_lean",), BRAID: ("braid",)}
    measured = compare(MODULE, contenders, 3)
    table(f"Transform of {ROWS:,} flights x {len(COLUMNS)} (medians of 3)", measured, STOCK)
    for name in (STOCK, STOCK_LEAN):
        print(f"{name} takes {measured[name].wall / measured[BRAID].wall:.1f} times as long as Braid's")


if __name__ == "__main__":
    _child(sys.argv[1])
