"""The default model, wide and deep (Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016).

The wide part is a linear model of all ids and quantities; the deep part is a tower over embeddings of the ids and the
quantities. Their sum is the margin: the log odds, one score a class, or the value of a regression.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs.errors import listed, nearest
from components.errors import StepError
from components.keras_trainer.transform_graph import Column
from components.model_contract import Task


@dataclass(frozen=True)
class Architecture:
    """What the user may set of the default model.

    Attributes:
      hidden: units of the tower's layers, the first one first.
      dropout: share of a hidden layer's outputs that a training step leaves out.
      embedding: the most numbers that stand for an id.
      wide: whether there is a wide part.
      l2: penalty on the squared weights of the tower.
    """

    hidden: tuple[int, ...] = (128, 64)
    dropout: float = 0.1
    embedding: int = 16
    wide: bool = True
    l2: float = 0.0

    def __post_init__(self) -> None:
        _check(
            "hidden", all(isinstance(units, int) and units > 0 for units in self.hidden), "a list of units, each > 0"
        )
        _check("dropout", 0 <= self.dropout < 1, "at least 0 and below 1")
        _check("embedding", self.embedding >= 1, "at least 1")
        _check("l2", self.l2 >= 0, "at least 0")


@dataclass(frozen=True)
class Start:
    """What the labels of the train split tell, so that the first epoch need not learn it.

    Attributes:
      margins: of a row of which nothing is known: one number, or one a class.
      scale: what one unit of the network's output means; 1 but for a regression.
    """

    margins: tuple[float, ...]
    scale: float = 1.0


def _check(name: str, fits: bool, wanted: str) -> None:
    if not fits:
        raise StepError(f"KerasTrainer: the parameter '{name}' must be {wanted}.", "Correct it in 'parameters'.")


def architecture(parameters: Mapping[str, Any]) -> Architecture:
    """Reads the default model's parameters.

    Raises:
      StepError: an unknown name, or a value that does not fit.
    """
    defaults = Architecture()
    known = vars(defaults)
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in known:
            raise StepError(
                f"KerasTrainer: the default model has no parameter '{name}'.{nearest(name, known)}",
                f"Parameters: {listed([*known, 'learning_rate', 'batch_rows'], 20)}.",
            )
        given[name] = _like(name, known[name], value)
    return Architecture(**given)


def _like(name: str, default: Any, value: Any) -> Any:
    if isinstance(default, tuple):
        _check(name, isinstance(value, list | tuple), "a list of units, each > 0")
        return tuple(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, float):
        _check(name, is_number, "a number")
        return float(value)
    _check(name, type(value) is type(default), "true or false" if isinstance(default, bool) else "a whole number")
    return value


def build(columns: Iterable[Column], outputs: int, parameters: Mapping[str, Any], start: Start) -> Any:
    """The model, not compiled yet.

    Args:
      columns: what the transform gives.
      outputs: how many margins a row has.
      parameters: see `Architecture`.
      start: what it says before it has learned anything.

    Raises:
      StepError: a parameter is unknown or does not fit.
    """
    import tensorflow as tf

    shape, layers = architecture(parameters), tf.keras.layers
    inputs = {
        c.name: tf.keras.Input(shape=c.shape, dtype=c.dtype, name=f"transformed_{n}") for n, c in enumerate(columns)
    }
    quantities = [_quantity(inputs[c.name], c) for c in columns if not c.ids]
    ids = [(inputs[c.name], c) for c in columns if c.ids]
    deep = _joined([*quantities, *(_embedded(tensor, c, min(shape.embedding, size_of(c.ids))) for tensor, c in ids)])
    penalty = tf.keras.regularizers.L2(shape.l2) if shape.l2 else None
    for units in shape.hidden:
        deep = layers.Dense(units, "relu", kernel_regularizer=penalty)(deep)
        deep = layers.Dropout(shape.dropout)(deep) if shape.dropout else deep
    bias = tf.keras.initializers.Constant([margin / start.scale for margin in start.margins])
    margins = [layers.Dense(outputs, bias_initializer=bias)(deep)]
    if shape.wide:
        margins += [_embedded(tensor, c, outputs, summed=True) for tensor, c in ids]
        margins += [layers.Dense(outputs, use_bias=False)(_joined(quantities))] if quantities else []
    margin = layers.Add()(margins) if len(margins) > 1 else margins[0]
    margin = layers.Rescaling(start.scale)(margin) if start.scale != 1 else margin
    return tf.keras.Model(inputs, margin, name="wide_and_deep")


def size_of(ids: int) -> int:
    """How many numbers stand for an id: growing slowly with how many ids there are, and one at least."""
    return max(1, round(1.6 * math.pow(ids, 0.56)))


def _quantity(tensor: Any, column: Column) -> Any:
    import tensorflow as tf

    numbers = tensor if column.dtype == tf.float32 else tf.cast(tensor, tf.float32)
    return numbers if column.shape else tf.keras.layers.Reshape((1,))(numbers)


def _embedded(tensor: Any, column: Column, size: int, summed: bool = False) -> Any:
    """The ids' vectors, one after the other or, for the wide part, where they start as zeros, summed."""
    import tensorflow as tf

    layers = tf.keras.layers
    places = tensor - column.lowest if column.lowest else tensor
    start = "zeros" if summed else tf.keras.initializers.RandomNormal(stddev=0.05)
    vectors = layers.Embedding(column.ids, size, embeddings_initializer=start)(places)
    if not column.shape:
        return vectors
    return tf.reduce_sum(vectors, axis=1) if summed else layers.Flatten()(vectors)


def _joined(tensors: list[Any]) -> Any:
    import tensorflow as tf

    return tf.keras.layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]


def outputs_of(task: Task, classes: int) -> int:
    """How many margins a row has."""
    return classes if task == "multiclass" else 1
