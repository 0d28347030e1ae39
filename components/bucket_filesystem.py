"""TFX's file verbs in buckets through Beam's filesystems, as everything else here does it.

TFX's own go through TensorFlow, which has other credentials and endpoints than Beam, and no S3. Importing this module
registers it.
"""

import io
from collections.abc import Callable, Iterable
from typing import Any

from tfx.dsl.io import filesystem, filesystem_registry

from beam_jobs import buckets

_PREFERRED = 1  # TensorFlow's has 10


class BucketFilesystem(filesystem.Filesystem):
    """A bucket has no folders but those that its objects' names speak of: to make one does nothing."""

    SUPPORTED_SCHEMES = tuple(f"{scheme}://" for scheme in buckets.schemes())

    @staticmethod
    def open(name: str, mode: str = "r") -> Any:
        """Opens an object for reading or writing, as text unless `mode` says `b`."""
        opened = buckets.open_input(name) if mode.startswith("r") else buckets.open_output(name)
        return opened if "b" in mode else io.TextIOWrapper(opened, encoding="utf-8")

    @staticmethod
    def copy(src: str, dst: str, overwrite: bool = False) -> None:
        """Copies an object within the store."""
        if not overwrite and buckets.exists(dst):
            raise FileExistsError(f"'{dst}' exists")
        buckets.copy(src, dst)

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is an object of that name, or one in a folder of that name."""
        return buckets.exists(path) or BucketFilesystem.isdir(path)

    @staticmethod
    def glob(pattern: str) -> list[str]:
        """The objects whose names match."""
        return sorted(buckets.find(pattern))

    @staticmethod
    def isdir(path: str) -> bool:
        """Whether anything lies in a folder of that name."""
        return buckets.holds_any(path)

    @staticmethod
    def listdir(path: str) -> list[str]:
        """The names directly in a folder."""
        return sorted({name.partition("/")[0] for name in _inside(path)})

    @staticmethod
    def makedirs(path: str) -> None:
        """Does nothing."""

    @staticmethod
    def mkdir(path: str) -> None:
        """Does nothing."""

    @staticmethod
    def remove(path: str) -> None:
        """Deletes an object, if it is there."""
        buckets.remove([path])

    @staticmethod
    def rename(src: str, dst: str, overwrite: bool = False) -> None:
        """Copies an object within the store, then deletes it."""
        if not overwrite and buckets.exists(dst):
            raise FileExistsError(f"'{dst}' exists")
        buckets.rename(src, dst)

    @staticmethod
    def rmtree(path: str) -> None:
        """Deletes a folder and all in it, if it is there."""
        buckets.remove_tree(path)

    @staticmethod
    def walk(
        top: str, topdown: bool = True, onerror: Callable[..., None] | None = None
    ) -> Iterable[tuple[str, list[str], list[str]]]:
        """As `os.walk`, from the top."""
        names = _inside(top)
        folders = sorted({name.partition("/")[0] for name in names if "/" in name})
        yield top, folders, sorted(name for name in names if "/" not in name)
        for folder in folders:
            yield from BucketFilesystem.walk(f"{top.rstrip('/')}/{folder}")


def _inside(folder: str) -> list[str]:
    prefix = f"{folder.rstrip('/')}/"
    return [path.removeprefix(prefix) for path in buckets.find(f"{prefix}**")]


filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(BucketFilesystem, priority=_PREFERRED)
