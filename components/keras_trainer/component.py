"""The KerasTrainer as TFX sees it."""

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.system_executions import Train

from components.artifacts import FeatureImportances
from components.keras_trainer.executor import Executor


class KerasTrainerSpec(ComponentSpec):
    """Examples, the list of features and their transform in, a model out."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}  # noqa: RUF012  TFX's own way to declare them
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "importances": ChannelParameter(type=FeatureImportances),
        "transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
    }
    TYPE_ANNOTATION = Train


class TunedKerasTrainerSpec(KerasTrainerSpec):
    """The same with parameters that were searched for: without them the step does not run, untuned, all the same."""

    INPUTS = {  # noqa: RUF012
        **KerasTrainerSpec.INPUTS,
        "hyperparameters": ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class KerasTrainer(BaseComponent):
    """Trains a Keras model on the kept columns, as the transform makes them.

    Outputs:
      model: a SavedModel whose signatures take raw features, and its contract.
      model_run: TensorBoard's logs of the training.
    """

    SPEC_CLASS = KerasTrainerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        importances: BaseChannel,
        transform_graph: BaseChannel,
        config: str = "",
        hyperparameters: BaseChannel | None = None,
    ) -> None:
        """Declares the step.

        Args:
          examples: a channel of Examples with the splits `train` and `eval`.
          importances: a channel of FeatureImportances, which name the label, the task and the kept columns.
          transform_graph: a channel of TransformGraph, a Transform's of the same columns.
          config: `components.keras_trainer.training.TrainingConfig` as a JSON object; '' for its defaults.
          hyperparameters: a channel of HyperParameters, a Tuner's, that lie over those of the configuration.
        """
        given = {
            "examples": examples,
            "importances": importances,
            "transform_graph": transform_graph,
            "config": config,
            "model": Channel(type=standard_artifacts.Model),
            "model_run": Channel(type=standard_artifacts.ModelRun),
        }
        tuned = hyperparameters is not None
        spec = TunedKerasTrainerSpec(**given, hyperparameters=hyperparameters) if tuned else KerasTrainerSpec(**given)
        super().__init__(spec=spec)
