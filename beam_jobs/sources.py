"""Sources: tables outside the pipeline, as a configuration names them."""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from beam_jobs import csv_format, json_lines, parquet_files, storage
from beam_jobs.column_types import parse_type
from beam_jobs.csv_format import NULL_VALUES, Dialect
from beam_jobs.errors import DataError, listed, nearest
from beam_jobs.text_chunks import COMPRESSIONS, TextFile, member_name

FORMATS = ("csv", "jsonl", "parquet")
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class SourceConfig:
    """One source.

    Attributes:
      name: the table's name in queries.
      path: a file, a folder, a glob, `package://name/file` or a bucket path.
      format: 'csv', 'jsonl' or 'parquet'; '' takes it from the files' ending, behind .gz, .zst, .bz2 or .zip.
      types: declared column types by name; see `column_types`.
      null_values: spellings of null in CSV; JSON has a null of its own.
      delimiter: one character; ',' means a tab in files that end in .tsv.
      columns: column names of CSV files without a header line.
      max_reject_fraction: the run stops when a larger share of the records is no row.
    """

    name: str
    path: str
    format: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    null_values: tuple[str, ...] = NULL_VALUES
    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    max_reject_fraction: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", dict(self.types))
        object.__setattr__(self, "null_values", tuple(self.null_values))
        object.__setattr__(self, "columns", tuple(self.columns) if self.columns else None)
        self._check()

    def _check(self) -> None:
        if self.format and self.format not in FORMATS:
            raise DataError(
                f"Source '{self.name}': '{self.format}' is no format.{nearest(self.format, FORMATS)}",
                f"Formats are: {listed(FORMATS)}; leave it out to go by the file's ending.",
            )
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n\0':
            raise DataError(
                f"Source '{self.name}': {self.delimiter!r} cannot be a delimiter.", "Give one character, such as ';'."
            )
        if not 0 <= self.max_reject_fraction <= 1:
            raise DataError(
                f"Source '{self.name}': max_reject_fraction is {self.max_reject_fraction}.", "Give 0 to 1; 0.01 is 1%."
            )
        _ = self.declared

    @property
    def declared(self) -> dict[str, pa.DataType]:
        """The declared types as Arrow types.

        Raises:
          DataError: a name is no type.
        """
        return {column: parse_type(name, column) for column, name in self.types.items()}

    @property
    def dialect(self) -> Dialect:
        """How its CSV files are spelt."""
        is_tsv = self.delimiter == "," and ".tsv" in os.path.basename(self.path).lower()
        return Dialect("\t" if is_tsv else self.delimiter, self.null_values, self.columns)


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source, sorted by path, all of one format."""

    format: str
    files: tuple[storage.FileInfo, ...]

    @property
    def texts(self) -> list[TextFile]:
        """The files as text files."""
        return [TextFile.of(file) for file in self.files]


@dataclass(frozen=True)
class DigestedFile:
    """A file of a source as it was when it was looked at: its path, its size in bytes, the digest of its bytes."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class SourceContent:
    """What is in a source.

    Attributes:
      fingerprint: digest of the files' paths and content and of how they are parsed, in hexadecimal.
      files: sorted by path.
    """

    fingerprint: str
    files: tuple[DigestedFile, ...]


def find_files(config: SourceConfig) -> SourceFiles:
    """Lists the files and settles their format.

    Raises:
      DataError: there is no file, its ending tells no format, or files differ in format.
    """
    files = tuple(storage.expand(storage.resolve(config.path)))
    if config.format:
        return SourceFiles(config.format, files)
    formats = {file.path: _format_of(file.path) for file in files}
    first = files[0].path
    for path, kind in formats.items():
        if kind != formats[first]:
            raise DataError(
                f"Source '{config.name}' mixes formats: '{first}' is {formats[first]}, '{path}' is {kind}.",
                "Narrow the path with a glob such as 'folder/*.csv', or declare two sources.",
            )
    return SourceFiles(formats[first], files)


def _format_of(path: str) -> str:
    stem, ending = os.path.splitext(path)
    if ending.lower() in COMPRESSIONS:
        ending = os.path.splitext(stem)[1]
        if not ending and path.lower().endswith(".zip"):
            ending = os.path.splitext(member_name(path))[1]
    kind = _ENDINGS.get(ending.lower())
    if kind is None:
        raise DataError(
            f"The ending of '{path}' tells no format.{nearest(ending, _ENDINGS)}",
            f"Set `format` to one of {listed(FORMATS)}; known endings are {listed(_ENDINGS)}, behind .gz, .zst, .bz2 or .zip too.",
        )
    return kind


def infer_schema(config: SourceConfig) -> pa.Schema:
    """The source's columns: declared types, and for the rest what samples of the files show; reads no file whole.

    Raises:
      DataError: the files are no sound table.
    """
    found = find_files(config)
    if found.format == "csv":
        return csv_format.infer_schema(found.texts, config.dialect, config.declared)
    if found.format == "jsonl":
        return json_lines.infer_schema(found.texts, config.declared)
    return parquet_files.common_schema([file.path for file in found.files], config.declared)


def source_content(config: SourceConfig, memo: str | None = None) -> SourceContent:
    """Digests the source's files.

    Args:
      config: the source.
      memo: a JSON file that remembers the digests of files by path, size, time of change and inode, as git's index
        does, so that files that did not change are not read again. Read and rewritten.
    """
    known = _load_memo(memo)
    options = dataclasses.asdict(dataclasses.replace(config, name=""))
    files = tuple(DigestedFile(file.path, file.size, _digest(file, known)) for file in find_files(config).files)
    if memo is not None:
        storage.write_text(memo, json.dumps(known, indent=0, sort_keys=True))
    text = json.dumps([options, [(file.path, file.digest) for file in files]], sort_keys=True)
    return SourceContent(storage.text_digest(text), files)


def _load_memo(memo: str | None) -> dict[str, list[Any]]:
    if memo is None or not storage.exists(memo):
        return {}
    try:
        loaded = json.loads(storage.read_text(memo))
    except ValueError:
        return {}  # a memo is a convenience: a damaged one is made anew
    return loaded if isinstance(loaded, dict) else {}


def _digest(file: storage.FileInfo, known: dict[str, list[Any]]) -> str:
    if storage.is_remote(file.path):
        return storage.content_digest(file.path)
    state = os.stat(file.path)
    mark = [state.st_size, state.st_mtime_ns, state.st_ino]
    remembered = known.get(file.path)
    if isinstance(remembered, list) and remembered[:3] == mark and len(remembered) == 4:
        return str(remembered[3])
    began = time.time_ns()
    digest = storage.content_digest(file.path)
    # A file written a moment ago may change again within the same tick of its clock.
    if state.st_mtime_ns < began - _SETTLED_NS:
        known[file.path] = [*mark, digest]
    return digest
