"""The FeatureSelector as TFX sees it."""

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import FeatureImportances
from components.feature_selector.executor import Executor


class FeatureSelectorSpec(ComponentSpec):
    """Examples in, the list of features out."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012
    OUTPUTS = {"importances": ChannelParameter(type=FeatureImportances)}  # noqa: RUF012


class FeatureSelector(BaseComponent):
    """Ranks the columns of examples with XGBoost and keeps those that carry the signal."""

    SPEC_CLASS = FeatureSelectorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, examples: BaseChannel, config: str) -> None:
        """Declares the step.

        Args:
          examples: a channel of Examples with the splits `train` and `eval`.
          config: `components.feature_selector.selection.SelectionConfig` as a JSON object; `label` must be in it.
        """
        spec = FeatureSelectorSpec(examples=examples, config=config, importances=Channel(type=FeatureImportances))
        super().__init__(spec=spec)
