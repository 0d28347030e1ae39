"""What each raw feature adds to a row's margin: integrated gradients, computed inside the exported model.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017. The path leads from the mean of a sample of
the training rows to the row, straight through the space that the model computes in: quantities are as the transform gives
them, ids are the vectors that their layers make of them (an id itself has no gradient). The integral is a sum at
Gauss-Legendre points; what that leaves to the margin (for the flights model 0.003 of the log odds in the median row, 0.03 in
the worst) is spread in proportion to the sizes of the contributions, so that a row sums to its margin up to rounding.

A tensor of the transform belongs to the raw features that it is computed from, in equal shares.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.keras_trainer.dataset import Rows
from components.keras_trainer.default_model import outputs_of
from components.keras_trainer.models import margins
from components.keras_trainer.transform_graph import TransformGraph
from components.model_contract import ModelContract

STEPS = 32
_SLICE_ROWS = 4_096


@dataclass(frozen=True)
class Cut:
    """A model in two parts, the second of which takes numbers alone.

    Attributes:
      front: the transform's tensors to those that the second part takes, a list.
      back: those to the model's answer.
      sources: for each of them, the transform's tensors that it is made of.
    """

    front: Any
    back: Any
    sources: tuple[frozenset[str], ...]


def cut(model: Any, transform: TransformGraph) -> Cut | None:
    """Cuts the model behind its ids; None where it takes ids and is not a functional model."""
    import tensorflow as tf

    names = list(transform.columns)
    if all(column.dtype.is_floating for column in transform.columns.values()):
        return Cut(
            lambda inputs: [inputs[name] for name in names],
            lambda tensors: model(dict(zip(names, tensors, strict=True)), training=False),
            tuple(frozenset({name}) for name in names),
        )
    # Whether it is one says `_is_graph_network`, which Keras has no public word for.
    if not getattr(model, "_is_graph_network", False) or not isinstance(model.input, dict):
        return None
    found = _first_numbers(model)
    tensors = [tensor for tensor, _ in found]
    return Cut(
        tf.keras.Model(model.input, tensors),
        tf.keras.Model(tensors, model.output),
        tuple(sources for _, sources in found),
    )


def _first_numbers(model: Any) -> list[tuple[Any, frozenset[str]]]:
    """The tensors where numbers begin: inputs that are, and what layers make of those that are not."""
    import tensorflow as tf

    numbers: list[tuple[Any, frozenset[str]]] = []
    ids: dict[int, frozenset[str]] = {}
    sources: dict[int, frozenset[str]] = {}
    for name, tensor in model.input.items():
        sources[id(tensor)] = frozenset({name})
        if tensor.dtype.is_floating:
            numbers.append((tensor, frozenset({name})))
        else:
            ids[id(tensor)] = frozenset({name})
    for node in _nodes(model):
        taken = tf.nest.flatten(node.keras_inputs)
        made_of = frozenset().union(*(sources.get(id(tensor), frozenset()) for tensor in taken))
        for tensor in tf.nest.flatten(node.outputs):
            sources[id(tensor)] = made_of
            if not any(id(one) in ids for one in taken):
                continue
            if tensor.dtype.is_floating:
                numbers.append((tensor, made_of))
            else:
                ids[id(tensor)] = made_of
    return numbers


def _nodes(model: Any) -> Iterator[Any]:
    """The calls of the model's layers, inputs first."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


