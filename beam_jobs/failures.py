"""What a failing job leaves behind: the rows that failed as Parquet, and beside them, as JSON, all there is to know.

Both lie in the folder `_failed/` of the job's output. A failure exists once its JSON does, which is written last.
"""

import base64
import dataclasses
import json
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from beam_jobs import storage
from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.shrinking import signature
from beam_jobs.table import Origin, Table, read_table
from beam_jobs.whole_files import read_rows, write_pieces, write_rows

FOLDER = "_failed"
FORMAT = 1

CHUNK = "chunk"
"""A chunk of the stream of a prepare step."""
PARTITION = "partition"
"""A partition of a prepare step with `partition_by`."""
SPILL = "spill"
"""A chunk of a table on its way into partitions."""
BROADCAST = "broadcast"
"""The tables that every worker loads whole; they are named, not copied."""
TEXT = "text"
"""A chunk of a text file, kept as bytes."""
BATCH = "batch"
"""A batch of a job that scores or counts."""


@dataclass(frozen=True)
class Raised:
    """An exception at rest.

    Attributes:
      type: its class, with the module.
      traceback: as Python prints it, with the exceptions that led to it.
      signature: see `shrinking.signature`.
    """

    type: str
    message: str
    hint: str
    traceback: str
    signature: str

    @classmethod
    def of(cls, error: BaseException) -> "Raised":
        """Takes down an exception."""
        kind = type(error)
        told = "".join(traceback.format_exception(error))
        hint = str(getattr(error, "hint", ""))
        return cls(f"{kind.__module__}.{kind.__qualname__}", str(error), hint, told, signature(error))


@dataclass(frozen=True)
class KeptTable:
    """A table that the failing work read.

    Attributes:
      schema: all its columns, without `_row`.
      root: the folder with its manifest.
      file: the Parquet file beside the JSON that holds the rows which the work read; '' where it read all of `root`.
      rows: rows in that file.
    """

    schema: pa.Schema
    root: str = ""
    file: str = ""
    rows: int = 0


