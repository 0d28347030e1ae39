"""Metrics for TFMA where its own of the same name are wrong or cannot be shared by a worker's threads.

TFMA's cross entropy and regression errors count the first of the parts that they merge twice: they take the first from
a list and go through the whole list again. Handed an iterator they are right. Keras's metrics keep their sums in one
object, which threads reset under each other. TFMA loads this module as its configuration says.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import cross_entropy_metrics, mean_regression_error, metric_types, metric_util

_RESOLUTION = float(np.finfo(np.float32).eps)
Sums = tuple[float, float]
"""Of values times weights, and of weights."""


class _MergedOnce(beam.CombineFn):
    """A combiner of TFMA's whose parts are merged once each."""

    def __init__(self, combiner: beam.CombineFn) -> None:
        self.combiner = combiner

    def create_accumulator(self) -> Any:
        return self.combiner.create_accumulator()

    def add_input(self, accumulator: Any, element: Any) -> Any:
        return self.combiner.add_input(accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        return self.combiner.merge_accumulators(iter(accumulators))

    def extract_output(self, accumulator: Any) -> Any:
        return self.combiner.extract_output(accumulator)


def _merged_once(computations: Iterable[Any]) -> list[Any]:
    return [one._replace(combiner=_MergedOnce(one.combiner)) for one in computations]


class BinaryEntropy(cross_entropy_metrics.BinaryCrossEntropy):
    """TFMA's `binary_crossentropy`."""

    def computations(self, **settings: Any) -> list[Any]:
        """TFMA's own, mended."""
        return _merged_once(super().computations(**settings))


class SquaredError(mean_regression_error.MeanSquaredError):
    """TFMA's `mean_squared_error`."""

    def computations(self, **settings: Any) -> list[Any]:
        """TFMA's own, mended."""
        return _merged_once(super().computations(**settings))


class AbsoluteError(mean_regression_error.MeanAbsoluteError):
    """TFMA's `mean_absolute_error`."""

    def computations(self, **settings: Any) -> list[Any]:
        """TFMA's own, mended."""
        return _merged_once(super().computations(**settings))


class _MeanCombiner(beam.CombineFn):
    """The weighted mean of a value of each row."""

    def __init__(self, key: Any, eval_config: Any, kind: str) -> None:
        self.key, self.eval_config, self.kind = key, eval_config, kind

    def create_accumulator(self) -> Sums:
        return 0.0, 0.0

    def add_input(self, accumulator: Sums, element: Any) -> Sums:
        total, rows = accumulator
        for label, prediction, weight in self._rows(element):
            total += _VALUES[self.kind](int(label.item()), prediction) * weight
            rows += weight
        return total, rows

    def _rows(self, element: Any) -> Iterator[tuple[Any, npt.NDArray[np.float64], float]]:
        told = metric_util.to_label_prediction_example_weight(
            element, eval_config=self.eval_config, model_name=self.key.model_name, output_name="", flatten=False
        )
        for label, prediction, weight in told:
            yield label, prediction.astype(np.float64).ravel(), float(np.asarray(weight).item())

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        parts = list(accumulators)
        return sum(total for total, _ in parts), sum(rows for _, rows in parts)

    def extract_output(self, accumulator: Sums) -> dict[Any, float]:
        total, rows = accumulator
        return {self.key: total / rows if rows else float("nan")}


def _hit(label: int, prediction: npt.NDArray[np.float64]) -> float:
    return float(prediction.argmax() == label)


def _loss(label: int, prediction: npt.NDArray[np.float64]) -> float:
    return float(-np.log(np.clip(prediction[label], _RESOLUTION, 1 - _RESOLUTION)))


_VALUES = {"hit": _hit, "loss": _loss}


def _mean_of(kind: str, name: str, eval_config: Any, model_name: str) -> list[Any]:
    key = metric_types.MetricKey(name=name, model_name=model_name)
    combiner = _MeanCombiner(key, eval_config, kind)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=combiner)]


# TFMA looks at the names of the parameters to see what to give.
def _hits(name: str = "", eval_config: Any = None, model_name: str = "") -> list[Any]:
    return _mean_of("hit", name, eval_config, model_name)


def _losses(name: str = "", eval_config: Any = None, model_name: str = "") -> list[Any]:
    return _mean_of("loss", name, eval_config, model_name)


class LikeliestClass(metric_types.Metric):
    """What Keras calls `sparse_categorical_accuracy`."""

    def __init__(self, name: str) -> None:
        super().__init__(metric_util.merge_per_key_computations(_hits), name=name)


class ClassEntropy(metric_types.Metric):
    """What Keras calls `sparse_categorical_crossentropy`."""

    def __init__(self, name: str) -> None:
        super().__init__(metric_util.merge_per_key_computations(_losses), name=name)
