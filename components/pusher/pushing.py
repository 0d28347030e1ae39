"""Puts a model where it serves; see `components.serving_folder` for what that folder looks like.

A version is written under a hidden name and renamed when its bytes are on the disk, so a push that is cut off leaves
nothing that looks like a version; in a bucket it leaves one that `current` never names. A model that was withdrawn is not pushed again.
"""

import json
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import files_in
from components import serving_folder
from components.errors import StepError
from components.serving_folder import Root

PUSHED = "pushed.json"


@dataclass(frozen=True)
class Push:
    """What a push came to.

    Attributes:
      serving: whether the model is now the one that `current` names.
      version: the name of its folder; '' where nothing was pushed.
      path: that folder, whole; '' where nothing was pushed.
      reason: what was done, or why nothing was.
      digest: of the model's files; '' where nobody looked at them.
    """

    destination: str
    serving: bool
    version: str
    path: str
    reason: str
    digest: str = ""

    def save(self, uri: str) -> None:
        """Writes `pushed.json` into the artifact's folder: nothing that tells places, so that it can be compared."""
        told = {"serving": self.serving, "version": self.version, "model": self.digest}
        storage.write_text(f"{uri.rstrip('/')}/{PUSHED}", json.dumps(told, indent=1))


def hold_back(destination: str) -> Push:
    """What is recorded for a model that was not blessed: nothing was pushed."""
    return Push(destination, False, "", "", "The model was not blessed, so the one that serves stays.")


def push(model_uri: str, destination: str) -> Push:
    """Makes a model the one that serves from `destination`.

    The very model that serves already is left as it is; one that was withdrawn stays withdrawn.

    Raises:
      StepError: the destination is no folder, or cannot be written to.
      DataError: the model's folder is empty or gone.
    """
    root = serving_folder.folder_at(destination)
    files = _files(model_uri)
    try:
        digest, serving = serving_folder.digest(files), serving_folder.serving(root)
        if serving is not None and digest == serving_folder.digest_of(serving):
            return Push(str(root), True, _name(serving), str(serving), "This very model was serving already.", digest)
        serving_folder.remove_stale(root)
        refusal = withdrawn(str(root), digest)
        if refusal:
            return Push(str(root), False, "", "", refusal, digest)
        version = _left_behind(root, digest) or serving_folder.publish(files, root)
        _forget_void_withdrawals(root)
        serving_folder.point(root, _name(version))
    except OSError as error:
        raise StepError(
            f"The model cannot be pushed to '{root}': {error.strerror or error}.",
            "Check that the folder can be written to and that the disk has room.",
        ) from error
    return Push(str(root), True, _name(version), str(version), f"Pushed as version {_name(version)}.", digest)


def withdrawn(destination: str, digest: str) -> str:
    """Why a model of this content is not to be pushed; '' when it may be."""
    for version, one in serving_folder.withdrawals(serving_folder.root_of(destination)).items():
        if one.digest == digest:
            return f"This very model was withdrawn as version {version} by {one.by}: {one.why}"
    return ""


def superseded(version_path: str, digest: str) -> str:
    """Why the version of an earlier push does not stand any more; '' when it does.

    It stands while `current` names it, unaltered, or was put back by hand to an earlier version.
    """
    folder, name = version_path.rstrip("/").rsplit("/", 1)
    root = serving_folder.root_of(folder)
    version, pointer = serving_folder.inside(root, name), serving_folder.inside(root, serving_folder.CURRENT)
    try:
        serving = serving_folder.serving(root)
        named = _name(serving) if serving is not None else ""
        if name in serving_folder.withdrawals(root):
            return f"version {name} was withdrawn"
        if not named or named > name:
            return f"'{pointer}' names {named or 'no version'} by now, not {name}"
        is_same = serving_folder.holds_files(version) and digest in ("", serving_folder.digest_of(version))
    except OSError as error:
        return f"'{version}' cannot be read: {error.strerror}"
    except DataError as error:
        return str(error)
    return "" if is_same else f"'{version}' is not what was pushed"


def _name(version: Root) -> str:
    return str(version).rsplit("/", 1)[-1]


def _files(model_uri: str) -> list[tuple[str, str]]:
    files = files_in(model_uri)
    if not files:
        raise DataError(f"'{model_uri}' holds no file, so it holds no model.", "Run the step that writes it again.")
    return files


def _left_behind(root: Root, digest: str) -> Root | None:
    """The last version, where a push that was cut off has written it and not yet pointed at it."""
    number, serving = serving_folder.last_version(root), serving_folder.serving(root)
    last = serving_folder.inside(root, serving_folder.version_name(number))
    is_ahead = number > 0 and (serving is None or _name(serving) < _name(last)) and serving_folder.holds_files(last)
    return last if is_ahead and serving_folder.digest_of(last) == digest else None


def _forget_void_withdrawals(root: Root) -> None:
    """Drops what a rollback that was cut off has noted of the version that still serves, before another does."""
    if storage.exists(str(serving_folder.inside(root, serving_folder.WITHDRAWN))):
        serving_folder.note_withdrawals(root, serving_folder.withdrawals(root))
