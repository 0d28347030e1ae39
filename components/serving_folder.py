"""The folder that models serve from: a folder a version, and a link that is swapped in one step. Loads no TFX.

    destination/
      00000001/        model.ubj, contract.json
      00000002/        saved_model.pb, variables/, contract.json
      current -> 00000002
      withdrawn.json   the versions that were rolled back, and why; not there before the first

In a bucket, which knows no links, `current` is an object that holds the version's name, replaced in one step.

A reader that follows `current` sees one whole model at any moment. What `withdrawn.json` says of the version that serves
does not count: it is written before the link is swapped, and a version that is put back serves again.
"""

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from beam_jobs import storage
from beam_jobs.folder_digest import files_in
from components.errors import StepError

CURRENT = "current"
WITHDRAWN = "withdrawn.json"
VERSION_DIGITS = 8
TEMPORARY = ".pushing-"
STALE_SECONDS = 3_600

Root = Path | str
"""The folder of a destination: a path, or as a text one in a bucket."""


@dataclass(frozen=True)
class Withdrawal:
    """Why a version does not serve any more.

    Attributes:
      digest: of the version's files, as `digest_of` tells it.
      by: who withdrew it.
      at: when, seconds since 1970.
    """

    digest: str
    why: str
    by: str
    at: float


def folder_at(destination: str) -> Root:
    """The folder of a destination, which need not be there.

    Raises:
      StepError: it is no folder, or something else is called `current` there.
    """
    root = root_of(storage.resolve(destination))
    if isinstance(root, str):
        return root
    if root.exists() and not root.is_dir():
        raise StepError(f"The Pusher's destination '{root}' is a file.", "Name a folder.")
    pointer = root / CURRENT
    if pointer.exists() and not pointer.is_symlink():
        raise StepError(
            f"'{pointer}' is not a link, so it is not the Pusher's own.", "Move it away, or name another folder."
        )
    return root


def root_of(folder: str) -> Root:
    """A folder of versions by its whole path or address."""
    return folder.rstrip("/") if storage.is_remote(folder) else Path(folder)


def inside(root: Root, name: str) -> Root:
    """What is called so in it."""
    return f"{root}/{name}" if isinstance(root, str) else root / name


def version_name(number: int) -> str:
    """The name of a version's folder."""
    return f"{number:0{VERSION_DIGITS}d}"


def named(root: Root) -> str:
    """The version that `current` names, whether its folder is there or not; '' for none."""
    pointer = inside(root, CURRENT)
    if isinstance(pointer, str):
        return storage.read_text(pointer).strip() if storage.exists(pointer) else ""
    return pointer.readlink().name if pointer.is_symlink() else ""


def serving(root: Root) -> Root | None:
    """The folder that `current` names, where it is there."""
    if isinstance(root, str):
        name = named(root)
        return f"{root}/{name}" if name and storage.is_folder(f"{root}/{name}") else None
    pointer = root / CURRENT
    return root / pointer.readlink() if pointer.is_symlink() and pointer.is_dir() else None


def holds_files(version: Root) -> bool:
    """Whether a version's folder is there."""
    return storage.is_folder(version) if isinstance(version, str) else version.is_dir()


def last_version(root: Root) -> int:
    """The highest number of a version; 0 for none."""
    if isinstance(root, str):
        names = {relative.partition("/")[0] for relative, _ in files_in(root)} if storage.is_folder(root) else set()
    else:
        names = {path.name for path in root.iterdir()} if root.is_dir() else set()
    return max((int(name) for name in names if name.isdecimal()), default=0)


def digest_of(folder: str | Path) -> str:
    """Digest of a folder's files: relative paths and content.

    Raises:
      DataError: there is no such folder, or something in it cannot be read.
    """
    return digest(files_in(str(folder)))


def digest(files: list[tuple[str, str]]) -> str:
    """The same for files by relative and whole path."""
    # Of the bytes wherever they lie: the same model may be kept in a bucket and serve from a disk.
    lines = [f"{relative}:{storage.bytes_digest(path)}\n" for relative, path in sorted(files)]
    return storage.text_digest("".join(lines))


def publish(files: list[tuple[str, str]], root: Root) -> Root:
    """Copies files, by relative and whole path, into the next version's folder.

    It is there whole or not at all; in a bucket, where that cannot be had, `current` names it only once it is whole.
    """
    if isinstance(root, str):
        return _publish_in_bucket(files, f"{root}/{version_name(last_version(root) + 1)}")
    root.mkdir(parents=True, exist_ok=True)
    pending = _temporary(root)
    try:
        for relative, path in files:
            target = pending / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(path, target)
        pending.chmod(0o755)
        for folder, _, _ in os.walk(pending):
            _sync(Path(folder))
        version = root / version_name(last_version(root) + 1)
        pending.rename(version)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise
    _sync(root)
    return version


def _publish_in_bucket(files: list[tuple[str, str]], version: str) -> str:
    try:
        for relative, path in files:
            with storage.open_input(path) as reader, storage.open_output(f"{version}/{relative}") as writer:
                shutil.copyfileobj(reader, writer)
    except BaseException:
        with suppress(OSError):
            storage.remove_tree(version)
        raise
    if digest_of(version) != digest(files):
        raise StepError(
            f"While the model was copied to '{version}', something else was written there: the version is not whole.",
            "Two pipelines that push at once need folders of their own; run again.",
        )
    return version


def copy_file(source: str, target: Path) -> None:
    """Copies one file onto the disk itself."""
    with storage.open_input(source) as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


def point(root: Root, version: str) -> None:
    """Swaps the link in one step: a new link under a temporary name, renamed over the old one."""
    if isinstance(root, str):
        storage.write_text(f"{root}/{CURRENT}", f"{version}\n")
        return
    folder = _temporary(root)
    try:
        (folder / CURRENT).symlink_to(version)
        (folder / CURRENT).replace(root / CURRENT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _sync(root)


def withdrawals(root: Root) -> dict[str, Withdrawal]:
    """Why versions do not serve any more, by version.

    Raises:
      StepError: the file that tells cannot be read.
    """
    path = str(inside(root, WITHDRAWN))
    if not storage.exists(path):
        return {}
    try:
        told = {str(name): Withdrawal(**one) for name, one in json.loads(storage.read_text(path)).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StepError(
            f"'{path}', which tells the versions that were withdrawn, cannot be read: {error}.",
            "Restore it from a backup, or remove it: then no version counts as withdrawn.",
        ) from error
    return {name: one for name, one in told.items() if name != named(root)}


def note_withdrawals(root: Root, told: Mapping[str, Withdrawal]) -> None:
    """Replaces what `withdrawals` answers, in one step."""
    text = json.dumps({name: asdict(one) for name, one in sorted(told.items())}, indent=1)
    if isinstance(root, str):
        storage.write_text(f"{root}/{WITHDRAWN}", text)
        return
    folder = _temporary(root)
    try:
        written = folder / WITHDRAWN
        with written.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        written.replace(root / WITHDRAWN)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _sync(root)


def remove_stale(root: Root) -> None:
    """Removes what a push that was cut off left behind; in a bucket that is a version that nothing names."""
    if isinstance(root, str):
        return
    for path in root.glob(f"{TEMPORARY}*") if root.is_dir() else ():
        with suppress(FileNotFoundError):  # its owner was quicker
            if time.time() - path.stat().st_mtime > STALE_SECONDS or not _may_be_in_use(path.name):
                shutil.rmtree(path, ignore_errors=True)


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
