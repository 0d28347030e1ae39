"""ArrowStatistics: TFDV statistics of flat Parquet examples."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.arrow_statistics.executor import Executor


class ArrowStatisticsSpec(ComponentSpec):
    """Inputs, outputs and parameters of ArrowStatistics."""

    PARAMETERS = {"sample_rows": ExecutionParameter(type=int)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012
    OUTPUTS = {"statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics)}  # noqa: RUF012


class ArrowStatistics(base_beam_component.BaseBeamComponent):
    """A Beam job that counts every row of every split, column by column.

    Its output has the layout of TFX's StatisticsGen, so SchemaGen and ExampleValidator read it.
    """

    SPEC_CLASS = ArrowStatisticsSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: channel.BaseChannel, sample_rows: int = 0) -> None:
        """Declares the step.

        Args:
          examples: a channel of Examples whose URI holds a table manifest.
          sample_rows: 0 to count every row; else about so many rows of each split, read in whole row groups spread
            evenly over it. A sample's `num_examples` is the sample's, and rare values may be missing from it.
        """
        statistics = channel.OutputChannel(standard_artifacts.ExampleStatistics, self, "statistics")
        super().__init__(ArrowStatisticsSpec(examples=examples, sample_rows=sample_rows, statistics=statistics))
