"""The metrics of each task: which there are, which way is better, what range they have."""

from dataclasses import dataclass

from beam_jobs.errors import DataError, listed, nearest

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"


@dataclass(frozen=True)
class Metric:
    """What a metric's number means.

    Attributes:
      better: +1 when more is better, -1 when less is, 0 when neither (a mere description).
    """

    name: str
    better: int
    least: float = 0.0
    most: float = 1.0


_INF = float("inf")
_LOG_LOSS = Metric("log_loss", -1, 0, _INF)
_ACCURACY = Metric("accuracy", 1)
_CALIBRATION = Metric("calibration_error", -1)

METRICS: dict[str, tuple[Metric, ...]] = {
    BINARY: (
        Metric("auc", 1),
        Metric("pr_auc", 1),
        _LOG_LOSS,
        _ACCURACY,
        _CALIBRATION,
        Metric("base_rate", 0),
        Metric("mean_prediction", 0),
    ),
    MULTICLASS: (Metric("macro_auc", 1), _LOG_LOSS, _ACCURACY, Metric("macro_f1", 1), _CALIBRATION),
    REGRESSION: (
        Metric("rmse", -1, 0, _INF),
        Metric("mae", -1, 0, _INF),
        Metric("r2", 1, -_INF, 1),
        Metric("mean_error", 0, -_INF, _INF),
        Metric("mean_label", 0, -_INF, _INF),
        Metric("mean_prediction", 0, -_INF, _INF),
    ),
}

TFMA_METRICS: dict[str, tuple[Metric, ...]] = {
    BINARY: (Metric("auc_precision_recall", 1), Metric("calibration", 0, 0, _INF)),
    MULTICLASS: (),
    REGRESSION: (Metric("mean_squared_error", -1, 0, _INF), Metric("calibration", 0, -_INF, _INF)),
}
"""What tensorflow-model-analysis defines in its own way; told beside the metrics, and nothing is decided by it."""


def metric_of(task: str, name: str) -> Metric:
    """Looks a metric up.

    Raises:
      DataError: the task has no such metric.
    """
    by_name = {metric.name: metric for metric in METRICS[task]}
    if name not in by_name:
        raise DataError(
            f"'{name}' is not a metric of a {task} model.{nearest(name, by_name)}",
            f"The metrics of a {task} model: {listed(by_name)}.",
        )
    return by_name[name]
