"""Puts a model where it serves: a folder a version, and a link that is swapped in one step.

    destination/
      00000001/      model.ubj, contract.json
      00000002/
      current -> 00000002

A reader that opens `current` sees one whole model at any moment. A version is written under a hidden name
and renamed when its bytes are on the disk, so a push that is cut off leaves nothing that looks like a version.
"""

import json
import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from beam_jobs import storage
from components.errors import StepError

CURRENT = "current"
PUSHED = "pushed.json"
VERSION_DIGITS = 8
TEMPORARY = ".pushing-"
STALE_SECONDS = 3_600


@dataclass(frozen=True)
class Push:
    """What a push came to.

    Attributes:
      serving: whether the model is now the one that `current` names.
      version: the name of its folder; '' where nothing was pushed.
      path: that folder, whole; '' where nothing was pushed.
      reason: what was done, or why nothing was.
      digest: of the model's files; '' where nothing was pushed.
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
    """Makes a model the one that serves from `destination`; the very model that serves already is left as it is.

    Raises:
      StepError: the destination is in a bucket, is no folder, or cannot be written to.
      DataError: the model's folder is empty or gone.
    """
    root = _root(destination)
    files = [file.path for file in storage.expand(model_uri)]
    try:
        digest, serving = _digest(files), _serving(root)
        if serving is not None and digest == _digest_of(serving):
            return Push(str(root), True, serving.name, str(serving), "This very model was serving already.", digest)
        _remove_stale(root)
        version = _left_behind(root, digest) or _publish(files, root)
        _point(root, version.name)
    except OSError as error:
        raise StepError(
            f"The model cannot be pushed to '{root}': {error.strerror or error}.",
            "Check that the folder can be written to and that the disk has room.",
        ) from error
    return Push(str(root), True, version.name, str(version), f"Pushed as version {version.name}.", digest)


def superseded(version_path: str, digest: str) -> str:
    """Why the version of an earlier push does not stand any more; '' when it does.

    It stands while `current` names it, unaltered, or was put back by hand to an earlier version.
    """
    version = Path(version_path)
    pointer = version.parent / CURRENT
    try:
        named = pointer.readlink().name if pointer.is_symlink() and pointer.is_dir() else ""
        if not named or named > version.name:
            return f"'{pointer}' names {named or 'no version'} by now, not {version.name}"
        is_same = version.is_dir() and digest in ("", _digest_of(version))
    except OSError as error:
        return f"'{version}' cannot be read: {error.strerror}"
    return "" if is_same else f"'{version}' is not what was pushed"


def _root(destination: str) -> Path:
    if storage.is_remote(destination):
        raise StepError(
            f"The Pusher's destination '{destination}' is in a bucket, where no link can be swapped in one step.",
            "Name a folder of a file system.",
        )
    root = Path(storage.resolve(destination))
    if root.exists() and not root.is_dir():
        raise StepError(f"The Pusher's destination '{root}' is a file.", "Name a folder.")
    pointer = root / CURRENT
    if pointer.exists() and not pointer.is_symlink():
        raise StepError(
            f"'{pointer}' is not a link, so it is not the Pusher's own.", "Move it away, or name another folder."
        )
    return root


def _serving(root: Path) -> Path | None:
    pointer = root / CURRENT
    return root / pointer.readlink() if pointer.is_symlink() and pointer.is_dir() else None


def _left_behind(root: Path, digest: str) -> Path | None:
    """The last version, where a push that was cut off has written it and not yet pointed at it."""
    last = root / f"{_last_version(root):0{VERSION_DIGITS}d}" if root.is_dir() else root
    serving = _serving(root)
    is_ahead = last != root and last.is_dir() and (serving is None or serving.name < last.name)
    return last if is_ahead and _digest_of(last) == digest else None


def _digest_of(folder: Path) -> str:
    return _digest([str(path) for path in folder.iterdir()])


def _digest(paths: list[str]) -> str:
    ordered = sorted(paths, key=os.path.basename)
    return storage.text_digest(
        "".join(f"{os.path.basename(path)}:{storage.content_digest(path)}\n" for path in ordered)
    )


def _publish(files: list[str], root: Path) -> Path:
    """Copies the files into the next version's folder."""
    root.mkdir(parents=True, exist_ok=True)
    pending = _temporary(root)
    try:
        for file in files:
            _copy(file, pending / os.path.basename(file))
        pending.chmod(0o755)
        version = root / f"{_last_version(root) + 1:0{VERSION_DIGITS}d}"
        pending.rename(version)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise
    _sync(root)
    return version


def _copy(source: str, target: Path) -> None:
    with storage.open_input(source) as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


def _last_version(root: Path) -> int:
    return max((int(path.name) for path in root.iterdir() if path.name.isdecimal()), default=0)


def _point(root: Path, version: str) -> None:
    """Swaps the link in one step: a new link under a temporary name, renamed over the old one."""
    folder = _temporary(root)
    try:
        (folder / CURRENT).symlink_to(version)
        (folder / CURRENT).replace(root / CURRENT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _sync(root)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(root: Path) -> Path:
    """A folder of this process, which another can tell when it is gone."""
    return Path(tempfile.mkdtemp(prefix=f"{_of_host()}{os.getpid()}-", dir=root))


def _of_host() -> str:
    return f"{TEMPORARY}{socket.gethostname()}-"


def _remove_stale(root: Path) -> None:
    """Removes what a push that was cut off left behind."""
    for path in root.glob(f"{TEMPORARY}*") if root.is_dir() else ():
        with suppress(FileNotFoundError):  # its owner was quicker
            if time.time() - path.stat().st_mtime > STALE_SECONDS or not _may_be_in_use(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _may_be_in_use(name: str) -> bool:
    process = name.removeprefix(_of_host()).partition("-")[0]
    if not (name.startswith(_of_host()) and process.isdecimal()):
        return True  # of another machine
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
