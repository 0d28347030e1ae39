"""A model that was found, and whether its folder still holds what was recorded. Loads neither TFX nor Beam."""

import os
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import BraidError, listed
from beam_jobs.folder_digest import files_in, folder_digest
from components import serving_folder
from components.model_contract import CONTRACT
from pipeline.errors import RunError
from pipeline.lineage.records import Artifact


@dataclass(frozen=True)
class FoundModel:
    """A model, whole and as it was recorded.

    Attributes:
      model: the artifact; its own folder may be gone where a version of it is meant.
      uri: the folder to load it from: the version's where one is meant, else the artifact's.
      name: the pipeline that made it.
      version: as which it was pushed; '' for never.
      digest: of the artifact's folder as recorded; '' where none was.
      is_serving: whether this version serves now.
      pushed_digest: of a version's folder as recorded; '' where none was.
    """

    model: Artifact
    uri: str
    name: str
    version: str = ""
    digest: str = ""
    is_serving: bool = False
    pushed_digest: str = ""

    @property
    def id(self) -> int:
        """The artifact's id."""
        return self.model.id

    @property
    def title(self) -> str:
        """The model in a word."""
        return f"{self.name}@{self.version}" if self.version else f"model {self.model.id} of '{self.name}'"


def check_content(found: FoundModel) -> None:
    """Sees to it that the folder holds the model that was recorded.

    Raises:
      RunError: it is gone, it holds no model, or a file in it was altered.
    """
    check_folder(found, found.uri)


def check_folder(found: FoundModel, folder: str) -> None:
    """The same for another folder of the same model, such as the artifact's own beside a version's.

    Raises:
      RunError: as `check_content`.
    """
    if not storage.is_remote(folder) and not os.path.isdir(folder):
        raise RunError(f"The folder of {found.title} is gone: '{folder}'.", _instead(found, folder))
    if found.pushed_digest and folder != found.model.uri:
        is_same = serving_folder.digest_of(folder) == found.pushed_digest
    else:
        is_same = not found.digest or folder_digest(folder).digest == found.digest
    if not is_same:
        raise RunError(
            f"The folder of {found.title}, '{folder}', is not what was recorded: {_altered(found, folder)}.",
            _instead(found, folder),
        )
    if not storage.exists(f"{folder.rstrip('/')}/{CONTRACT}"):
        raise RunError(
            f"'{folder}' holds no model of Braid's: '{CONTRACT}' is missing.",
            "Name a model that one of Braid's trainers has made.",
        )


def _altered(found: FoundModel, folder: str) -> str:
    """Which files differ, where a sound copy of the model tells."""
    whole = _sound_copy(found, folder)
    if not whole:
        return "its files have been changed since"
    now, then = dict(files_in(folder)), dict(files_in(whole))
    words = [f"'{name}' is gone" for name in then if name not in now]
    words += [f"'{name}' was added" for name in now if name not in then]
    both = [name for name in now if name in then]
    words += [
        f"'{name}' was altered"
        for name in both
        if storage.content_digest(now[name]) != storage.content_digest(then[name])
    ]
    return listed(words, 5) or "its files have been changed since"


def _sound_copy(found: FoundModel, but: str) -> str:
    """A folder with the same model as it was recorded; '' for none."""
    for folder in (found.model.uri, found.uri):
        try:
            if folder.rstrip("/") != but.rstrip("/") and found.digest == folder_digest(folder).digest:
                return folder
        except BraidError:  # gone, or not to be read
            continue
    return ""


def _instead(found: FoundModel, folder: str) -> str:
    whole = _sound_copy(found, folder)
    if whole:
        return f"'{whole}' holds it as it was recorded: put that in its place."
    if found.version and found.is_serving:
        return f"`braid rollback {found.name}` goes back to the version before; a new run trains another."
    return "Name another version (`braid models` lists them), or train it again."
