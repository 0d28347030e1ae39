"""A trained Keras model in a worker: its SavedModel's own signatures, as any server of SavedModels would call them."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import storage
from components import encoding, feature_tensors, local_folders
from components.errors import StepError
from components.model_contract import Feature, ModelContract

SAVED_MODEL = "saved_model.pb"
SERVING, EXAMPLES, CONTRIBUTIONS = "serving_default", "serve_tf_examples", "contributions"
"""Signatures: of raw features, of serialized tf.Examples, and of raw features for what each of them adds."""
PREDICTIONS = "predictions"
CONTRIBUTION_ROWS = 4_096
"""Rows explained at once, each of which is scored many times."""
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def signature_names(features: Sequence[Feature]) -> dict[str, str]:
    """What the signatures call each feature's tensor: its column's name, where TensorFlow takes that for an input.

    Other characters become `_`, and a name that is then taken gets a number; TensorFlow does not tell `a` from `A`.
    """
    names: dict[str, str] = {}
    taken: set[str] = {"self"}
    plain = [feature.name for feature in features if _PLAIN_NAME.match(feature.name)]
    for name in (*plain, *(feature.name for feature in features if feature.name not in plain)):
        wanted = re.sub(r"[^A-Za-z0-9_]", "_", name)
        wanted = wanted if _PLAIN_NAME.match(wanted) else f"f{wanted}"
        free, number = wanted, 0
        while free.lower() in taken:
            number += 1
            free = f"{wanted}_{number}"
        taken.add(free.lower())
        names[name] = free
    return {feature.name: names[feature.name] for feature in features}


@dataclass(frozen=True)
class KerasScorer:
    """Predicts batches. Safe to share between threads: TensorFlow's functions hold nothing between calls.

    Attributes:
      model: what `tf.saved_model.load` gave.
    """

    contract: ModelContract
    model: Any
    _inputs: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The features, then the label."""
        return self.contract.columns

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """See `components.scoring.Scorer`."""
        tensors = self._tensors(batch)
        answers: npt.NDArray[np.float32] = self.model.signatures[SERVING](**tensors)[PREDICTIONS].numpy()
        return answers

    def labels(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """See `components.scoring.Scorer`."""
        return encoding.labels(batch, self.contract)

    def contributions(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """Integrated gradients, see `components.keras_trainer.attribution`.

        Raises:
          StepError: the user's own model takes ids and is not made of layers, so that no gradient reaches its features.
        """
        if CONTRIBUTIONS not in self.model.signatures:
            raise StepError(
                "This model cannot tell what each feature contributes: it takes ids, and is not a functional model.",
                "Build it with tf.keras.Model(inputs, outputs), or give it embeddings and not ids.",
            )
        explain = self.model.signatures[CONTRIBUTIONS]
        parts = [
            explain(**self._tensors(batch.slice(start, CONTRIBUTION_ROWS)))[CONTRIBUTIONS].numpy()
            for start in range(0, max(1, batch.num_rows), CONTRIBUTION_ROWS)
        ]
        values: npt.NDArray[np.float32] = np.concatenate(parts)
        return values

    def _tensors(self, batch: pa.RecordBatch) -> dict[str, Any]:
        import tensorflow as tf

        arrays = feature_tensors.arrays(batch, self.contract.features)
        return {self._inputs[name]: tf.constant(values, _type(values)) for name, values in arrays.items()}


def _type(values: Any) -> Any:
    """Said, as TensorFlow cannot tell the type of no objects at all."""
    import tensorflow as tf

    return tf.string if values.dtype == object else tf.float32


def load(model_uri: str, contract: ModelContract, threads: int) -> KerasScorer:
    """Loads the SavedModel beside the contract.

    Args:
      threads: TensorFlow's, where it has not started in this process yet.

    Raises:
      StepError: there is none, it is damaged, or it lacks the signature for raw features.
    """
    if not storage.exists(f"{model_uri}/{SAVED_MODEL}"):
        raise StepError(f"'{model_uri}' holds no model: '{SAVED_MODEL}' is missing.", "Run the KerasTrainer again.")
    # Nothing here is made of Keras any more; but whoever loads Keras later in this process needs its second version.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    import tensorflow as tf

    _limit(threads)
    with local_folders.reading(model_uri) as folder:
        try:
            model = tf.saved_model.load(folder)
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise StepError(
                f"'{model_uri}' holds a SavedModel that cannot be loaded: {' '.join(str(error).split())[:300]}.",
                "It is damaged or incomplete; run the KerasTrainer again, or restore the folder.",
            ) from error
    if SERVING not in model.signatures:
        raise StepError(f"The SavedModel in '{model_uri}' has no signature '{SERVING}'.", "Run the KerasTrainer again.")
    return KerasScorer(contract, model, signature_names(contract.features))


def _limit(threads: int) -> None:
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # started already, as many as they are
        return
