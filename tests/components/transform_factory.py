"""A TransformGraph for tests: a plain preprocessing function, analysed by TensorFlow Transform's own Beam API."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import metadata_io
from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from beam_jobs.table import Table, read_batches
from components import encoding, feature_tensors
from components.model_contract import Feature

Tensors = dict[str, Any]


def plain_preprocessing(features: Sequence[Feature], oov_buckets: int = 1) -> Callable[[Tensors], Tensors]:
    """Z-scores beside indicators of what is missing, and vocabularies."""

    def preprocessing_fn(inputs: Tensors) -> Tensors:
        outputs: Tensors = {}
        for number, feature in enumerate(features):
            value = inputs[feature.name]
            if feature.kind == "category":
                outputs[feature.name] = tft.compute_and_apply_vocabulary(
                    tf.where(tf.equal(value, ""), "(missing)", value),
                    num_oov_buckets=oov_buckets,
                    vocab_filename=f"vocabulary_{number}",
                )
                continue
            scaled, missing = tft.scale_to_z_score(value), tf.math.is_nan(value)
            outputs[feature.name] = tf.where(missing, tf.zeros_like(scaled), scaled)
            outputs[f"{feature.name}_missing"] = tf.cast(missing, tf.float32)
        return outputs

    return preprocessing_fn


def write_transform(
    folder: Path | str, table: Table, kept: Sequence[str], preprocessing_fn: Callable[[Tensors], Tensors] | None = None
) -> str:
    """Analyses the split `train` and writes the graph; returns the folder."""
    features = encoding.features_of(table.schema, kept, {})
    batches: list[pa.RecordBatch] = [
        feature_tensors.listed(batch, features) for batch in read_batches(table, "train", list(kept))
    ]
    dense = {
        feature.name: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(
                column_name=feature.name, shape=schema_pb2.FixedShape()
            )
        )
        for feature in features
    }
    adapter = TensorAdapterConfig(feature_tensors.listed_schema(features), dense)
    with tempfile.TemporaryDirectory() as temporary, tft_beam.Context(temporary), beam.Pipeline() as pipeline:
        read = pipeline | beam.Create(batches)
        analysed = (read, adapter) | tft_beam.AnalyzeDataset(preprocessing_fn or plain_preprocessing(features))
        _ = analysed | tft_beam.WriteTransformFn(str(folder))
    raw = {
        name: tf.io.FixedLenFeature([], spec.dtype) for name, spec in feature_tensors.raw_feature_spec(features).items()
    }
    metadata_io.write_metadata(DatasetMetadata.from_feature_spec(raw), f"{folder}/metadata")
    return str(folder)