def shares(found: Cut, transform: TransformGraph) -> npt.NDArray[np.float32]:
    """How much of each tensor of the cut belongs to each raw feature: shape (tensors, features)."""
    names = [feature.name for feature in transform.features]
    behind = transform.raw_sources()
    matrix = np.zeros((len(found.sources), len(names)), np.float32)
    for place, columns in enumerate(found.sources):
        raw = frozenset().union(*(behind[column] for column in columns))
        for name in raw:
            matrix[place, names.index(name)] = 1 / len(raw)
    return matrix


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of one model.

    Attributes:
      baseline: where the path begins: one row of each tensor of the cut.
      shares: see `shares`.
    """

    cut: Cut
    transform: TransformGraph
    contract: ModelContract
    baseline: Sequence[npt.NDArray[np.float32]]
    shares: npt.NDArray[np.float32]

    @classmethod
    def of(cls, model: Any, transform: TransformGraph, contract: ModelContract, sample: Rows) -> "Attribution | None":
        """The attribution whose paths begin at the sample's mean; None where the model allows none."""
        found = cut(model, transform)
        if found is None:
            return None
        return cls(found, transform, contract, _mean(found, sample), shares(found, transform))

    def contributions(self, raw: Any) -> Any:
        """Shape (rows, features + 1), or (rows, classes, features + 1); inside a TensorFlow function."""
        import tensorflow as tf

        tensors = [tf.cast(tensor, tf.float32) for tensor in self.cut.front(self.transform.transform(raw))]
        outputs = outputs_of(self.contract.task, len(self.contract.classes))
        of_classes = tf.map_fn(
            lambda output: self._of_output(tensors, output), tf.range(outputs), fn_output_signature=tf.float32
        )
        return tf.transpose(of_classes, [1, 0, 2]) if self.contract.task == "multiclass" else of_classes[0]

    def _margin(self, tensors: list[Any], output: Any) -> Any:
        import tensorflow as tf

        answer = margins(lambda given, training: self.cut.back(given), tensors, self.contract)
        return tf.gather(answer, output, axis=1) if self.contract.task == "multiclass" else answer

    def _of_output(self, tensors: list[Any], output: Any) -> Any:
        """Of one margin: shape (rows, features + 1)."""
        import tensorflow as tf

        starts = [tf.constant(start) for start in self.baseline]
        ways = [tensor - start for tensor, start in zip(tensors, starts, strict=True)]
        points, weights = np.polynomial.legendre.leggauss(STEPS)
        places = tf.constant((points + 1) / 2, tf.float32), tf.constant(weights / 2, tf.float32)

        def add(step: Any, sums: list[Any]) -> tuple[Any, list[Any]]:
            point = [start + places[0][step] * way for start, way in zip(starts, ways, strict=True)]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(point)
                margin = self._margin(point, output)
            slopes = tape.gradient(margin, point, unconnected_gradients="zero")
            return step + 1, [
                total + places[1][step] * tf.convert_to_tensor(slope) for total, slope in zip(sums, slopes, strict=True)
            ]

        zeros = [tf.zeros_like(way) for way in ways]
        _, sums = tf.while_loop(lambda step, _: step < STEPS, add, (tf.constant(0), zeros))
        parts = [
            tf.reduce_sum(tf.reshape(way * slope, [tf.shape(way)[0], int(np.prod(start.shape))]), axis=1)
            for way, slope, start in zip(ways, sums, self.baseline, strict=True)
        ]
        values = tf.linalg.matmul(tf.stack(parts, axis=1), tf.constant(self.shares))
        bias = self._margin(starts, output)
        left = self._margin(tensors, output) - bias - tf.reduce_sum(values, axis=1)
        sizes = tf.abs(values)
        whole = values + left[:, None] * tf.math.divide_no_nan(sizes, tf.reduce_sum(sizes, axis=1, keepdims=True))
        return tf.concat([whole, tf.repeat(bias[:, None], tf.shape(whole)[0], axis=0)], axis=1)


def _mean(found: Cut, sample: Rows) -> list[npt.NDArray[np.float32]]:
    """The mean row of each tensor of the cut, shape (1, ...)."""
    import tensorflow as tf

    totals: list[Any] = []
    for start in range(0, len(sample), _SLICE_ROWS):
        rows = sample.take(slice(start, start + _SLICE_ROWS))
        tensors = found.front({name: tf.constant(values) for name, values in rows.inputs.items()})
        sums = [np.asarray(tensor, np.float64).sum(axis=0, keepdims=True) for tensor in tensors]
        totals = [total + more for total, more in zip(totals, sums, strict=True)] if totals else sums
    return [(total / len(sample)).astype(np.float32) for total in totals]
