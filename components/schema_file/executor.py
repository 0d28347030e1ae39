"""Executor of SchemaFile: artifacts in, artifacts out."""

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from beam_jobs import storage
from components.errors import StepError
from components.schema_file import inference_mark
from components.statistics_files import column_types, load_statistics


class Executor(base_executor.BaseExecutor):
    """Reads or infers the schema."""

    def Do(  # noqa: N802  the name is TFX's
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `schema.pbtxt`, and the user's file where there is none.

        Sets `inferred` (1 or 0), `schema_path` and `digest` on the output.

        Raises:
          StepError: the user's file is no schema or cannot be written; or there is no row to infer from.
          DataError: the statistics are gone.
        """
        from components.schema_file import schema_text

        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        output = artifact_utils.get_single_instance(output_dict["schema"])
        path, request = exec_properties["schema_path"], exec_properties["user_schema_digest"]
        inferred = not storage.exists(path)
        if inferred:
            schema = schema_text.infer_schema(load_statistics(statistics), column_types(statistics))
        else:
            schema = schema_text.read_schema(path)
        text = schema_text.schema_text(schema)
        storage.write_text(os.path.join(output.uri, schema_text.SCHEMA_FILE), text)
        if inferred:
            _keep(path, inference_mark.marked(text, request))
        output.set_int_custom_property("inferred", int(inferred))
        output.set_string_custom_property("schema_path", path)
        output.set_string_custom_property("digest", inference_mark.digest(text))


def _keep(path: str, text: str) -> None:
    try:
        storage.write_text(path, text)
    except OSError as error:
        raise StepError(
            f"The inferred schema cannot be written to '{path}': {error.strerror or error}.",
            "Name a schema file in a folder that you may write to.",
        ) from error
