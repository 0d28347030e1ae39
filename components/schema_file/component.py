"""SchemaFile: the schema that the user keeps as a file, inferred on the first run."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.schema_file.executor import Executor


class SchemaFileSpec(ComponentSpec):
    """Inputs, outputs and parameters of SchemaFile."""

    PARAMETERS = {  # noqa: RUF012  TFX's own way to declare them
        "schema_path": ExecutionParameter(type=str),
        "user_schema_digest": ExecutionParameter(type=str),
    }
    INPUTS = {"statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics)}  # noqa: RUF012
    OUTPUTS = {"schema": ChannelParameter(type=standard_artifacts.Schema)}  # noqa: RUF012


class SchemaFile(base_component.BaseComponent):
    """Takes the user's schema file as it is; where there is none, infers the schema and writes the file."""

    SPEC_CLASS = SchemaFileSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, statistics: channel.BaseChannel, schema_path: str, user_schema_digest: str) -> None:
        """Declares the step.

        Args:
          statistics: a channel of ExampleStatistics.
          schema_path: the user's file, a text-form `tensorflow_metadata` Schema; it need not exist yet.
          user_schema_digest: `inference_mark.user_schema_digest(schema_path)` as the run begins, so that TFX's cache
            sees an edit of the file.
        """
        schema = channel.OutputChannel(standard_artifacts.Schema, self, "schema")
        super().__init__(
            SchemaFileSpec(
                statistics=statistics, schema_path=schema_path, user_schema_digest=user_schema_digest, schema=schema
            )
        )
