"""Transform: the inputs of neural networks, by tensorflow-transform."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import FeatureImportances
from components.transform.executor import Executor


class TransformSpec(ComponentSpec):
    """Contract of Transform."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "importances": ChannelParameter(type=FeatureImportances),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph)}  # noqa: RUF012


class Transform(base_beam_component.BaseBeamComponent):
    """A Beam job over the kept columns of `train` that learns vocabularies, scales and ranges.

    Its output has the layout of TFX's own Transform, so `tft.TFTransformOutput` and stock components open it.
    """

    SPEC_CLASS = TransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel, importances: BaseChannel, schema: BaseChannel, config: str = "") -> None:
        """Declares the step.

        Args:
          examples: a channel of Examples with the split `train`.
          importances: a channel of FeatureImportances, which name the kept columns.
          schema: a channel of Schema, which tells whole numbers that are names (`is_categorical`) from others.
          config: `components.transform.columns.TransformConfig` as a JSON object; '' for its defaults.
        """
        spec = TransformSpec(
            examples=examples,
            importances=importances,
            schema=schema,
            config=config,
            transform_graph=Channel(type=standard_artifacts.TransformGraph),
        )
        super().__init__(spec=spec)
