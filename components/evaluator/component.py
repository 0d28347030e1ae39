"""Evaluator: judges models on labelled rows beside their champion, and blesses the best or says why not."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.evaluator.executor import Executor


class EvaluatorSpec(ComponentSpec):
    """Contract of Evaluator."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Writes `metrics.json` (see `beam_jobs.judgement`) and a blessing as TFX's own Evaluator does.

    Args:
      examples: Braid's Examples, in splits.
      model: the candidate, or a union of the channels of several, which are judged on the same rows.
      config: JSON, see `components.evaluator.rules`.
      baseline_model: the champion; the channel may hold none.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, examples: BaseChannel, model: BaseChannel, config: str = "{}", baseline_model: BaseChannel | None = None
    ) -> None:
        spec = EvaluatorSpec(
            config=config,
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            evaluation=Channel(type=standard_artifacts.ModelEvaluation),
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
