"""Scorer: a trained model applied to every row of a table."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Predictions, PreparedTable, SourceTable
from components.scorer.executor import Executor


class ScorerSpec(ComponentSpec):
    """Contract of Scorer."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=standard_artifacts.Model),
        "sources": ChannelParameter(type=SourceTable, optional=True),
        "prepared": ChannelParameter(type=PreparedTable, optional=True),
    }
    OUTPUTS = {"predictions": ChannelParameter(type=Predictions)}  # noqa: RUF012


class Scorer(base_beam_component.BaseBeamComponent):
    """Writes Parquet predictions with the `_row` of the rows that they are for.

    Args:
      model: a channel of one Model.
      config: JSON, see `components.scorer.scoring_config.ScoringConfig`.
      sources: a channel, or a union, of source tables.
      prepared: the same of tables that prepare steps wrote.
    """

    SPEC_CLASS = ScorerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, model: BaseChannel, config: str, sources: BaseChannel | None = None, prepared: BaseChannel | None = None
    ) -> None:
        output = Channel(type=Predictions)
        spec = ScorerSpec(model=model, config=config, sources=sources, prepared=prepared, predictions=output)
        super().__init__(spec=spec)
