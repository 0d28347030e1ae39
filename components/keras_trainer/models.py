"""The model to be trained: the default one or the user's own, checked against the contract between it and the trainer.

The user's function is called as

    build_model(tf_transform_output, task, classes, parameters) -> tf.keras.Model

- `tf_transform_output`: a `tft.TFTransformOutput`, which knows what the transform gives and its vocabularies;
- `task`: 'binary', 'multiclass' or 'regression';
- `classes`: the label's values in the order of their codes; empty for a regression;
- `parameters`: the mapping that the configuration calls `parameters`.

The model takes a dict of the transform's outputs, each of shape (rows,) or (rows, k), and answers the margin before any
sigmoid or softmax: (rows,) or (rows, 1) log odds of the second class, (rows, classes) scores, or (rows,) or (rows, 1) values
of a regression, in the label's own unit. A model that is compiled keeps its optimizer and its loss, which must be on margins
(`from_logits=True`); one that is not gets Adam and the task's own loss: cross entropy or the squared error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.errors import StepError
from components.keras_trainer import default_model
from components.keras_trainer.default_model import Start, outputs_of
from components.keras_trainer.library import load_tensorflow
from components.keras_trainer.transform_graph import Arrays, TransformGraph
from components.model_contract import ModelContract
from components.user_module import read_function, words_of

LEARNING_RATE, BATCH_ROWS = 0.001, 1_024
_WHAT = "KerasTrainer: module"


@dataclass(frozen=True)
class Optimisation:
    """What `parameters` set of the training, whatever the model.

    Attributes:
      learning_rate: Adam's, unless the user's model is compiled.
      batch_rows: rows of one step.
    """

    learning_rate: float = LEARNING_RATE
    batch_rows: int = BATCH_ROWS

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Optimisation":
        """Reads them.

        Raises:
          StepError: a value does not fit.
        """
        rate, rows = parameters.get("learning_rate", LEARNING_RATE), parameters.get("batch_rows", BATCH_ROWS)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
            raise StepError(
                f"KerasTrainer: the parameter 'learning_rate' must be a number above 0, not {rate!r}.",
                f"Correct it in 'parameters'; {LEARNING_RATE} is the default.",
            )
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise StepError(
                f"KerasTrainer: the parameter 'batch_rows' must be a whole number of rows, not {rows!r}.",
                f"Correct it in 'parameters'; {BATCH_ROWS} is the default.",
            )
        return cls(float(rate), rows)


@dataclass(frozen=True)
class ModelSource:
    """Where the model comes from.

    Attributes:
      module: the user's Python file; '' for the default model.
    """

    module: str
    function: str
    parameters: Mapping[str, Any]

    def build(self, transform: TransformGraph, contract: ModelContract, start: Start) -> Any:
        """The model, compiled.

        Raises:
          StepError: a parameter does not fit, the user's function fails, or what it returns is not a model or not one
            that fits the task.
        """
        tf = load_tensorflow()
        outputs = outputs_of(contract.task, len(contract.classes))
        if not self.module:
            own = {name: value for name, value in self.parameters.items() if name not in vars(Optimisation())}
            model = default_model.build(list(transform.columns.values()), outputs, own, start)
        else:
            model = self._users(transform, contract)
            if not isinstance(model, tf.keras.Model):
                raise self._error(f"returned {_kind(model)}", "Return a tf.keras.Model (of Keras 2: `tf.keras`).")
            _refuse_activation(model, self)
        if getattr(model, "optimizer", None) is None:
            rate = Optimisation.of(self.parameters).learning_rate
            model.compile(optimizer=tf.keras.optimizers.Adam(rate), loss=_loss(contract, start))
        self._check_loss(model)
        return model

    def _users(self, transform: TransformGraph, contract: ModelContract) -> Any:
        users = read_function(self.module, self.function, _WHAT)
        function = users.load()
        with users.errors_told():
            return function(transform.output, contract.task, contract.classes, dict(self.parameters))

    def _error(self, words: str, hint: str) -> StepError:
        return StepError(f"{_WHAT}: '{self.function}' in '{self.module}' {words}.", hint)

    def _check_loss(self, model: Any) -> None:
        loss = getattr(model, "loss", None)
        name = loss if isinstance(loss, str) else type(loss).__name__
        settings = loss.get_config() if loss is not None and hasattr(loss, "get_config") else {}
        of_probabilities = "crossentropy" in name.lower() and not settings.get("from_logits")
        if self.module and of_probabilities:
            raise self._error(
                f"compiled the model with the loss '{name}' of probabilities; the model answers margins",
                "Set from_logits=True in the loss, and leave the last sigmoid or softmax out.",
            )

    def check_answer(self, model: Any, rows: Arrays, contract: ModelContract) -> None:
        """Calls the model on a few rows, which also makes its variables.

        Raises:
          StepError: it fails, or its answer has another shape or type than the task needs.
        """
        import tensorflow as tf

        wanted = outputs_of(contract.task, len(contract.classes))
        try:
            answer = model({name: tf.constant(values) for name, values in rows.items()}, training=False)
        except Exception as error:
            if not self.module:
                raise
            raise self._error(
                f"made a model that fails on the transform's outputs{words_of(error, self.module)}",
                "It is called with a dict of tensors, (rows,) or (rows, k), named as preprocessing_fn names them.",
            ) from error
        count = len(next(iter(rows.values())))
        allowed = [(count, wanted)] if contract.task == "multiclass" else [(count,), (count, 1)]
        shape = tuple(getattr(answer, "shape", ()))
        if shape not in allowed or not answer.dtype.is_floating:
            told = (
                f"{getattr(answer, 'dtype', type(answer)).name} of the shape {_words(shape, count)}"
                if shape
                else _kind(answer)
            )
            shapes = " or ".join(_words(one, count) for one in allowed)
            raise self._error(
                f"made a model that answers {told}; the task '{contract.task}' needs float32 of {shapes}",
                f"End it with tf.keras.layers.Dense({wanted}), without an activation.",
            )


def margins(model: Any, inputs: Any, contract: ModelContract) -> Any:
    """The model's answer as shape (rows,), or (rows, classes); inside a TensorFlow function."""
    import tensorflow as tf

    answer = tf.cast(model(inputs, training=False), tf.float32)
    return answer if contract.task == "multiclass" else tf.reshape(answer, [-1])


