"""The analysis of TensorFlow Transform as a Beam job: Parquet chunks in, a transform graph out, no tf.Example between."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.beam.tft_beam_io import transform_fn_io
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from beam_jobs import capture, failures, io_lineage, progress, storage
from beam_jobs.chunks import Chunk, chunks_of, read_chunk
from beam_jobs.progress import Progress
from beam_jobs.table import ROW_GROUP_ROWS, Table
from components import encoding, feature_tensors
from components.errors import StepError
from components.importances import Importances
from components.model_contract import Feature
from components.transform.canonical import canonicalize
from components.transform.columns import TRAIN, TransformConfig, plan_columns, sample
from components.transform.preprocessing import DefaultPreprocessing, UserPreprocessing, check_rows
from components.user_module import read_function

JOB = "transform"
BATCH_ROWS = 32_768
TRIAL_ROWS = 7

Preprocessing = DefaultPreprocessing | UserPreprocessing


@dataclass(frozen=True)
class Analysis:
    """One job.

    Attributes:
      output: the folder of the TransformGraph artifact.
    """

    table: Table
    features: tuple[Feature, ...]
    preprocessing: Preprocessing
    output: str

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [feature.name for feature in self.features]

    @property
    def temporary(self) -> str:
        """Where the workers leave what the job itself reads again."""
        return f"{self.output.rstrip('/')}/.analysis"


def plan(table: Table, importances: Importances, schema: Any, config: TransformConfig, output: str) -> Analysis:
    """Plans the analysis of the kept columns over the rows of `train`.

    Args:
      schema: a `tensorflow_metadata` Schema of the examples.

    Raises:
      StepError: no column was kept, `train` is empty, or the user's module cannot be loaded.
    """
    if not importances.kept:
        raise StepError("Transform: no column was kept to learn from.", "Loosen `select: keep:`, or add columns.")
    if not table.splits.get(TRAIN):
        raise StepError("Transform: the split 'train' has no row to learn vocabularies and scales from.")
    features = encoding.features_of(table.schema, importances.kept, {})
    return Analysis(table, features, _preprocessing(table, features, schema, config), output)


def _preprocessing(table: Table, features: Sequence[Feature], schema: Any, config: TransformConfig) -> Preprocessing:
    if not config.module:
        columns = plan_columns(table, features, schema, config)
        return DefaultPreprocessing(columns, config.vocabulary, config.oov_buckets, config.buckets)
    function = read_function(config.module, config.function, "Transform: module")
    function.load()  # its mistakes are told before any row is read
    return UserPreprocessing(function, tuple(feature.name for feature in features))


class Analyze(beam.PTransform[beam.Pipeline, Any]):
    """Reads, analyses, and writes the transform graph."""

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()
        self.analysis = analysis
        self.chunks = chunks_of(analysis.table, ROW_GROUP_ROWS, [TRAIN])

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """One pass over the chunks a level of analyzers; the default function needs one."""
        analysis = self.analysis
        batches = (
            pipeline
            | "Chunks" >> beam.Create(list(enumerate(self.chunks)))
            # By number, not at random: the same chunks meet in the same order in every run.
            | "Spread" >> beam.GroupByKey()
            | "Read" >> beam.ParDo(_ReadChunk(analysis.features, analysis.output)).with_output_types(pa.RecordBatch)
        )
        with tft_beam.Context(temp_dir=analysis.temporary, force_tf_compat_v1=False):
            analyze = tft_beam.AnalyzeDataset(analysis.preprocessing)  # type: ignore[no-untyped-call]
            transform_fn = (batches, adapter_config(analysis.features)) | "Analyze" >> analyze
            write = transform_fn_io.WriteTransformFn(analysis.output)  # type: ignore[no-untyped-call]
            return transform_fn | "Write" >> write


class _ReadChunk(beam.DoFn):
    """Reads a chunk as batches of list columns."""

    def __init__(self, features: tuple[Feature, ...], output: str) -> None:
        self.features, self.output = features, output

    def process(self, numbered: tuple[int, Iterable[Chunk]]) -> Iterator[pa.RecordBatch]:
        for chunk in numbered[1]:
            yield from self._read(chunk)

    def _read(self, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        io_lineage.reads(chunk.path)
        rows = 0
        for batch in read_chunk(chunk, [feature.name for feature in self.features], BATCH_ROWS):
            yield self._listed(batch, functools.partial(capture.batch_of_job, JOB, batch, chunk, rows))
            rows += batch.num_rows
            progress.advance(JOB, Progress(read=batch.num_rows))
        progress.advance(JOB, Progress(chunks=1))

    def _listed(self, batch: pa.RecordBatch, describe: Callable[..., Any]) -> pa.RecordBatch:
        with capture.capturing(self.output, describe):
            return feature_tensors.listed(batch, self.features)


def adapter_config(features: Sequence[Feature]) -> TensorAdapterConfig:
    """How list columns become the tensors of `feature_tensors`."""
    return TensorAdapterConfig(
        feature_tensors.listed_schema(features), {feature.name: _representation(feature) for feature in features}
    )


def _representation(feature: Feature) -> Any:
    dense = schema_pb2.TensorRepresentation.DenseTensor(column_name=feature.name, shape=schema_pb2.FixedShape())
    return schema_pb2.TensorRepresentation(dense_tensor=dense)


def raw_schema(features: Sequence[Feature]) -> Any:
    """The raw features as TFX's schema says it: one value a row, NaN or '' where a tf.Example lacks it."""
    schema = schema_pb2.Schema()
    representations = schema.tensor_representation_group[""].tensor_representation
    for feature in features:
        text = feature_tensors.is_text(feature)
        schema.feature.add(name=feature.name, type=schema_pb2.BYTES if text else schema_pb2.FLOAT)
        dense = representations[feature.name].dense_tensor
        dense.CopyFrom(_representation(feature).dense_tensor)
        if text:
            dense.default_value.bytes_value = feature_tensors.MISSING_TEXT
        else:
            dense.default_value.float_value = feature_tensors.MISSING_NUMBER
    return schema


def finish(analysis: Analysis) -> tuple[str, ...]:
    """After the job: tries a user's function on a few rows, describes the raw features, leaves the same bytes always.

    Returns:
      The names of the transformed features.

    Raises:
      StepError: the user's function gives more or fewer rows than it takes.
    """
    output = analysis.output.rstrip("/")
    transform = tft.TFTransformOutput(output)
    if isinstance(analysis.preprocessing, UserPreprocessing):
        _try(transform, analysis, analysis.preprocessing.where)
    raw_metadata = dataset_metadata.DatasetMetadata(raw_schema(analysis.features))
    metadata_io.write_metadata(raw_metadata, f"{output}/metadata")  # type: ignore[no-untyped-call]
    canonicalize(transform.transform_savedmodel_dir, analysis.temporary)
    failures.discard(analysis.output)  # attempts of a job that ended well
    return tuple(transform.transformed_feature_spec())


def _try(transform: Any, analysis: Analysis, where: str) -> None:
    batch = next(sample(analysis.table, analysis.names)).slice(0, TRIAL_ROWS)
    raw = feature_tensors.arrays(batch, analysis.features)
    inputs = {feature.name: _tensor(raw[feature.name], feature) for feature in analysis.features}
    check_rows(transform.transform_raw_features(inputs), batch.num_rows, where)


def _tensor(values: np.ndarray[Any, Any], feature: Feature) -> Any:
    return tf.constant(values.tolist() if feature_tensors.is_text(feature) else values)


def clean(analysis: Analysis) -> None:
    """Deletes what the workers left for each other."""
    storage.remove_tree(analysis.temporary)
