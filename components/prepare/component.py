"""Prepare and PrepareExamples: one SQL query over one streamed table and small broadcast tables."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import PreparedTable, SourceTable
from components.prepare.executor import Executor

# Both kinds of table may be many: each artifact carries the name that the query knows it by.
_INPUTS = {
    "sources": ChannelParameter(type=SourceTable, optional=True),
    "prepared": ChannelParameter(type=PreparedTable, optional=True),
}
_PARAMETERS = {"config": ExecutionParameter(type=str)}


class PrepareSpec(ComponentSpec):
    """Contract of Prepare."""

    PARAMETERS = _PARAMETERS
    INPUTS = _INPUTS
    OUTPUTS = {"table": ChannelParameter(type=PreparedTable)}  # noqa: RUF012


class PrepareExamplesSpec(ComponentSpec):
    """Contract of PrepareExamples."""

    PARAMETERS = _PARAMETERS
    INPUTS = _INPUTS
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012


class Prepare(base_beam_component.BaseBeamComponent):
    """Writes an intermediate table.

    Args:
      config: the step as JSON: name, stream, sql, partition_by, fan_out.
      sources: a channel, or a union, of source tables.
      prepared: the same of tables that earlier steps wrote.
    """

    SPEC_CLASS = PrepareSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, config: str, sources: BaseChannel | None = None, prepared: BaseChannel | None = None) -> None:
        output = Channel(type=PreparedTable)
        super().__init__(spec=PrepareSpec(config=config, sources=sources, prepared=prepared, table=output))


class PrepareExamples(base_beam_component.BaseBeamComponent):
    """Writes the examples, split; arguments as for `Prepare`, with `split` in the configuration."""

    SPEC_CLASS = PrepareExamplesSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, config: str, sources: BaseChannel | None = None, prepared: BaseChannel | None = None) -> None:
        output = Channel(type=standard_artifacts.Examples)
        super().__init__(spec=PrepareExamplesSpec(config=config, sources=sources, prepared=prepared, examples=output))
