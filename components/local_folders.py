"""Folders for libraries that read and write local files alone, wherever the folder itself lies."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from beam_jobs import storage
from beam_jobs.folder_digest import files_in

_scratch: ContextVar[str] = ContextVar("scratch", default="")
_OUTPUT_PARTS = 3  # <step>/<key>/<execution>


@contextmanager
def reading(uri: str) -> Iterator[str]:
    """A local folder with the files of this one, fetched where it lies in a bucket."""
    if not storage.is_remote(uri):
        yield storage.resolve(uri)
        return
    with tempfile.TemporaryDirectory(prefix="braid-") as folder:
        _fetch(uri, folder)
        yield folder


@contextmanager
def writing(uri: str) -> Iterator[str]:
    """A local folder to write to, whose files are copied at the end where this one lies in a bucket."""
    if not storage.is_remote(uri):
        os.makedirs(uri, exist_ok=True)
        yield uri
        return
    with tempfile.TemporaryDirectory(prefix="braid-") as folder:
        yield folder
        _send(folder, uri)


@contextmanager
def changing(uri: str) -> Iterator[str]:
    """A local folder with the files of this one, which are all copied back at the end where it lies in a bucket."""
    with reading(uri) as folder:
        yield folder
        if storage.is_remote(uri):
            _send(folder, uri)


@contextmanager
def scratch(folder: str) -> Iterator[None]:
    """Around steps: a local folder that lasts, for what they keep beside an output that lies in a bucket; see `beside`."""
    token = _scratch.set(folder)
    try:
        yield
    finally:
        _scratch.reset(token)


def beside(uri: str) -> str:
    """A lasting local folder that stands for an output's: itself, or `<step>/<key>/<execution>` in the scratch folder.

    '' for one in a bucket where no scratch folder was named.
    """
    if not storage.is_remote(uri):
        return uri
    folder, parts = _scratch.get(), uri.rstrip("/").split("/")[-_OUTPUT_PARTS:]
    return "/".join((folder, *parts)) if folder else ""


def _fetch(uri: str, folder: str) -> None:
    for relative, path in files_in(uri):
        _copy(path, os.path.join(folder, relative))


def _send(folder: str, uri: str) -> None:
    for relative, path in files_in(folder):
        _copy(path, f"{uri.rstrip('/')}/{relative}")


def _copy(source: str, target: str) -> None:
    with storage.open_input(source) as read, storage.open_output(target) as written:
        shutil.copyfileobj(read, written)