@dataclass(frozen=True)
class Failure:
    """One piece of a job's work that failed.

    Attributes:
      kind: what piece it was: one of this module's constants.
      step: the job.
      number: of the chunk or the partition.
      error: what was raised.
      words: where the rows stand, for people.
      group: what is numbered apart, such as the chunks of one table; '' where there is one numbering.
      origin: where the rows come from, or None for a partition, whose rows come from everywhere.
      stream: the table whose rows failed, a name of `tables`; '' where it was no such rows.
      tables: all that the work read, by name.
      parameters: what it takes to run it again; of a prepare step its configuration (`PrepareConfig.to_json`).
      raw: the file beside the JSON with the text that failed, '' for none.
      incomplete: why rows or text could not be kept, '' if they were.
      folder: where it was kept.
    """

    kind: str
    step: str
    number: int
    error: Raised
    words: str
    group: str = ""
    origin: Origin | None = None
    stream: str = ""
    tables: Mapping[str, KeptTable] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""
    incomplete: str = ""
    folder: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Its name in its folder, which another attempt at the same work shares."""
        return "-".join([self.kind, *([self.group] if self.group else []), f"{self.number:06d}"])

    @property
    def file(self) -> str:
        """The Parquet file with the rows that failed; '' for none."""
        kept = self.tables.get(self.stream)
        return f"{self.folder}/{kept.file}" if kept and kept.file else ""


@dataclass(frozen=True)
class Contents:
    """What is to be kept beside a failure's JSON.

    Attributes:
      rows: by the table's name.
      raw: the text that failed, piece by piece.
    """

    rows: Mapping[str, pa.RecordBatchReader] = field(default_factory=dict)
    raw: Iterable[bytes] | None = None


def folder_of(root: str) -> str:
    """Where the job that writes to `root` keeps its failures."""
    return f"{(root or '.').rstrip('/')}/{FOLDER}"


def discard(root: str) -> None:
    """Removes what failed attempts have left below the output of a job that has ended well."""
    storage.remove_tree(folder_of(root))


def save(failure: Failure, contents: Contents, folder: str, name: str = "") -> Failure:
    """Writes a failure; one of the same name is replaced, and no reader ever sees half of one.

    Rows that cannot be read or written are left out; `incomplete` then says why.

    Args:
      name: of its files; `failure.name` unless given.

    Returns:
      The failure as `load` gives it.

    Raises:
      OSError: the JSON cannot be written.
    """
    name = name or failure.name
    tables, raw, reasons = dict(failure.tables), "", list[str]()
    for place, (table, batches) in enumerate(contents.rows.items()):
        file = f"{name}.parquet" if table == failure.stream else f"{name}.{place}.parquet"
        with _noting(reasons):
            written = write_rows(f"{folder}/{file}", batches)
            tables[table] = dataclasses.replace(tables[table], file=file, rows=written)
    if contents.raw is not None:
        with _noting(reasons):
            write_pieces(f"{folder}/{name}.txt", contents.raw)
            raw = f"{name}.txt"
    kept = dataclasses.replace(failure, tables=tables, raw=raw, incomplete="; ".join(reasons), folder=folder)
    write_pieces(f"{folder}/{name}.json", [json.dumps(_to_json(kept), indent=1).encode()])
    return kept


@contextmanager
def _noting(reasons: list[str]) -> Iterator[None]:
    """Whatever goes wrong, what else there is to keep is worth it."""
    try:
        yield
    except Exception as reason:
        reasons.append(_one_line(reason))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def list_failures(root: str) -> list[Failure]:
    """The failures that the job which writes to `root` has kept, by kind and number; [] for none.

    Raises:
      DataError: the folder cannot be listed, or a file in it is no failure.
    """
    folder = folder_of(root)
    try:
        names = _names(folder)
    except OSError as error:
        raise DataError(
            f"'{folder}' cannot be listed: {error.strerror or error}.", "Check that you may read it."
        ) from error
    return [load(f"{folder}/{name}") for name in sorted(names) if name.endswith(".json")]


def _names(folder: str) -> Sequence[str]:
    if not storage.is_remote(folder):
        return os.listdir(folder) if os.path.isdir(folder) else ()
    from beam_jobs import buckets

    return [path.rpartition("/")[2] for path in buckets.find(folder)]


def load(path: str) -> Failure:
    """Reads the JSON that `save` wrote.

    Raises:
      DataError: there is none, or it is something else.
    """
    try:
        return _from_json(json.loads(storage.read_text(path)), os.path.dirname(path))
    except FileNotFoundError as error:
        raise DataError(f"'{path}' does not exist.", "The failed run's output was cleared, or moved.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"'{path}' is no failure that Braid kept: {_one_line(error)}.", "Run the step again, so that it is kept."
        ) from error


def _to_json(failure: Failure) -> dict[str, Any]:
    data = {name.name: getattr(failure, name.name) for name in dataclasses.fields(failure) if name.name != "folder"}
    return {
        "format": FORMAT,
        **data,
        "error": dataclasses.asdict(failure.error),
        "origin": dataclasses.asdict(failure.origin) if failure.origin else None,
        "tables": {name: _table_to_json(table) for name, table in failure.tables.items()},
        "parameters": dict(failure.parameters),
    }


def _table_to_json(table: KeptTable) -> dict[str, Any]:
    columns = {column.name: str(column.type) for column in table.schema}
    schema = base64.b64encode(table.schema.serialize().to_pybytes()).decode()
    return {"columns": columns, "schema": schema, "root": table.root, "file": table.file, "rows": table.rows}


def _from_json(data: dict[str, Any], folder: str) -> Failure:
    if data.pop("format") != FORMAT:
        raise ValueError("it was written by another version")
    error, origin = Raised(**data.pop("error")), data.pop("origin")
    tables = {name: _table_from_json(table) for name, table in data.pop("tables").items()}
    if any("/" in name for name in (data["raw"], *(table.file for table in tables.values()))):
        raise ValueError("it names a file outside its folder")
    return Failure(**data, error=error, origin=Origin(**origin) if origin else None, tables=tables, folder=folder)


def _table_from_json(data: dict[str, Any]) -> KeptTable:
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(data["schema"])))
    return KeptTable(schema, data["root"], data["file"], data["rows"])


def rows(failure: Failure, table: str = "", columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a table that the failing work read.

    Args:
      table: its name; the one whose rows failed unless given.
      columns: those to read; all that were kept unless given.

    Raises:
      DataError: they were not kept, lack a column, or cannot be read.
    """
    name = table or failure.stream
    kept = failure.tables.get(name)
    if kept is None:
        raise DataError(
            f"The failure of step '{failure.step}' holds no table '{name}'.{nearest(name, failure.tables)}",
            f"It holds: {listed(failure.tables)}." if failure.tables else f"It failed on {failure.words}.",
        )
    if kept.file:
        return read_rows(f"{failure.folder}/{kept.file}", columns)
    if name == failure.stream or not kept.root:
        raise DataError(
            f"The rows of '{name}' that step '{failure.step}' failed on could not be kept: {failure.incomplete}.",
            f"They are {failure.words}.",
        )
    return read_table(Table.load(kept.root), columns)
