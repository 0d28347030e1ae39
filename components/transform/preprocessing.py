"""Preprocessing functions as TensorFlow Transform takes them: the default one, and the user's own, checked.

| column | outputs of the default function |
|---|---|
| number, date, time | its z-score, a missing value 0; `<name>_missing` (0 or 1) where values lack; for a skewed number also `<name>_bucket`, the range it falls into |
| true or false | 1 or 0, a missing value 0; `<name>_missing` where values lack |
| text, or whole numbers that the schema calls categorical | its place in the vocabulary, most frequent first; missing is a value like others; unseen values share the ids after the vocabulary |

Ids and ranges are int64 with their domain in the transformed schema, all else is float32. Everything is (rows,).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import StepError
from components.transform.columns import Column
from components.user_module import UserFunction

MISSING = "(missing)"
"""What a vocabulary calls a row without a value."""

Tensors = dict[str, Any]


@dataclass(frozen=True)
class DefaultPreprocessing:
    """The function written from the schema; picklable."""

    columns: tuple[Column, ...]
    vocabulary: int
    oov_buckets: int
    buckets: int

    def __call__(self, inputs: Mapping[str, Any]) -> Tensors:
        """The outputs for a batch: tensors of shape (rows,) to tensors of shape (rows,)."""
        names = _Names(column.name for column in self.columns)
        outputs: Tensors = {}
        for column in self.columns:
            value = inputs[column.name]
            if column.role in ("text", "code"):
                outputs[column.name] = self._ids(value, column, names)
            else:
                outputs |= self._numbers(value, column, names)
        return outputs

    def _ids(self, value: Any, column: Column, names: "_Names") -> Any:
        import tensorflow as tf
        import tensorflow_transform as tft

        if column.role == "code":
            value = tf.where(tf.math.is_nan(value), "", tf.strings.as_string(tf.cast(value, tf.int64)))
        return tft.compute_and_apply_vocabulary(
            tf.where(tf.equal(value, ""), MISSING, value),
            top_k=self.vocabulary,
            num_oov_buckets=self.oov_buckets,
            vocab_filename=names.file(column.name),
        )

    def _numbers(self, value: Any, column: Column, names: "_Names") -> Tensors:
        import tensorflow as tf
        import tensorflow_transform as tft

        missing = tf.math.is_nan(value)
        known = value if column.role == "flag" else tft.scale_to_z_score(value)
        outputs = {column.name: tf.where(missing, tf.zeros_like(known), known)}
        if column.missing:
            outputs[names.output(f"{column.name}_missing")] = tf.cast(missing, tf.float32)
        if column.skewed:
            outputs[names.output(f"{column.name}_bucket")] = tft.bucketize(value, self.buckets)
        return outputs


class _Names:
    """Names that no column has, and file names of vocabularies."""

    def __init__(self, columns: Iterable[str]) -> None:
        self._outputs, self._files = set(columns), set[str]()

    def output(self, name: str) -> str:
        return _unused(name, self._outputs)

    def file(self, column: str) -> str:
        return _unused(f"vocabulary_{re.sub(r'[^A-Za-z0-9_]', '_', column)}", self._files)


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


@dataclass(frozen=True)
class UserPreprocessing:
    """The user's own function, loaded where it runs; picklable."""

    function: UserFunction
    columns: tuple[str, ...]

    def __call__(self, inputs: Mapping[str, Any]) -> Tensors:
        """The function's outputs.

        Raises:
          StepError: it raised, or gave something else than dense numbers, a row each.
        """
        preprocess = self.function.load()
        with self.function.errors_told():
            outputs = preprocess(dict(inputs))
        check_outputs(outputs, self.where)
        found: Tensors = outputs
        return found

    @property
    def where(self) -> str:
        """The function, for messages."""
        return f"{self.function.what}: '{self.function.name}' in '{self.function.path}'"


Preprocessing = DefaultPreprocessing | UserPreprocessing


def check_outputs(outputs: object, where: str) -> None:
    """Holds what a preprocessing function gave against what can be learned from.

    Raises:
      StepError: it is not a dict of dense tensors of numbers with a row for each row.
    """
    if not isinstance(outputs, dict) or not outputs or not all(isinstance(name, str) for name in outputs):
        shown = "an empty dict" if outputs == {} else f"{type(outputs).__name__}"
        raise StepError(f"{where} returned {shown}, not a dict of tensors by name.", "Return {'name': tensor, ...}.")
    for name, tensor in outputs.items():
        _check_output(name, tensor, where)


def _check_output(name: str, tensor: Any, where: str) -> None:
    import tensorflow as tf

    if isinstance(tensor, tf.SparseTensor | tf.RaggedTensor):
        hint = f"Return tf.sparse.to_dense(...) or {type(tensor).__name__}.to_tensor() with a fixed number of columns."
        raise StepError(f"{where}: output '{name}' is a {type(tensor).__name__}, not a dense tensor.", hint)
    if not isinstance(tensor, tf.Tensor):
        raise StepError(f"{where}: output '{name}' is {type(tensor).__name__}, not a tensor.", "Return tensors alone.")
    if tensor.dtype == tf.string:
        raise StepError(
            f"{where}: output '{name}' is text, which no model can learn from.",
            "Turn it into ids with tft.compute_and_apply_vocabulary, or leave it out.",
        )
    if tensor.dtype not in (tf.float32, tf.int64):
        raise StepError(
            f"{where}: output '{name}' is {tensor.dtype.name}; float32 and int64 can be learned from.",
            "Use tf.cast(..., tf.float32), or tf.int64 for ids.",
        )
    _check_shape(name, tensor.shape, where)


def _check_shape(name: str, shape: Any, where: str) -> None:
    hint = "Give one value a row, shape (rows,), or a fixed number k of them, shape (rows, k)."
    if shape.rank not in (1, 2) or (shape.rank == 2 and shape[1] is None):
        told = "an unknown shape" if shape.rank is None else f"the shape {_shown(shape)}"
        raise StepError(f"{where}: output '{name}' has {told}.", hint)
    if shape[0] is not None:
        raise StepError(f"{where}: output '{name}' has {shape[0]} rows whatever the number of input rows.", hint)


def _shown(shape: Sequence[int | None]) -> str:
    inner = ", ".join("?" if size is None else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def check_rows(outputs: Mapping[str, Any], rows: int, where: str) -> None:
    """Holds the number of rows that came out against those that went in.

    Raises:
      StepError: an output has more or fewer.
    """
    for name, tensor in outputs.items():
        if tensor.shape[0] != rows:
            raise StepError(
                f"{where}: output '{name}' has {tensor.shape[0]} rows for {rows} input rows.",
                "Every row must keep its place: filter rows in a prepare step, not here.",
            )
