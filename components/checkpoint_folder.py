"""Where a long step keeps what a kill would lose: a folder that the next execution finds, and that a good end removes.

The outputs of an execution that was killed are swept. So checkpoints lie beside them, in `<step>/.resume/<key>`, where the
key stands for all that a result depends on: inputs, configuration, code and libraries. Of outputs in a bucket that is in the
workspace.
"""

import importlib.metadata
import importlib.util
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from beam_jobs import storage
from components import local_folders
from components.errors import StepError

FOLDER = ".resume"
KEPT_DAYS = 7
DAY_SECONDS = 86_400
LIBRARIES = ("numpy", "pyarrow", "xgboost", "optuna", "tensorflow", "tf-keras", "tensorflow-transform")
PACKAGES = ("beam_jobs", "components")


def checkpoint_key(inputs: Mapping[str, Sequence[Any]], config: str) -> str:
    """What the result of a step depends on, as one digest.

    Args:
      inputs: TFX's artifacts by the input's name; they count by content where a digest is on record, else by id and place.
      config: the step's configuration.
    """
    contents = {name: [_content(artifact) for artifact in artifacts] for name, artifacts in inputs.items()}
    told = {"inputs": contents, "config": config, "code": _code_digest(), "libraries": _versions()}
    return storage.text_digest(json.dumps(told, sort_keys=True))


@contextmanager
def checkpoint_folder(output_uri: str, key: str) -> Iterator[str]:
    """Around the work of a step: the folder of its checkpoints, which holds what an execution before it left under the key.

    It is removed when the work is done or is refused; when it is cut off, or fails for a reason that may pass, it stays.
    What other keys left is removed after a week.

    Args:
      output_uri: the folder of the step's output, `<step>/<key of the output>/<execution>`.
      key: from `checkpoint_key`.
    """
    output = (local_folders.beside(output_uri) or output_uri).rstrip("/")
    above = f"{os.path.dirname(os.path.dirname(output))}/{FOLDER}"
    folder = f"{above}/{key}"
    _remove_abandoned(above, folder)
    try:
        yield folder
    except StepError:
        _remove(above, folder)
        raise
    _remove(above, folder)


def _content(artifact: Any) -> str:
    for name in ("content_digest", "tree_digest"):
        digest: str = artifact.get_string_custom_property(name)
        if digest:
            return digest
    return f"{artifact.id} {artifact.uri}"


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Of the source of the packages that do a step's work: what an edited step left must not be gone on with."""
    lines = []
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for folder in (found and found.submodule_search_locations) or ():
            files = sorted(Path(folder).rglob("*.py"))
            lines += [f"{path.relative_to(folder)} {storage.content_digest(str(path))}" for path in files]
    return storage.text_digest("\n".join(lines))


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found


def _remove(above: str, folder: str) -> None:
    storage.remove_tree(folder)
    if not storage.is_remote(above):
        with suppress(OSError):  # another key's folder is there, or none ever was
            os.removedirs(above)


def _remove_abandoned(above: str, own: str) -> None:
    if storage.is_remote(above) or not os.path.isdir(above):
        return
    for name in os.listdir(above):
        path = f"{above}/{name}"
        if path != own and time.time() - _last_change(path) > KEPT_DAYS * DAY_SECONDS:
            storage.remove_tree(path)


def _last_change(folder: str) -> float:
    paths = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    return max(os.lstat(path).st_mtime for path in [folder, *paths])
