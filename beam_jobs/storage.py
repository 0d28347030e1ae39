"""Files, local or in a bucket: one small set of verbs over the local disk and Beam's filesystems."""

import glob
import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from beam_jobs.errors import DataError, listed, nearest

PACKAGE_SCHEME = "package://"
PASSWORD_HINT = (
    "Leave it out: addresses are recorded, shown and sent to workers. Stores take credentials from their own files and "
    "variables, such as GOOGLE_APPLICATION_CREDENTIALS or AWS_SHARED_CREDENTIALS_FILE."
)
# Behind a host's colon stands a port; a password may hold a '/' that should have been encoded.
_WITH_PASSWORD = re.compile(r"\s*[A-Za-z][\w+.-]*://[^/?#\s\[]*:(?!\d*(?:[/?#]|$))")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileInfo:
    """A file that exists: its path and its size in bytes."""

    path: str
    size: int


def is_remote(path: str) -> bool:
    """Whether the path names a bucket (or any scheme but `file://`) and so goes through Beam."""
    return "://" in path and not path.startswith(("file://", PACKAGE_SCHEME))


def holds_password(path: str) -> bool:
    """Whether a path is an address with `user:password@`, the password spelled as it may be."""
    return _WITH_PASSWORD.match(path) is not None


def resolve(path: str, base: str = "") -> str:
    """Turns a path of a configuration into one that can be opened.

    `package://name/inner/file` is looked up inside the installed package `name`, without importing it;
    `file://` and `~` are expanded; a relative path is taken from `base`.

    Raises:
      DataError: the package is not installed, or a password stands in the path.
    """
    if holds_password(path):
        raise DataError(f"A password stands in the address '{path.partition('://')[0]}://...'.", PASSWORD_HINT)
    if path.startswith(PACKAGE_SCHEME):
        package, _, inner = path.removeprefix(PACKAGE_SCHEME).partition("/")
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        if found is None or not found.submodule_search_locations:
            raise DataError(
                f"'{path}': no package '{package}' is installed in this environment.",
                f"Install it, or check the spelling: {PACKAGE_SCHEME}<package>/<path inside it>.",
            )
        return os.path.join(found.submodule_search_locations[0], inner)
    if is_remote(path):
        return path
    return os.path.abspath(os.path.join(base, os.path.expanduser(path.removeprefix("file://"))))


def expand(pattern: str) -> list[FileInfo]:
    """Lists the files that a path, a directory or a glob stands for, sorted by path.

    A directory stands for the files directly in it; names that begin with `.` or `_` are passed over.

    Raises:
      DataError: nothing is there; the message names the nearest existing path.
    """
    files = _expand_remote(pattern) if is_remote(pattern) else _expand_local(pattern)
    if not files:
        raise _nothing_at(pattern)
    return sorted(files, key=lambda file: file.path)


def _expand_local(pattern: str) -> list[FileInfo]:
    if os.path.isdir(pattern):
        names = [os.path.join(pattern, name) for name in os.listdir(pattern)]
    elif os.path.exists(pattern):
        return [FileInfo(pattern, os.path.getsize(pattern))]
    else:
        names = glob.glob(pattern, recursive=True)
    return [FileInfo(name, os.path.getsize(name)) for name in names if _is_data(name) and os.path.isfile(name)]


def _expand_remote(pattern: str) -> list[FileInfo]:
    from beam_jobs import buckets

    scheme, known = pattern.partition("://")[0], buckets.schemes()
    if scheme not in known:
        raise DataError(
            f"'{pattern}': nothing here reads '{scheme}://'.{nearest(scheme, known)}",
            f"These can be read: {listed(f'{name}://' for name in known)}; a path without '://' is a local one.",
        )
    try:
        found = buckets.find(pattern)
    except OSError as error:
        raise DataError(
            f"'{pattern}' cannot be listed: {error.strerror}.",
            "Check the bucket's name and your permission to list it.",
        ) from error
    return [FileInfo(path, size) for path, size in found.items() if path == pattern or _is_data(path)]


def _is_data(path: str) -> bool:
    return not os.path.basename(path).startswith((".", "_"))


