"""One digest for all that a folder holds, so that a change of any of its files can be told."""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import DataError


class MissingFolderError(DataError):
    """There is no such folder or file."""


@dataclass(frozen=True)
class FolderDigest:
    """What a folder holds.

    Attributes:
      digest: over the relative paths and the content of its files, in hexadecimal.
      files: how many.
      bytes: their sizes in all.
    """

    digest: str
    files: int
    bytes: int


@dataclass(frozen=True)
class _File:
    """A file, by its path relative to the folder; the path is '' where a file was asked for as if it were a folder."""

    relative: str
    path: str
    size: int


def folder_digest(
    uri: str, advance: Callable[[int], None] | None = None, known: Mapping[str, str] | None = None
) -> FolderDigest:
    """Digest of a folder with all folders in it, or of a single file: the same on a disk and in a bucket.

    No name is passed over, hidden ones neither; a link counts by where it points to, not by what is there. A folder
    without a file counts as nothing, as a bucket has none.

    Args:
      uri: a folder or a file, local or in a bucket.
      advance: called with the size of each file once it is read.
      known: digests of files that have just been written, by relative path; these files are not read.

    Raises:
      MissingFolderError: there is nothing.
      DataError: something in it cannot be read.
    """
    found, lines = _listed(storage.resolve(uri)), []
    for file in found:
        with _readable(file.path):
            lines.append((file.relative, _content(file, known or {})))
        if advance is not None:
            advance(file.size)
    # JSON, as a file's name may hold line ends, or bytes that are no text.
    return FolderDigest(storage.text_digest(json.dumps(lines)), len(found), sum(file.size for file in found))


def folder_size(uri: str) -> tuple[int, int]:
    """How many files a folder holds, and their bytes in all; nothing is read.

    Raises:
      MissingFolderError: there is nothing.
      DataError: it cannot be listed.
    """
    found = _listed(storage.resolve(uri))
    return len(found), sum(file.size for file in found)


def files_in(uri: str) -> list[tuple[str, str]]:
    """The files of a folder, each by its path relative to it and its whole path, sorted.

    Raises:
      DataError: there is nothing.
    """
    return [(file.relative, file.path) for file in _listed(storage.resolve(uri))]


def _listed(path: str) -> list[_File]:
    with _readable(path):
        found = _in_bucket(path) if storage.is_remote(path) else _on_disk(path)
        return sorted(found, key=lambda file: file.relative)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"'{str(error.filename or path).removesuffix('/**')}' cannot be read: {error.strerror or error}.",
            "Check that it is there and that you may read it.",
        ) from error


def _on_disk(path: str) -> Iterator[_File]:
    if not os.path.lexists(path):
        raise _missing(path)
    if not os.path.isdir(path):
        yield _File("", path, os.lstat(path).st_size)
        return
    for folder, inner, names in os.walk(path, onerror=_raise):
        links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            whole = os.path.join(folder, name)
            yield _File(os.path.relpath(whole, path).replace(os.sep, "/"), whole, os.lstat(whole).st_size)


def _missing(path: str) -> MissingFolderError:
    return MissingFolderError(
        f"'{path}' does not exist.", "It was deleted or moved; run the step that writes it again."
    )


def _raise(error: OSError) -> None:
    raise error


def _in_bucket(path: str) -> Iterator[_File]:
    from beam_jobs import buckets

    folder = path.rstrip("/")
    inside = buckets.find(f"{folder}/**")
    if not inside and (alone := buckets.find(folder)):
        yield from (_File("", one, size) for one, size in alone.items())
    elif not inside:
        raise _missing(path)
    for one, size in inside.items():
        yield _File(one.removeprefix(f"{folder}/"), one, size)


def _content(file: _File, known: Mapping[str, str]) -> str:
    path = file.path
    if not storage.is_remote(path):
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return "-> " + os.readlink(path)
        if not stat.S_ISREG(mode):
            raise DataError(
                f"'{path}' is neither a file nor a folder nor a link.", "Remove it: nothing of Braid makes it."
            )
    return known.get(file.relative) or storage.bytes_digest(path)
