"""What an analysis reads and leaves: planned before the job, finished after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from beam_jobs import failures, storage
from beam_jobs.table import Table
from components import encoding, feature_tensors, local_folders
from components.errors import StepError
from components.importances import Importances
from components.model_contract import Feature
from components.transform.canonical import canonicalize
from components.transform.columns import TRAIN, TransformConfig, plan_columns, sample
from components.transform.preprocessing import DefaultPreprocessing, Preprocessing, UserPreprocessing, check_rows
from components.user_module import read_function

TRIAL_ROWS = 7


@dataclass(frozen=True)
class Analysis:
    """One job.

    Attributes:
      output: the folder of the TransformGraph artifact.
      written: where the job writes that; another folder where the output is copied from there at the end.
    """

    table: Table
    features: tuple[Feature, ...]
    preprocessing: Preprocessing
    output: str
    written: str

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [feature.name for feature in self.features]

    @property
    def temporary(self) -> str:
        """Where the workers leave what the job itself reads again."""
        return f"{self.written.rstrip('/')}/.analysis"


def plan(
    table: Table, importances: Importances, schema: Any, config: TransformConfig, output: str, written: str
) -> Analysis:
    """Plans the analysis of the kept columns over the rows of `train`.

    Args:
      schema: a `tensorflow_metadata` Schema of the examples.
      output: the folder of the artifact.
      written: where the job writes; see `Analysis`.

    Raises:
      StepError: no column was kept, `train` is empty, or the user's module cannot be loaded.
    """
    if not importances.kept:
        raise StepError("Transform: no column was kept to learn from.", "Loosen `select: keep:`, or add columns.")
    if not table.splits.get(TRAIN):
        raise StepError("Transform: the split 'train' has no row to learn vocabularies and scales from.")
    features = encoding.features_of(table.schema, importances.kept, {})
    return Analysis(table, features, _preprocessing(table, features, schema, config), output, written)


def _preprocessing(table: Table, features: Sequence[Feature], schema: Any, config: TransformConfig) -> Preprocessing:
    if not config.module:
        columns = plan_columns(table, features, schema, config)
        return DefaultPreprocessing(columns, config.vocabulary, config.oov_buckets, config.buckets)
    function = read_function(config.module, config.function, "Transform: module")
    function.load()  # its mistakes are told before any row is read
    return UserPreprocessing(function, tuple(feature.name for feature in features))


def raw_schema(features: Sequence[Feature]) -> Any:
    """The raw features as TFX's schema says it: one value a row, NaN or '' where a tf.Example lacks it."""
    schema = schema_pb2.Schema()
    representations = schema.tensor_representation_group[""].tensor_representation
    for feature in features:
        text = feature_tensors.is_text(feature)
        schema.feature.add(name=feature.name, type=schema_pb2.BYTES if text else schema_pb2.FLOAT)
        dense = representations[feature.name].dense_tensor
        dense.column_name = feature.name
        dense.shape.SetInParent()
        if text:
            dense.default_value.bytes_value = feature_tensors.MISSING_TEXT
        else:
            dense.default_value.float_value = feature_tensors.MISSING_NUMBER
    return schema


def finish(analysis: Analysis, is_canonical: bool) -> tuple[str, ...]:
    """After the job: tries a user's function on a few rows, describes the raw features, leaves the same bytes always.

    Args:
      is_canonical: whether the job has already seen to the same bytes.

    Returns:
      The names of the transformed features.

    Raises:
      StepError: the user's function gives more or fewer rows than it takes.
    """
    with local_folders.changing(analysis.written) as output:
        transform = tft.TFTransformOutput(output)
        if isinstance(analysis.preprocessing, UserPreprocessing):
            _try(transform, analysis, analysis.preprocessing.where)
        raw_metadata = dataset_metadata.DatasetMetadata(raw_schema(analysis.features))
        metadata_io.write_metadata(raw_metadata, f"{output}/metadata")  # type: ignore[no-untyped-call]
        if not is_canonical:
            canonicalize(transform.transform_savedmodel_dir, analysis.temporary)
        names = tuple(transform.transformed_feature_spec())
    failures.discard(analysis.output)  # attempts of a job that ended well
    return names


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
