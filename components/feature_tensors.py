"""A model's raw features as tensors: what a transform, a Keras model and its serving signatures take.

Every feature is one dense tensor, shape (rows,):

| kind                | tensor                                                                       | missing |
|---------------------|------------------------------------------------------------------------------|---------|
| numeric, bool, time | float32, the very numbers that `components.encoding` gives to XGBoost         | NaN     |
| category            | the text itself as UTF-8 bytes; what it means is the transform's vocabulary   | ''      |
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components import encoding
from components.model_contract import Feature

Objects = npt.NDArray[np.object_]
MISSING_NUMBER = float("nan")
MISSING_TEXT = b""


def is_text(feature: Feature) -> bool:
    """Whether the feature's tensor holds bytes; it holds float32 otherwise."""
    return feature.kind == "category"


def arrays(
    batch: pa.RecordBatch | pa.Table, features: Sequence[Feature]
) -> dict[str, npt.NDArray[np.float32] | Objects]:
    """The features of a batch by name: shape (rows,) each, float32 or objects that are bytes.

    Raises:
      StepError: a column is missing, or is of another kind than in training.
    """
    return {feature.name: _array(encoding.feature_column(batch, feature), feature) for feature in features}


def _array(column: pa.Array, feature: Feature) -> npt.NDArray[np.float32] | Objects:
    return _objects(column) if is_text(feature) else encoding.encode(column, feature)


def _objects(column: pa.Array) -> Objects:
    if pa.types.is_dictionary(column.type):
        # One object a distinct value, not one a row.
        values = _objects(column.dictionary)
        or_missing: Objects = np.append(values, np.array([MISSING_TEXT], object))
        places = pc.fill_null(column.indices.cast(pa.int64()), len(values))
        taken: Objects = or_missing.take(places.to_numpy(zero_copy_only=False))
        return taken
    objects: Objects = _bytes(column).to_numpy(zero_copy_only=False)
    return objects


def _bytes(column: pa.Array) -> pa.Array:
    """Text as large_binary without a null."""
    if pa.types.is_null(column.type):
        return pa.array([MISSING_TEXT] * len(column), pa.large_binary())
    values = encoding.plain(column).cast(pa.large_string()).cast(pa.large_binary())
    return values.fill_null(MISSING_TEXT) if values.null_count else values


def listed(batch: pa.RecordBatch | pa.Table, features: Sequence[Feature]) -> pa.RecordBatch:
    """The same values as TensorFlow Transform's analyzers read them: columns of lists, each of one value.

    A missing value stands in its list as NaN or '', so that every tensor is dense.

    Raises:
      StepError: a column is missing, or is of another kind than in training.
    """
    columns = [_listed(encoding.feature_column(batch, feature), feature) for feature in features]
    return pa.RecordBatch.from_arrays(columns, schema=listed_schema(features))


def _listed(column: pa.Array, feature: Feature) -> pa.Array:
    values = _bytes(column) if is_text(feature) else pa.array(encoding.encode(column, feature))
    return pa.LargeListArray.from_arrays(pa.array(np.arange(len(values) + 1)), values)


def listed_schema(features: Sequence[Feature]) -> pa.Schema:
    """The Arrow schema of `listed`."""
    return pa.schema([(f.name, pa.large_list(pa.large_binary() if is_text(f) else pa.float32())) for f in features])


def raw_feature_spec(features: Sequence[Feature]) -> dict[str, Any]:
    """What parses the features from a serialized tf.Example, for `tf.io.parse_example`: an absent one is missing."""
    import tensorflow as tf

    text = tf.io.FixedLenFeature([], tf.string, MISSING_TEXT)
    number = tf.io.FixedLenFeature([], tf.float32, MISSING_NUMBER)
    return {feature.name: text if is_text(feature) else number for feature in features}