def _nothing_at(pattern: str) -> DataError:
    if is_remote(pattern):
        return _nothing_in_bucket(pattern)
    if os.path.isdir(pattern):
        return DataError(
            f"The directory '{pattern}' holds no data file.", "Put the table's files there, or name another path."
        )
    folder = os.path.dirname(pattern)
    while folder and not os.path.isdir(folder):
        folder, pattern = os.path.dirname(folder), folder
    siblings = sorted(os.listdir(folder or "."))
    wrong = "matches no file" if glob.has_magic(pattern) else "does not exist"
    return DataError(
        f"'{pattern}' {wrong}.{nearest(os.path.basename(pattern), siblings)}",
        f"'{folder}' holds: {listed(siblings)}." if siblings else f"'{folder}' is empty.",
    )


def _nothing_in_bucket(pattern: str) -> DataError:
    from beam_jobs import buckets

    folder, _, name = pattern.rstrip("/").rpartition("/")
    if buckets.is_whole_bucket(pattern) or glob.has_magic(folder):
        return DataError(f"'{pattern}' matches no file.", "Name a folder or a file of the bucket that is there.")
    siblings = sorted(os.path.basename(file.path) for file in _expand_remote(f"{folder}/"))
    return DataError(
        f"'{pattern}' matches no file.{nearest(name, siblings)}",
        f"'{folder}' holds: {listed(siblings)}." if siblings else f"'{folder}' holds no file.",
    )


def open_input(path: str) -> BinaryIO:
    """Opens a file for reading bytes as they are stored: nothing is decompressed."""
    if not is_remote(path):
        return open(path, "rb")
    from beam_jobs import buckets

    return buckets.open_input(path)


def open_output(path: str) -> BinaryIO:
    """Opens a file for writing bytes, making local folders on the way."""
    if not is_remote(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "wb")
    from beam_jobs import buckets

    return buckets.open_output(path)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Around what writes a file of a table.

    Raises:
      DataError: it cannot be written, for example because the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Writing '{path}' failed: {error.strerror or error}.",
            "Free some space there, or mend the permissions, then run again: finished steps are not repeated.",
        ) from error


def exists(path: str) -> bool:
    """Whether a file (or, locally, a folder) is there."""
    if not is_remote(path):
        return os.path.exists(path)
    from beam_jobs import buckets

    return buckets.exists(path)


def is_folder(path: str) -> bool:
    """Whether there is a folder of that name; in a bucket, whether anything lies in it."""
    if not is_remote(path):
        return os.path.isdir(path)
    from beam_jobs import buckets

    return buckets.holds_any(path)


def move(source: str, target: str) -> None:
    """Renames a file, replacing the target. Moving again after success is no error, so retries are safe."""
    if not exists(source) and exists(target):
        return
    if not is_remote(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(source, target)
        return
    from beam_jobs import buckets

    buckets.rename(source, target)


def remove_tree(path: str) -> None:
    """Deletes a folder and all in it, if it is there."""
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    from beam_jobs import buckets

    buckets.remove_tree(path)


def read_text(path: str) -> str:
    """Reads a whole UTF-8 file."""
    with open_input(path) as stream:
        return stream.read().decode()


def write_text(path: str, text: str) -> None:
    """Writes a whole UTF-8 file so that a reader sees all of it or none."""
    # An object of a bucket appears whole, as it is closed.
    temporary = path if is_remote(path) else f"{path}.tmp"
    with open_output(temporary) as stream:
        stream.write(text.encode())
    if temporary != path:
        os.replace(temporary, path)


def content_digest(path: str) -> str:
    """BLAKE2b-128 of a local file's bytes, or the store's own checksum of a remote one, in hexadecimal."""
    if is_remote(path):
        from beam_jobs import buckets

        return buckets.checksum(path)
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def bytes_digest(path: str) -> str:
    """BLAKE2b-128 of a file's bytes, in hexadecimal; all of it is read, in a bucket as well."""
    with open_input(path) as stream:
        digest = hashlib.blake2b(digest_size=16)
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def text_digest(text: str) -> str:
    """BLAKE2b-128 of a text, in hexadecimal."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
