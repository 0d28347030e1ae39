"""Where runs live: one folder with the metadata store and, a folder a pipeline, everything that steps wrote."""

import fcntl
import glob
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from beam_jobs import storage
from pipeline.errors import RunError
from pipeline.store_address import StoreAddress

_ID_LENGTH = 12


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
        if is_own and not os.path.exists(self._own_store.path) and os.path.exists(self._ids_path):
            os.remove(self._ids_path)  # the store was deleted; another counts from one again
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

    def pipeline_root(self, name: str, root: str = "") -> str:
        """The folder of one pipeline's outputs.

        Args:
          name: the pipeline's.
          root: a folder that several workspaces may share, local or in a bucket; '' for the workspace itself.

        Raises:
          RunError: the root is no single folder, or the workspace cannot be written, which is to have an id there.
        """
        if not root:
            return os.path.join(self.folder, name)
        if storage.is_remote(root) and glob.has_magic(root):
            raise RunError(
                f"The root '{root}' holds one of *, ? and [, which stand for other names in a bucket.",
                "Name a folder without them.",
            )
        return "/".join((storage.resolve(root).rstrip("/"), self._make_id(), name))

    def owns_root(self, root: str, name: str) -> bool:
        """Whether a folder is one that `pipeline_root` gives a pipeline of this workspace."""
        own = self._id_in_roots
        return root == self.pipeline_root(name) or (bool(own) and root.endswith(f"/{own}/{name}"))

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
    def _ids_path(self) -> str:
        return os.path.join(self.folder, "ids.json")

    @property
    def _id_in_roots(self) -> str:
        """What this workspace's folder is called in a root that others may share; '' where it has none yet."""
        try:
            with open(self._ids_path, encoding="utf-8") as file:
                return _ids(file.read(), file.name).get(os.path.realpath(self.folder), "")
        except FileNotFoundError:
            return ""

    def _make_id(self) -> str:
        """The id in roots, made where there is none.

        Outputs are numbered by the store, and a copy of the workspace goes on with the same numbers: lying elsewhere,
        it gets another id.
        """
        with self._opened(self._ids_path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            ids, here = _ids(file.read(), file.name), os.path.realpath(self.folder)
            if here not in ids:
                ids[here] = uuid.uuid4().hex[:_ID_LENGTH]
                file.truncate(0)
                file.write(json.dumps(ids, indent=1))
        return ids[here]

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


def _ids(text: str, path: str) -> dict[str, str]:
    try:
        return {str(folder): str(id_) for folder, id_ in json.loads(text or "{}").items()}
    except (ValueError, AttributeError) as error:
        raise RunError(
            f"'{path}', which tells the workspace's folder in buckets, cannot be read: {error}.",
            "Restore it from a backup; without it, the next run makes another.",
        ) from error
