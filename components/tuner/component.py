"""The Tuner as TFX sees it."""

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import FeatureImportances
from components.tuner.executor import Executor


class TunerSpec(ComponentSpec):
    """Examples and the list of features in, parameters out."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "importances": ChannelParameter(type=FeatureImportances),
        "transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph, optional=True),
    }
    OUTPUTS = {"hyperparameters": ChannelParameter(type=standard_artifacts.HyperParameters)}  # noqa: RUF012


class Tuner(BaseComponent):
    """Searches for a trainer's parameters with Optuna."""

    SPEC_CLASS = TunerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        importances: BaseChannel,
        config: str = "",
        transform_graph: BaseChannel | None = None,
    ) -> None:
        """Declares the step.

        Args:
          examples: a channel of Examples with the splits `train` and `eval`.
          importances: a channel of FeatureImportances, which name the label, the task and the kept columns.
          config: `components.tuner.tuning.TuningConfig` as a JSON object; '' for its defaults.
          transform_graph: a channel of TransformGraph, for a family that needs it.
        """
        super().__init__(
            spec=TunerSpec(
                examples=examples,
                importances=importances,
                transform_graph=transform_graph,
                config=config,
                hyperparameters=Channel(type=standard_artifacts.HyperParameters),
            )
        )
