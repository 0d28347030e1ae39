"""The Explainer as TFX sees it."""

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Explanations
from components.explainer.executor import Executor


class ExplainerSpec(ComponentSpec):
    """Examples and models in, explanations of one of them out."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
    }
    OUTPUTS = {"explanations": ChannelParameter(type=Explanations)}  # noqa: RUF012


class Explainer(BaseComponent):
    """Tells what each feature adds to the predictions of a sample of rows; see `components.explanations`."""

    SPEC_CLASS = ExplainerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self, examples: BaseChannel, model: BaseChannel, config: str = "", blessing: BaseChannel | None = None
    ) -> None:
        """Declares the step.

        Args:
          examples: a channel of Examples with the split that rows are drawn from.
          model: a channel of one or more Models.
          config: `components.explainer.explaining.ExplanationConfig` as a JSON object; '' for its defaults.
          blessing: a channel of ModelBlessing: of several models the one that it speaks of is explained, blessed or not;
            the first where it speaks of none.
        """
        spec = ExplainerSpec(
            examples=examples, model=model, config=config, blessing=blessing, explanations=Channel(type=Explanations)
        )
        super().__init__(spec=spec)
