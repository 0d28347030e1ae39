"""Where runs live: one folder with the metadata store and, a folder a pipeline, everything that steps wrote."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from pipeline.errors import RunError


@dataclass(frozen=True)
class Workspace:
    """A folder, `.braid` unless said otherwise."""

    folder: str

    @property
    def store(self) -> str:
        """The SQLite file of ML Metadata, shared by all pipelines of the workspace."""
        return os.path.join(self.folder, "metadata.sqlite")

    @property
    def memo(self) -> str:
        """Digests of unchanged source files."""
        return os.path.join(self.folder, "digests.json")

    def pipeline_root(self, name: str) -> str:
        """The folder of one pipeline's outputs."""
        return os.path.join(self.folder, name)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Keeps a second run of the same pipeline out. The lock falls with the process, however it ends.

        Raises:
          RunError: another process runs the pipeline, or the folder cannot be written.
        """
        path = os.path.join(self.pipeline_root(name), "lock")
        with self._opened(path) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                raise RunError(
                    f"Pipeline '{name}' is already running in workspace '{self.folder}' (process {handle.read().strip() or 'unknown'}).",
                    "Wait for it, or give this run a workspace of its own: --workspace DIR.",
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def _opened(self, path: str) -> TextIO:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return open(path, "a+", encoding="utf-8")
        except OSError as error:
            raise self._not_writable(error) from error

    def create(self) -> "Workspace":
        """Makes the folder, and returns the workspace.

        Raises:
          RunError: it cannot be made.
        """
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise self._not_writable(error) from error
        return self

    def _not_writable(self, error: OSError) -> RunError:
        reason = "a file of that name is in the way" if isinstance(error, FileExistsError) else error.strerror
        return RunError(
            f"The workspace '{self.folder}' cannot be written: {reason}.", "Name another with --workspace DIR."
        )