def predictions(margin: Any, contract: ModelContract) -> Any:
    """Margins as the contract's answers: probabilities, or values."""
    import tensorflow as tf

    if contract.task == "regression":
        return margin
    return tf.nn.softmax(margin) if contract.task == "multiclass" else tf.sigmoid(margin)


def _loss(contract: ModelContract, start: Start) -> Any:
    import tensorflow as tf

    losses = tf.keras.losses
    if contract.task == "binary":
        return losses.BinaryCrossentropy(from_logits=True)
    if contract.task == "multiclass":
        return losses.SparseCategoricalCrossentropy(from_logits=True)
    # In units of the label's spread, so that one learning rate suits all labels.
    return _scaled_squares(start.scale)


def _scaled_squares(scale: float) -> Any:
    """The squared error of a regression, in squared units of the label's standard deviation."""
    import tensorflow as tf

    def squared_error(labels: Any, values: Any) -> Any:
        return tf.square((tf.reshape(values, [-1]) - tf.reshape(labels, [-1])) / scale)

    return squared_error


def _refuse_activation(model: Any, source: ModelSource) -> None:
    history = getattr((getattr(model, "outputs", None) or [None])[0], "_keras_history", None)
    layer = history.layer if history is not None else next(reversed(model.layers), None)
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    name = name or type(layer).__name__.lower()
    if name in ("sigmoid", "softmax"):
        raise source._error(
            f"made a model that ends in a {name}; the trainer wants the margin before it",
            "Leave the last activation out; the exported model has it.",
        )


def _words(shape: tuple[Any, ...], rows: int) -> str:
    told = ["rows" if size == rows else str(size) for size in shape]
    return f"({', '.join(told)}{',' if len(told) == 1 else ''})"


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__module__}.{type(value).__name__}"
