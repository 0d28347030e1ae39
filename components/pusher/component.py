"""The Pusher as TFX sees it."""

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.system_executions import Deploy

from components.pusher.executor import Executor


class PusherSpec(ComponentSpec):
    """Models and a blessing of one in, where it serves from out."""

    PARAMETERS = {"destination": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
    }
    OUTPUTS = {"pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)}  # noqa: RUF012
    TYPE_ANNOTATION = Deploy


class Pusher(BaseComponent):
    """Copies a blessed model into a versioned folder and points `current` at it."""

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, model: BaseChannel, destination: str, model_blessing: BaseChannel | None = None) -> None:
        """Declares the step.

        Args:
          model: a channel of Model, or a union of several, of which the blessing says which one is pushed.
          destination: the folder that gets a sub-folder a version, and the link `current`.
          model_blessing: a channel of ModelBlessing; without one, every model is pushed.
        """
        pushed = Channel(type=standard_artifacts.PushedModel)
        spec = PusherSpec(model=model, model_blessing=model_blessing, destination=destination, pushed_model=pushed)
        super().__init__(spec=spec)
