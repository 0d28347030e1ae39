"""Runs the Pusher: artifacts in, `push`, artifact out."""

from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components import blessing
from components.errors import StepError
from components.pusher.pushing import Push, hold_back, push, superseded, withdrawn

DIGEST = "pushed_digest"
MODEL_DIGEST = "model_digest"
"""Which of several candidates it is: the digest of its folder."""
WITHDRAWN_FROM = "withdrawn_from"
"""The folder that a model was not pushed to, as it was withdrawn there."""


class Executor(BaseExecutor):
    """See `components.pusher.pushing`. The custom properties are those of TFX's own Pusher, and the reason."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model that is blessed, or the only one where no blessing is asked for."""
        verdicts = input_dict.get("model_blessing") or []
        blessed = all(map(blessing.is_blessed, verdicts))
        destination = str(exec_properties["destination"])
        record = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not blessed:
            _record(record, hold_back(destination))
            return
        model = _chosen(input_dict["model"], verdicts)
        record.set_string_custom_property(MODEL_DIGEST, blessing.digest_of(model))
        _record(record, push(model.uri, destination))

    @staticmethod
    def undone(output_dict: dict[str, list[Artifact]]) -> str:
        """Why what an earlier push wrote may not be reused: another model serves by now; '' when it may."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        path, digest = (pushed.get_string_custom_property(key) for key in ("pushed_destination", DIGEST))
        if pushed.get_int_custom_property("pushed") == 1:
            return superseded(path, digest)
        refused_by = pushed.get_string_custom_property(WITHDRAWN_FROM)
        return "the model is no longer withdrawn" if refused_by and not withdrawn(refused_by, digest) else ""


def _chosen(models: list[Artifact], verdicts: list[Artifact]) -> Artifact:
    """The model that the blessing speaks of; a single one needs none.

    Raises:
      StepError: there are several models and no blessing, or one that speaks of another.
    """
    if len(models) == 1:
        return models[0]
    if not verdicts:
        raise StepError(
            f"The Pusher was given {len(models)} models and no blessing that says which one to push.",
            "Give it the Evaluator's blessing, or one model.",
        )
    model = blessing.model_of(verdicts[0], models)
    if model is None:
        raise StepError(
            f"The blessing speaks of none of the {len(models)} models that the Pusher was given.",
            "Give it the blessing of the Evaluator that judged these models.",
        )
    return model


def _record(artifact: Artifact, pushed: Push) -> None:
    pushed.save(artifact.uri)
    artifact.set_int_custom_property("pushed", int(pushed.serving))
    artifact.set_string_custom_property("pushed_destination", pushed.path)
    artifact.set_string_custom_property("pushed_version", pushed.version)
    artifact.set_string_custom_property("reason", pushed.reason)
    artifact.set_string_custom_property(DIGEST, pushed.digest)
    if pushed.digest and not pushed.serving:
        artifact.set_string_custom_property(WITHDRAWN_FROM, pushed.destination)
