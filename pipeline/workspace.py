"""Where runs live: one folder with the metadata store and, a folder a pipeline, everything that steps wrote."""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from pipeline.errors import RunError
from pipeline.store_address import StoreAddress


@dataclass(frozen=True)
class Workspace:
    """A folder, `.braid` unless said otherwise.

    Outputs lie in folders numbered by the store, so that a workspace keeps to one store. One that is not its own is
    noted in `store.json`.

    Attributes:
      address: of the metadata store, as the user writes it; '' for the one that the workspace keeps to.
    """

    folder: str
    address: str = field(default="", repr=False)

    @property
    def store(self) -> StoreAddress:
        """The store of ML Metadata, shared by all pipelines of the workspace: an SQLite file in it, unless told otherwise.

        Raises:
          RunError: the address is none.
        """
        if self.address:
            return StoreAddress.parse(self.address)
        kept = self._note().get("store")
        return StoreAddress.parse(kept) if kept else self._own_store

    @property
    def _own_store(self) -> StoreAddress:
        return StoreAddress.file(os.path.join(self.folder, "metadata.sqlite"))

    @property
    def identity(self) -> str:
        """What tells this workspace from others that record in the same store; '' where the store is its own."""
        return self._note().get("id", "")

    @property
    def facts(self) -> dict[str, str]:
        """What an execution records of the workspace."""
        return {"workspace": self.identity} if self.identity else {}

    def _keep_to_store(self) -> None:
        """Notes the store, unless it is the workspace's own.

        Raises:
          RunError: the workspace keeps to another one.
        """
        store, note = self.store, self._note()
        is_own = store.place == self._own_store.place
        if not note and not is_own and not os.path.exists(self._own_store.path):
            self._write_note({"id": uuid.uuid4().hex, "store": str(store)})
            note = self._note()
        kept = StoreAddress.parse(note["store"], {}) if note else self._own_store
        if kept.place != store.place:
            raise RunError(
                f"The workspace '{self.folder}' keeps to the metadata store {kept}, whose numbers its folders bear; "
                f"this run would be recorded in {store}.",
                "Leave --store and BRAID_STORE out, or give this run a workspace of its own: --workspace DIR.",
            )

    @property
    def memo(self) -> str:
        """Digests of unchanged source files."""
        return os.path.join(self.folder, "digests.json")

    def pipeline_root(self, name: str) -> str:
        """The folder of one pipeline's outputs."""
        return os.path.join(self.folder, name)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Keeps a second run of the same pipeline out, and the workspace to its store.

        The lock falls with the process, however it ends.

        Raises:
          RunError: another process runs the pipeline, the folder cannot be written, or the workspace keeps to another store.
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
            self._keep_to_store()
            yield

    def _opened(self, path: str) -> TextIO:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return open(path, "a+", encoding="utf-8")
        except OSError as error:
            raise self._not_writable(error) from error

    @property
    def _note_path(self) -> str:
        return os.path.join(self.folder, "store.json")

    def _note(self) -> dict[str, str]:
        try:
            with open(self._note_path, encoding="utf-8") as file:
                text = file.read()
            note: dict[str, str] = json.loads(text) if text else {}
            return {key: str(note[key]) for key in ("id", "store")} if note else {}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"'{self._note_path}', which tells the workspace's metadata store, cannot be read: {error}.",
                "Restore it from a backup.",
            ) from error

    def _write_note(self, note: dict[str, str]) -> None:
        """Of two at once the first one's stays."""
        with self._opened(self._note_path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if not file.read():
                file.write(json.dumps(note))

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
