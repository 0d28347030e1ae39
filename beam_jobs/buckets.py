"""Files in a bucket, or wherever else Beam's filesystems reach; what goes wrong there is an `OSError`, as on a disk."""

import errno
import glob
import importlib.util
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs import s3_client

if FileSystems._pipeline_options is None:  # no job has run yet; without any options Beam does not speak to S3
    FileSystems.set_options(PipelineOptions([]))
if importlib.util.find_spec("boto3"):  # workers that read nothing from S3 lack it
    s3_client.share()
_S3 = "s3://"
_MISSING = (404,)
_REFUSED = (401, 403)


def schemes() -> list[str]:
    """What may stand before `://`, by the libraries that are installed."""
    return sorted(scheme for kind in FileSystem.get_all_subclasses() if (scheme := kind.scheme()))


def find(pattern: str) -> dict[str, int]:
    """Sizes in bytes of the objects that a path, a folder or a glob stands for, by path; there may be none.

    A folder stands for the objects directly in it, a bucket for those outside any folder. To find an object by its
    path takes no permission to list the bucket.

    Raises:
      OSError: the store refuses, or has no such bucket.
    """
    if glob.has_magic(pattern):
        return _matches(pattern)
    path = pattern.rstrip("/")
    exact = {} if is_whole_bucket(path) else _matches(path)
    return exact or _matches(f"{path}/*")


def below(folder: str) -> dict[str, float]:
    """All objects of a folder, however deep: for each path when it was written, in seconds since 1970; 0 for unknown.

    Raises:
      OSError: the store refuses, or has no such bucket.
    """
    pattern = f"{folder.rstrip('/')}/**"
    with _os_errors(folder):
        found = FileSystems.match([pattern])[0].metadata_list
    return {str(one.path): float(one.last_updated_in_seconds or 0) for one in found}


def is_whole_bucket(path: str) -> bool:
    """Whether nothing stands behind the bucket's name."""
    return "/" not in path.rstrip("/").partition("://")[2]


def _matches(pattern: str) -> dict[str, int]:
    with _os_errors(pattern):
        found = FileSystems.match([pattern])[0].metadata_list
    # A path that ends in a slash is a placeholder that consoles make for an empty folder.
    return {str(one.path): int(one.size_in_bytes) for one in found if not one.path.endswith("/")}


def open_input(path: str) -> BinaryIO:
    """Opens an object for reading its bytes as they are stored."""
    with _os_errors(path):
        return cast(BinaryIO, _Stream(path, FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)))


def open_output(path: str) -> BinaryIO:
    """Opens an object for writing; it is there, whole, once it is closed, and not at all where its context fails."""
    with _os_errors(path):
        if path.startswith(_S3):
            return cast(BinaryIO, _Stream(path, s3_client.S3Output(path)))
        return cast(BinaryIO, _Stream(path, FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)))


def exists(path: str) -> bool:
    """Whether there is an object of that name."""
    with _os_errors(path):
        return bool(FileSystems.exists(path))


def holds_any(folder: str) -> bool:
    """Whether any object lies in a folder, however deep."""
    pattern = f"{folder.rstrip('/')}/**"
    with _os_errors(folder):
        return bool(FileSystems.match([pattern], limits=[1])[0].metadata_list)


def copy(source: str, target: str) -> None:
    """Copies within the store."""
    with _os_errors(source):
        FileSystems.copy([source], [target])


def rename(source: str, target: str) -> None:
    """Copies within the store, then deletes."""
    with _os_errors(source):
        FileSystems.rename([source], [target])


def remove_tree(path: str) -> None:
    """Deletes all objects of a folder, in batches."""
    with _os_errors(path):
        FileSystems.delete([f"{path.rstrip('/')}/"])


def remove(paths: Sequence[str]) -> None:
    """Deletes objects; those that are not there are passed over."""
    if paths:
        with _os_errors(paths[0]):
            FileSystems.delete(list(paths))


def checksum(path: str) -> str:
    """The store's own checksum of an object; nothing of its content is read."""
    with _os_errors(path):
        return str(FileSystems.checksum(path))


class _Stream(io.RawIOBase):
    """An open object whose client's errors, which may come at any moment, are `OSError`."""

    def __init__(self, path: str, opened: Any) -> None:
        super().__init__()
        self._path, self._opened = path, opened

    def readable(self) -> bool:
        return bool(self._opened.readable())

    def writable(self) -> bool:
        return bool(self._opened.writable())

    def seekable(self) -> bool:
        return bool(self._opened.seekable())

    def read(self, size: int = -1) -> bytes:
        with _os_errors(self._path):
            return bytes(self._opened.read(size))

    def write(self, data: Any) -> int:
        with _os_errors(self._path):
            return int(self._opened.write(data))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _os_errors(self._path):
            return int(self._opened.seek(offset, whence))

    def tell(self) -> int:
        return int(self._opened.tell())

    def close(self) -> None:
        if self.closed:
            return
        try:
            with _os_errors(self._path):
                self._opened.close()
        except OSError as error:
            self._give_up(error)
            raise
        super().close()

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if error is None:
            self.close()
        else:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """Lets a writer drop what it has: to close it would store that."""
        with suppress(OSError), _os_errors(self._path):
            self._opened.__exit__(type(error), error, error.__traceback__)
        super().close()


@contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Words the errors of the stores' clients, which have no base class in common, as those of a disk."""
    try:
        yield
    except Exception as error:
        cause = _cause(error)
        status = cause if isinstance(cause, int) else _status(cause)
        if status in _MISSING or isinstance(cause, FileNotFoundError):
            raise OSError(errno.ENOENT, "there is no such object or bucket", path) from error
        said = getattr(cause, "message", None) or getattr(cause, "strerror", None) or cause
        if status in _REFUSED or isinstance(cause, PermissionError):
            raise OSError(errno.EACCES, f"permission denied: {said}", path) from error
        raise OSError(errno.EIO, f"{type(cause).__name__}: {said}", path) from error


def _cause(error: Any) -> Any:
    """What the client itself raised, or the status that it answered, out of Beam's wrapping."""
    while isinstance(error, BeamIOError) and error.exception_details:
        error = next(iter(error.exception_details.values()))
    return error


def _status(cause: Any) -> int | None:
    response = getattr(cause, "response", None)
    of_amazon = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    codes = (getattr(cause, "code", None), getattr(response, "status_code", None), of_amazon)
    return next((code for code in codes if isinstance(code, int)), None)
