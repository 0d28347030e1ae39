"""Runs the Pusher: artifacts in, `push`, artifact out."""

from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components import blessing
from components.pusher.pushing import Push, hold_back, push, superseded

DIGEST = "pushed_digest"


class Executor(BaseExecutor):
    """See `components.pusher.pushing`. The custom properties are those of TFX's own Pusher, and the reason."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model unless a blessing was asked for and refused."""
        model = artifact_utils.get_single_instance(input_dict["model"])
        blessed = all(map(blessing.is_blessed, input_dict.get("model_blessing") or []))
        destination = str(exec_properties["destination"])
        pushed = push(model.uri, destination) if blessed else hold_back(destination)
        _record(artifact_utils.get_single_instance(output_dict["pushed_model"]), pushed)

    @staticmethod
    def undone(output_dict: dict[str, list[Artifact]]) -> str:
        """Why what an earlier push wrote may not be reused: another model serves by now; '' when it may."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if pushed.get_int_custom_property("pushed") != 1:
            return ""
        path, digest = (pushed.get_string_custom_property(key) for key in ("pushed_destination", DIGEST))
        return superseded(path, digest)


def _record(artifact: Artifact, pushed: Push) -> None:
    pushed.save(artifact.uri)
    artifact.set_int_custom_property("pushed", int(pushed.serving))
    artifact.set_string_custom_property("pushed_destination", pushed.path)
    artifact.set_string_custom_property("pushed_version", pushed.version)
    artifact.set_string_custom_property("reason", pushed.reason)
    artifact.set_string_custom_property(DIGEST, pushed.digest)
