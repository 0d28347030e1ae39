"""TableCheck: a table to be scored, held against what its model was trained on."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import PreparedTable, SourceTable
from components.table_check.executor import Executor


class TableCheckSpec(ComponentSpec):
    """Contract of TableCheck."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "trained_on": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "sources": ChannelParameter(type=SourceTable, optional=True),
        "prepared": ChannelParameter(type=PreparedTable, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }


class TableCheck(base_component.BaseComponent):
    """Looks at a sample of the rows as the model would read them: types, domains, missing values, drift.

    Args:
      config: JSON, see `components.table_check.checking.CheckConfig`.
      trained_on: statistics of the examples that the model was trained on.
      schema: the schema that these were held against.
      sources: a channel, or a union, of source tables.
      prepared: the same of tables that prepare steps wrote.
    """

    SPEC_CLASS = TableCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        config: str,
        trained_on: BaseChannel,
        schema: BaseChannel,
        sources: BaseChannel | None = None,
        prepared: BaseChannel | None = None,
    ) -> None:
        spec = TableCheckSpec(
            config=config,
            trained_on=trained_on,
            schema=schema,
            sources=sources,
            prepared=prepared,
            statistics=Channel(type=standard_artifacts.ExampleStatistics),
            anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        )
        super().__init__(spec=spec)
