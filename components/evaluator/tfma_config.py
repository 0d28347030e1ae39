"""How Braid's figures are called by tensorflow-model-analysis (TFMA), and its configuration for a judging job."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs.intervals import BOOTSTRAP
from beam_jobs.judgement import CHAMPION
from beam_jobs.judging import Judging
from beam_jobs.metrics import BINARY, MULTICLASS, REGRESSION

EXAMPLE_COUNT = "example_count"


@dataclass(frozen=True)
class TfmaMetric:
    """A metric of TFMA's.

    Attributes:
      name: its key in TFMA's results.
      figure: what Braid calls it.
      class_name: what computes it in TFMA.
      module: where that is, '' for TFMA itself.
      macro: whether it is the mean over the classes, each against the rest.
    """

    name: str
    figure: str
    class_name: str
    macro: bool = False
    module: str = ""


OWN = "components.evaluator.tfma_metrics"
_COMMON = (
    TfmaMetric("calibration", "calibration", "Calibration"),
    TfmaMetric("mean_prediction", "mean_prediction", "MeanPrediction"),
)
TFMA_METRICS_OF: dict[str, tuple[TfmaMetric, ...]] = {
    BINARY: (
        TfmaMetric("auc", "auc", "AUC"),
        TfmaMetric("auc_precision_recall", "auc_precision_recall", "AUCPrecisionRecall"),
        TfmaMetric("binary_accuracy", "accuracy", "BinaryAccuracy"),
        TfmaMetric("binary_crossentropy", "log_loss", "BinaryEntropy", module=OWN),
        TfmaMetric("mean_label", "base_rate", "MeanLabel"),
        *_COMMON,
    ),
    MULTICLASS: (
        TfmaMetric("sparse_categorical_accuracy", "accuracy", "LikeliestClass", module=OWN),
        TfmaMetric("sparse_categorical_crossentropy", "log_loss", "ClassEntropy", module=OWN),
        TfmaMetric("auc", "macro_auc", "AUC", macro=True),
    ),
    REGRESSION: (
        TfmaMetric("mean_squared_error", "mean_squared_error", "SquaredError", module=OWN),
        TfmaMetric("mean_absolute_error", "mae", "AbsoluteError", module=OWN),
        TfmaMetric("mean_label", "mean_label", "MeanLabel"),
        *_COMMON,
    ),
}


def model_names(models: Iterable[str]) -> dict[str, str]:
    """TFMA's name of each of a job's models: '' where there is only one."""
    names = list(models)
    return {name: name if len(names) > 1 else "" for name in names}


def eval_config(judging: Judging, label_key: str, prediction_keys: Mapping[str, str]) -> Any:
    """TFMA's `EvalConfig` of a job: models, slices and metrics.

    Args:
      prediction_keys: by model, the feature that holds its predictions; none where they are not kept.
    """
    from tensorflow_model_analysis.proto import config_pb2

    config = config_pb2.EvalConfig()
    for model, name in model_names(judging.models).items():
        config.model_specs.add(
            name=name,
            label_key=label_key,
            prediction_key=prediction_keys.get(model, ""),
            is_baseline=model == CHAMPION,
        )
    config.slicing_specs.add()
    for columns in judging.slices:
        config.slicing_specs.add(feature_keys=columns)
    task = judging.question.task
    plain = config.metrics_specs.add(model_names=[spec.name for spec in config.model_specs])
    plain.metrics.add(class_name="ExampleCount")
    for metric in TFMA_METRICS_OF[task]:
        specification = _averaged(config, judging) if metric.macro else plain
        named = json.dumps({"name": metric.name}) if metric.module else ""
        specification.metrics.add(class_name=metric.class_name, module=metric.module, config=named)
    return config


def _averaged(config: Any, judging: Judging) -> Any:
    """A specification of metrics that are computed for each class and averaged."""
    specification = config.metrics_specs.add(model_names=[spec.name for spec in config.model_specs])
    classes = range(len(judging.question.classes))
    specification.binarize.class_ids.values.extend(classes)
    specification.aggregate.macro_average = True
    for number in classes:
        specification.aggregate.class_weights[number] = 1.0
    return specification


def with_intervals(config: Any, judging: Judging) -> Any:
    """The configuration, saying how Braid's intervals were made."""
    config.options.compute_confidence_intervals.value = True
    method = "POISSON_BOOTSTRAP" if judging.question.intervals.method == BOOTSTRAP else "JACKKNIFE"
    options = config.options.confidence_intervals
    options.method = options.ConfidenceIntervalMethod.Value(method)
    return config
