"""DataGate: examples pass only when they fit the schema and drift no further than allowed."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.data_gate.executor import Executor


class DataGateSpec(ComponentSpec):
    """Inputs, outputs and parameters of DataGate."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "previous_statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
    }
    OUTPUTS = {"anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}  # noqa: RUF012


class DataGate(base_component.BaseComponent):
    """Stops the pipeline on an anomaly, and says which column, which values, how many rows, in which split.

    Its output has the layout of TFX's ExampleValidator.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: channel.BaseChannel,
        schema: channel.BaseChannel,
        config: str = "{}",
        examples: channel.BaseChannel | None = None,
        previous_statistics: channel.BaseChannel | None = None,
    ) -> None:
        """Declares the step.

        Args:
          statistics: a channel of ExampleStatistics.
          schema: a channel of Schema.
          config: JSON, see `gate_config.parse_config`; `{}` checks the schema alone and stops on any anomaly.
          examples: the examples that the statistics describe, for exact counts and values in the messages.
          previous_statistics: ExampleStatistics of earlier data, for `drift_from_previous`.
        """
        anomalies = channel.OutputChannel(standard_artifacts.ExampleAnomalies, self, "anomalies")
        super().__init__(
            DataGateSpec(
                statistics=statistics,
                schema=schema,
                config=config,
                examples=examples,
                previous_statistics=previous_statistics,
                anomalies=anomalies,
            )
        )
