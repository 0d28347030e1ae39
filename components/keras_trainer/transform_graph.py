"""The transform that the Transform step learned, applied to batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import storage
from beam_jobs.errors import listed
from components import feature_tensors
from components.errors import StepError
from components.keras_trainer import graph_sources
from components.keras_trainer.library import load_tensorflow
from components.model_contract import Feature

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Column:
    """One tensor that the transform gives.

    Attributes:
      shape: of one row: () or (k,).
      lowest: the least id, where the tensor holds ids.
      ids: how many ids there are; 0 where the numbers are quantities.
    """

    name: str
    dtype: Any
    shape: tuple[int, ...]
    lowest: int = 0
    ids: int = 0

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return self.shape[0] if self.shape else 1


class TransformGraph:
    """A TransformGraph artifact, loaded.

    Attributes:
      output: TensorFlow Transform's own reader of it.
      features: the raw features, which must be those that it was made for.
      columns: what it gives, by name and in order.
    """

    def __init__(self, uri: str, features: Sequence[Feature]) -> None:
        tf = load_tensorflow()
        import tensorflow_transform as tft

        self.features = tuple(features)
        if not storage.exists(f"{uri.rstrip('/')}/transform_fn"):
            raise StepError(f"'{uri}' holds no transform: 'transform_fn' is missing.", "Run the Transform again.")
        self.output = tft.TFTransformOutput(uri)
        self._check_inputs()
        self.columns = {name: self._column(name, spec) for name, spec in self.output.transformed_feature_spec().items()}
        with tf.device("/CPU:0"):
            self.layer = self.output.transform_features_layer()
        self._call = tf.function(self._transformed, input_signature=[self.tensor_specs], autograph=False)

    @property
    def tensor_specs(self) -> dict[str, Any]:
        """The raw features as tensors of any number of rows."""
        import tensorflow as tf

        spec = feature_tensors.raw_feature_spec(self.features)
        return {name: tf.TensorSpec([None], one.dtype) for name, one in spec.items()}

    def _transformed(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Traced: raw tensors in, the transform's tensors out, in the order of `columns`."""
        given = self.layer(dict(raw))
        return {name: given[name] for name in self.columns}

    def transform(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Raw tensors to transformed ones, inside a TensorFlow function."""
        return self._transformed(raw)

    def apply(self, batch: pa.RecordBatch) -> Arrays:
        """A batch's rows as the model takes them."""
        import tensorflow as tf

        with tf.device("/CPU:0"):
            raw = {name: tf.constant(values) for name, values in feature_tensors.arrays(batch, self.features).items()}
            return {name: tensor.numpy() for name, tensor in self._call(raw).items()}

    def raw_sources(self) -> dict[str, frozenset[str]]:
        """For each of the transform's outputs, the raw features that it is computed from."""
        return graph_sources.of(self._call.get_concrete_function())

    @property
    def row_bytes(self) -> int:
        """Bytes of one transformed row."""
        return sum(column.width * np.dtype(column.dtype.as_numpy_dtype).itemsize for column in self.columns.values())

    def _check_inputs(self) -> None:
        wanted, given = set(self.output.raw_feature_spec()), {feature.name for feature in self.features}
        if wanted != given:
            odd = sorted(wanted ^ given)
            raise StepError(
                f"The transform was made for other features than the model's: {listed(odd)}.",
                "Run the Transform and the KerasTrainer on the same list of features.",
            )

    def _column(self, name: str, spec: Any) -> Column:
        import tensorflow as tf

        if not isinstance(spec, tf.io.FixedLenFeature) or len(spec.shape) > 1:
            raise StepError(
                f"The transform's output '{name}' is not dense: {type(spec).__name__}.",
                "Let preprocessing_fn give tensors of shape (rows,) or (rows, k), for example by tf.sparse.to_dense.",
            )
        if spec.dtype == tf.string:
            raise StepError(
                f"The transform's output '{name}' is text, which no model here can learn from.",
                "Let preprocessing_fn turn it into ids: tft.compute_and_apply_vocabulary.",
            )
        shape = tuple(int(size) for size in spec.shape)
        schema = {feature.name: feature for feature in self.output.transformed_metadata.schema.feature}
        domain = schema[name].int_domain if name in schema else None
        if spec.dtype.is_integer and domain is not None and domain.max > domain.min:
            return Column(name, spec.dtype, shape, int(domain.min), int(domain.max - domain.min + 1))
        return Column(name, spec.dtype, shape)
