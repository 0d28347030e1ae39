"""The Trainer as TFX sees it."""

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.system_executions import Train

from components.artifacts import FeatureImportances
from components.trainer.executor import Executor


class TrainerSpec(ComponentSpec):
    """Examples and the list of features in, a model out."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "importances": ChannelParameter(type=FeatureImportances),
    }
    OUTPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}  # noqa: RUF012
    TYPE_ANNOTATION = Train


class TunedTrainerSpec(TrainerSpec):
    """The same with parameters that were searched for: without them the step does not run, untuned, all the same."""

    INPUTS = {  # noqa: RUF012
        **TrainerSpec.INPUTS,
        "hyperparameters": ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class Trainer(BaseComponent):
    """Trains an XGBoost model on the kept columns."""

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        importances: BaseChannel,
        config: str = "",
        hyperparameters: BaseChannel | None = None,
    ) -> None:
        """Declares the step.

        Args:
          examples: a channel of Examples with the splits `train` and `eval`.
          importances: a channel of FeatureImportances, which name the label, the task and the kept columns.
          config: `components.trainer.training.TrainingConfig` as a JSON object; '' for its defaults.
          hyperparameters: a channel of HyperParameters, a Tuner's, that lie over those of the configuration.
        """
        model = Channel(type=standard_artifacts.Model)
        given = {"examples": examples, "importances": importances, "config": config, "model": model}
        tuned = hyperparameters is not None
        spec = TunedTrainerSpec(**given, hyperparameters=hyperparameters) if tuned else TrainerSpec(**given)
        super().__init__(spec=spec)
