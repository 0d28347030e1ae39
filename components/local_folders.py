"""Folders for libraries that read and write local files alone, wherever the folder itself lies."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from beam_jobs import storage
from beam_jobs.folder_digest import files_in


@contextmanager
def reading(uri: str) -> Iterator[str]:
    """A local folder with the files of this one, fetched where it lies in a bucket."""
    if not storage.is_remote(uri):
        yield storage.resolve(uri)
        return
    with tempfile.TemporaryDirectory(prefix="braid-") as folder:
        for relative, path in files_in(uri):
            _copy(path, os.path.join(folder, relative))
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
        for relative, path in files_in(folder):
            _copy(path, f"{uri.rstrip('/')}/{relative}")


def _copy(source: str, target: str) -> None:
    with storage.open_input(source) as read, storage.open_output(target) as written:
        shutil.copyfileobj(read, written)
