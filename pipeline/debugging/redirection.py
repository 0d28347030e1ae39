"""Places that a step writes to beside its outputs: a replay gets places of its own, in the state that the step found.

The user's schema file and the folder that models serve from are not the replay's to touch.
"""

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

from pipeline.debugging.capsule import Capsule, Stored

SCHEMA, PUSHER = "components.schema_file.executor.Executor", "components.pusher.executor.Executor"
STOCK_PUSHER = "tfx.components.pusher.executor.Executor"
PARAMETERS = {SCHEMA: ("schema_path",), PUSHER: ("destination",), STOCK_PUSHER: ("push_destination",)}
"""For each executor that does so, the parameters that name such places."""


def parameters_of(executor: str) -> tuple[str, ...]:
    """The parameters of an executor that name places which it writes to beside its outputs."""
    return PARAMETERS.get(executor, ())


def redirect(capsule: Capsule, parameters: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The parameters with such places moved into a folder, each as the step found it.

    Args:
      capsule: the step's.
      parameters: as they were recorded.
      folder: of this replay alone.
    """
    moved = dict(parameters)
    for name in (name for name in capsule.redirected if name in moved):
        place = os.path.join(folder, name)
        if capsule.executor == STOCK_PUSHER:
            destination = json.loads(moved[name])
            destination.get("filesystem", {})["base_directory"] = place
            moved[name] = json.dumps(destination)
            continue
        if capsule.executor == SCHEMA:
            place = os.path.join(place, os.path.basename(str(moved[name])))
            _schema_as_found(capsule, str(moved[name]), place)
        elif capsule.executor == PUSHER:
            _versions_as_found(capsule, place)
        moved[name] = place
    return moved


def names(capsule: Capsule, parameters: Mapping[str, Any]) -> dict[str, str]:
    """For each place of a replay the place that it stands for, by which outputs that tell of them are compared."""
    pairs = ((parameters.get(name), capsule.parameters.get(name)) for name in capsule.redirected)
    return {str(new): str(old) for new, old in pairs if new and old}


def _schema_as_found(capsule: Capsule, path: str, place: str) -> None:
    """A step that inferred the schema found no file; another found what it handed on."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    recorded = next(iter(capsule.outputs.get("schema", ())), None)
    if recorded is not None and _property(recorded, "inferred") == 1:
        return
    handed_on = os.path.join(recorded.original, "schema.pbtxt") if recorded else ""
    found = handed_on if os.path.exists(handed_on) else path
    if os.path.exists(found):
        shutil.copy(found, place)


def _versions_as_found(capsule: Capsule, place: str) -> None:
    """As many versions as there were before, and the model itself where it was serving already."""
    os.makedirs(place, exist_ok=True)
    recorded = next(iter(capsule.outputs.get("pushed_model", ())), None)
    version = str(_property(recorded, "pushed_version") or "") if recorded else ""
    if not version.isdecimal():
        return
    if "already" in str(_property(recorded, "reason")):
        model = capsule.inputs["model"][0].place
        shutil.copytree(capsule.path(model), os.path.join(place, version))
        os.symlink(version, os.path.join(place, "current"))
    elif int(version) > 1:
        os.makedirs(os.path.join(place, f"{int(version) - 1:0{len(version)}d}"))


def _property(stored: Stored | None, name: str) -> Any:
    value = stored.artifact.get("custom_properties", {}).get(name, {}) if stored else {}
    if "int_value" in value:
        return int(value["int_value"])  # protobuf writes 64-bit numbers as text
    return value.get("string_value")
