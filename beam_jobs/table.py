"""A table at rest: Parquet files and the manifest that says what they hold."""

import base64
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from beam_jobs import storage
from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.ledger import Ledger
from beam_jobs.row_groups import read_row_groups

MANIFEST = "table.json"
ROW = "_row"
"""The column that identifies a row: int64, the chunk's number times 2**32 plus the row's place in the chunk."""
ROW_PLACE_BITS = 32
ROW_GROUP_ROWS = 131_072


def row_id(chunk: int, place: int) -> int:
    """The `_row` of the row at `place` (from 0, rejects counted) in chunk number `chunk`."""
    return (chunk << ROW_PLACE_BITS) + place


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table.

    Attributes:
      path: relative to the table's root, or whole where the table is read in place.
      row_groups: the rows of each row group, in order.
      chunk: the number of the chunk that it was written from (or, read in place, is numbered from).
      split: '' in a table without splits.
      digest: BLAKE2b-128 of the bytes, in hexadecimal, as they were written; '' of a file that is read in place.
    """

    path: str
    row_groups: tuple[int, ...]
    chunk: int
    split: str = ""
    digest: str = ""

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return sum(self.row_groups)

    @property
    def is_in_place(self) -> bool:
        """Whether it is a source's own file, which lies where its path says."""
        return storage.is_remote(self.path) or os.path.isabs(self.path)


@dataclass(frozen=True)
class Origin:
    """Where a chunk number of `_row` points: a range of a source file, in `unit` ('bytes' or 'rows')."""

    chunk: int
    file: str
    start: int
    stop: int
    unit: str


@dataclass(frozen=True)
class Table:
    """What a job wrote, or, with whole paths in `parts`, Parquet files read where they lie.

    Attributes:
      root: the folder that holds the manifest.
      schema: the user's columns, without `_row`.
      stores_rows: whether the files carry the column `_row`; else it follows from chunk and place.
      ledger: the counts of the job that wrote it.
      origins: for a source's table, what the chunk numbers stand for.
    """

    root: str
    schema: pa.Schema
    parts: tuple[Part, ...]
    stores_rows: bool
    ledger: Ledger
    origins: tuple[Origin, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def splits(self) -> dict[str, int]:
        """Rows of each split, in the order in which the splits were declared."""
        counts: dict[str, int] = {}
        for part in self.parts:
            counts[part.split] = counts.get(part.split, 0) + part.rows
        return counts

    def path(self, part: Part) -> str:
        """Where a part can be opened."""
        return part.path if part.is_in_place else f"{self.root.rstrip('/')}/{part.path}"

    def in_split(self, split: str) -> tuple[Part, ...]:
        """The parts of one split."""
        return tuple(part for part in self.parts if part.split == split)

    def save(self) -> None:
        """Writes the manifest into `root`; a table without its manifest does not exist."""
        storage.write_text(f"{self.root.rstrip('/')}/{MANIFEST}", json.dumps(self._to_json(), indent=1))

    def _to_json(self) -> dict[str, Any]:
        return {
            "columns": {column.name: str(column.type) for column in self.schema},
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "parts": [dataclasses.asdict(part) for part in self.parts],
            "stores_rows": self.stores_rows,
            "ledger": self.ledger.to_dict(),
            "origins": [dataclasses.asdict(origin) for origin in self.origins],
            "extra": self.extra,
        }

    @classmethod
    def load(cls, root: str) -> "Table":
        """Reads the manifest in `root`.

        Raises:
          DataError: there is none, so no job ever finished there.
        """
        path = f"{root.rstrip('/')}/{MANIFEST}"
        if not storage.exists(path):
            raise DataError(f"'{root}' holds no table: '{MANIFEST}' is missing.", "Run the step that writes it again.")
        data = json.loads(storage.read_text(path))
        return cls(
            root=root,
            schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(data["schema"]))),
            parts=tuple(Part(**{**part, "row_groups": tuple(part["row_groups"])}) for part in data["parts"]),
            stores_rows=data["stores_rows"],
            ledger=Ledger(**data["ledger"]),
            origins=tuple(Origin(**origin) for origin in data["origins"]),
            extra=data["extra"],
        )


def written_digests(root: str) -> dict[str, str]:
    """Digests of a table's files by their paths relative to `root`, as its job took them; none where no table is."""
    if not storage.exists(f"{root.rstrip('/')}/{MANIFEST}"):
        return {}
    try:
        parts = Table.load(root).parts
    except (KeyError, TypeError, ValueError):  # something else that is called so
        return {}
    return {part.path: part.digest for part in parts if part.digest}


def read_batches(
    table: Table, split: str = "", columns: Sequence[str] | None = None, batch_rows: int = ROW_GROUP_ROWS
) -> Iterator[pa.RecordBatch]:
    """Streams one split, reading only `columns` from the files (all user columns unless said).

    Raises:
      DataError: a column is not in the table, or a file cannot be read.
    """
    wanted = list(table.schema.names if columns is None else columns)
    known = {*table.schema.names, *([ROW] if table.stores_rows else [])}
    for name in wanted:
        if name not in known:
            raise DataError(
                f"Table '{table.root}' has no column '{name}'.{nearest(name, known)}",
                f"It has: {listed(table.schema.names)}.",
            )
    for part in table.in_split(split):
        yield from read_row_groups(table.path(part), wanted, batch_rows)


def read_table(table: Table, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of all splits in memory, typed as the manifest says; for a small table.

    Raises:
      DataError: a file cannot be read.
    """
    narrow = pa.schema([table.schema.field(name) for name in (table.schema.names if columns is None else columns)])
    batches = (batch for split in table.splits for batch in read_batches(table, split, narrow.names))
    return pa.Table.from_batches([batch.cast(narrow) for batch in batches], narrow)
