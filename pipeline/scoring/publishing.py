"""Predictions in the folder that the user named: whole or absent."""

import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import DataError, listed
from beam_jobs.table import Table
from pipeline.errors import RunError

CONTENTS = "_predictions.json"
"""The file that tells what a folder of predictions holds, and that Braid made it; written last.

Readers of Parquet folders pass over names that begin with `_`.
"""
REJECTS = "_rejects"


@dataclass(frozen=True)
class Place:
    """Where predictions go.

    Attributes:
      folder: a local folder or a bucket path.
      replaces: whether predictions that it holds already may be replaced.
    """

    folder: str
    replaces: bool = False

    @classmethod
    def of(cls, written: str, replaces: bool = False) -> "Place":
        """The place as the user spells it; a link stands for what it points to."""
        path = storage.resolve(written)
        return cls(path.rstrip("/") if storage.is_remote(path) else os.path.realpath(path), replaces)

    def check(self) -> None:
        """Refuses a place that holds something else.

        Raises:
          RunError: says what is there.
        """
        if os.path.isfile(self.folder):
            raise RunError(f"'{self.folder}' is a file.", "Name a folder with --to; it is made where it is not there.")
        held = self._held()
        if not held:
            return
        if CONTENTS not in held:
            raise RunError(
                f"'{self.folder}' is not empty: it holds {listed(held, 5)}, and no predictions of Braid's.",
                "Name a new or an empty folder with --to.",
            )
        if not self.replaces:
            raise RunError(
                f"'{self.folder}' holds predictions already.", "Replace them with --force, or name another folder."
            )

    def _held(self) -> list[str]:
        if not storage.is_remote(self.folder):
            return sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []
        if storage.exists(f"{self.folder}/{CONTENTS}"):
            return [CONTENTS]
        try:
            return [os.path.basename(file.path) for file in storage.expand(f"{self.folder}/")]
        except DataError:  # nothing is there
            return []

    def publish(self, predictions: Table, rejects: Table | None, told: Mapping[str, Any]) -> list[str]:
        """Copies the predictions, and the rejects if there are any, and writes what they are.

        Args:
          predictions: the table of the run.
          rejects: the rows of the scored table that could not be read.
          told: for `_predictions.json`.

        Returns:
          The files of predictions.

        Raises:
          RunError: the place holds something else by now.
          DataError: it cannot be written.
        """
        self.check()
        with storage.writing(self.folder):
            write = self._to_bucket if storage.is_remote(self.folder) else self._to_disk
            return write(predictions, rejects, told)

    def _to_disk(self, predictions: Table, rejects: Table | None, told: Mapping[str, Any]) -> list[str]:
        parent, name = os.path.split(self.folder)
        os.makedirs(parent, exist_ok=True)
        aside = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}")
        try:
            files = _copy(predictions, rejects, f"{aside}/new", told)
            if os.path.isdir(self.folder) and os.listdir(self.folder):
                os.rename(self.folder, f"{aside}/old")
            os.rename(f"{aside}/new", self.folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return files

    def _to_bucket(self, predictions: Table, rejects: Table | None, told: Mapping[str, Any]) -> list[str]:
        storage.remove_tree(self.folder)
        return _copy(predictions, rejects, self.folder, told)


def _copy(predictions: Table, rejects: Table | None, folder: str, told: Mapping[str, Any]) -> list[str]:
    files = _copy_parts(predictions, folder)
    refused = _copy_parts(rejects, f"{folder}/{REJECTS}") if rejects is not None else []
    contents = {**told, "files": files, "rejects": [f"{REJECTS}/{name}" for name in refused]}
    storage.write_text(f"{folder}/{CONTENTS}", json.dumps(contents, indent=1))
    return files


def _copy_parts(table: Table, folder: str) -> list[str]:
    for part in table.parts:
        with storage.open_input(table.path(part)) as source, storage.open_output(f"{folder}/{part.path}") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return [part.path for part in table.parts]


def contents(predictions: Table, scored: Table) -> dict[str, Any]:
    """What `_predictions.json` says of the table: rows, columns, ledger, and where the numbers of `_row` point."""
    return {
        "rows": predictions.rows,
        "columns": {column.name: str(column.type) for column in predictions.schema},
        "ledger": predictions.ledger.to_dict(),
        "row": "chunk * 2**32 + the row's place in the chunk, from 0",
        "chunks": [dataclasses.asdict(origin) for origin in scored.origins],
    }
