"""CSV: the header, the types of the columns, and the parser."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv

from beam_jobs.column_types import check_declared, check_names, unify
from beam_jobs.errors import DataError, nearest
from beam_jobs.text_chunks import TextFile, sample, text_start
from beam_jobs.text_records import CsvGrammar

NULL_VALUES = ("", "NA", "N/A", "null", "NULL", "NaN", "nan", "\\N")
_COLUMN = re.compile(r"^In CSV column #(\d+): (?:Row #\d+: )?(?:CSV conversion error to [^:]+: )?(.*)$", re.DOTALL)
_OTHER_DELIMITERS = (";", "\t", "|", ",")
_LIKELY = 0.9
_NO_ROWS_HINT = "Put data there; or, if it has rows, check that they have as many fields as there are names."


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is spelt: delimiter, spellings of null, and column names where the file has no header."""

    delimiter: str = ","
    null_values: tuple[str, ...] = NULL_VALUES
    columns: tuple[str, ...] | None = None

    @property
    def grammar(self) -> CsvGrammar:
        """Where its records end."""
        return CsvGrammar(self.delimiter)


@dataclass(frozen=True)
class Header:
    """Column names, and where the rows begin: bytes of text before them, and their first line's number."""

    names: tuple[str, ...]
    start: int
    line: int


class CsvParser:
    """Parses blocks of records into tables of one frozen schema."""

    def __init__(self, schema: pa.Schema, dialect: Dialect) -> None:
        self.schema, self.grammar = schema, dialect.grammar
        self._parse_options = _parse_options(dialect)
        self._convert_options = _convert_options(dialect, dict(zip(schema.names, schema.types, strict=True)))

    def parse(self, data: bytes) -> pa.Table:
        """Parses whole records.

        Raises:
          pa.ArrowInvalid: a record is no row of the schema.
        """
        if b"\0" in data:
            raise pa.ArrowInvalid("a NUL byte")
        if not data.strip(b"\r\n"):
            return self.schema.empty_table()
        # Arrow's streaming reader works in this thread: Beam's workers are the parallelism, and small texts (rejects
        # are found by halving) cost a quarter of what its other reader takes to hand them to a thread.
        return pyarrow.csv.open_csv(
            pa.BufferReader(data),
            read_options=_read_options(self.schema.names, data),
            parse_options=self._parse_options,
            convert_options=self._convert_options,
        ).read_all()

    def fault(self, record: bytes) -> str:
        """Why `parse` refuses a record, in words; column and value where they are known."""
        fields, names = self.grammar.fields(record), self.schema.names
        for name, field in zip(names, fields, strict=False):
            if b"\0" in field:
                return f"column '{name}' holds a NUL byte"
            try:
                field.decode()
            except UnicodeDecodeError as error:
                return f"column '{name}' is not UTF-8: byte 0x{field[error.start]:02x}"
        if len(fields) < len(names):
            return f"short row: {len(fields)} of {len(names)} fields, the last ones, from '{names[len(fields)]}' on, are missing"
        if len(fields) > len(names):
            return f"long row: {len(fields)} fields where {len(names)} are expected"
        return self._conversion_fault(record)

    def _conversion_fault(self, record: bytes) -> str:
        try:
            self.parse(record)
        except pa.ArrowInvalid as error:
            match = _COLUMN.match(str(error))
            if not match:
                return str(error)
            name = self.schema.names[int(match.group(1))]
            return f"column '{name}' is {self.schema.field(name).type}: {match.group(2)}"
        return "not one row"


def _read_options(names: Sequence[str], data: bytes) -> Any:
    """All of `data` as one block, so that nothing depends on where Arrow would cut it."""
    return pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(names))


def _parse_options(dialect: Dialect) -> Any:
    return pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True)


def _convert_options(dialect: Dialect, types: Mapping[str, pa.DataType] | None) -> Any:
    nulls = list(dialect.null_values)
    return pyarrow.csv.ConvertOptions(column_types=types, null_values=nulls, strings_can_be_null=True)


def _read_sample(
    data: bytes, names: Sequence[str], dialect: Dialect, types: Mapping[str, pa.DataType] | None = None
) -> pa.Table:
    """Parses records with the types that Arrow infers, but for those given."""
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=_read_options(names, data),
        parse_options=_parse_options(dialect),
        convert_options=_convert_options(dialect, types),
    )


def read_header(file: TextFile, dialect: Dialect) -> Header:
    """Reads the header line, or takes the dialect's names. A column without a name is called `column_<place>`.

    Raises:
      DataError: the file is empty or its header unusable.
    """
    start, head = text_start(file)
    if dialect.columns is not None:
        check_names(dialect.columns, file.path)
        return Header(dialect.columns, start, 1)
    grammar = dialect.grammar
    first = next(grammar.records(head[: grammar.cut(head, final=False)[0]] or head), None)
    record = head[first.start : first.stop] if first else b""
    if not record or b"\0" in record or (first and first.fault):
        raise DataError(f"'{file.path}' does not begin with a line of column names.", "Is it a CSV file?")
    stop = first.stop if first else 0
    return Header(_names(record, file, dialect), start + stop, 1 + head.count(b"\n", 0, stop))


def _names(record: bytes, file: TextFile, dialect: Dialect) -> tuple[str, ...]:
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{file.path}': the header is not UTF-8 (byte 0x{record[error.start]:02x}).",
            "Convert the file: iconv -f LATIN1 -t UTF-8.",
        ) from error
    names = next(csv.reader([text], delimiter=dialect.delimiter), [])
    if len(names) == 1:
        _check_delimiter(names[0], file, dialect)
    # A table written with its row numbers (as pandas does) leaves their column without a name.
    names = [name or f"column_{place}" for place, name in enumerate(names, 1)]
    check_names(names, file.path)
    return tuple(names)


def _check_delimiter(name: str, file: TextFile, dialect: Dialect) -> None:
    for other in _OTHER_DELIMITERS:
        if other != dialect.delimiter and other in name:
            raise DataError(
                f"'{file.path}' has a single column, called '{name[:200]}', when cut at {dialect.delimiter!r}.",
                f"If its columns are cut by {other!r}, set `delimiter: {other!r}`.",
            )


def agreed_header(files: Sequence[TextFile], dialect: Dialect) -> Header:
    """The header of the first file, once every file's header is the same.

    Raises:
      DataError: a header differs; the message names file and column.
    """
    first = read_header(files[0], dialect)
    for file in files[1:]:
        names = read_header(file, dialect).names
        if names != first.names:
            raise _header_differs(first.names, files[0].path, names, file.path)
    return first


def _header_differs(names: Sequence[str], file: str, others: Sequence[str], other_file: str) -> DataError:
    missing = [name for name in names if name not in others]
    added = [name for name in others if name not in names]
    if missing:
        what = f"has no column '{missing[0]}'.{nearest(missing[0], added)}"
    elif added:
        what = f"has a column '{added[0]}' more."
    else:
        at = next(i for i, (a, b) in enumerate(zip(names, others, strict=True)) if a != b)
        what = f"has '{others[at]}' as column {at + 1}, not '{names[at]}'."
    return DataError(
        f"The files of one source must have the same columns: beside '{file}', '{other_file}' {what}",
        "Make them agree, or declare two sources.",
    )


def infer_schema(files: Sequence[TextFile], dialect: Dialect, declared: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema of CSV files: declared types, and for the rest what Arrow infers from samples.

    Raises:
      DataError: a file is empty, headers differ, no file has a row, a declared column does not exist.
    """
    header = agreed_header(files, dialect)
    check_declared(declared, header.names, files[0].path)
    pieces = [piece for file in _some(files) for piece in _sound_sample(file, dialect, header)]
    if not pieces:
        raise DataError(f"'{files[0].path}' has column names, but no readable row.", _NO_ROWS_HINT)
    samples = [_read_sample(piece, header.names, dialect).schema for piece in pieces]
    fields = []
    for name in header.names:
        kind = declared.get(name) or _settled(
            name, unify(map(_known, (s.field(name).type for s in samples))), pieces, header, dialect
        )
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def _some(files: Sequence[TextFile], most: int = 16) -> list[TextFile]:
    """Files spread evenly over all of them."""
    step = max(1, len(files) // most)
    return [*files[::step][: most - 1], files[-1]] if len(files) > 1 else list(files)


def _sound_sample(file: TextFile, dialect: Dialect, header: Header) -> list[bytes]:
    start = read_header(file, dialect).start
    return [p for piece in sample(file, dialect.grammar, start) if (p := _rows_only(piece, dialect, len(header.names)))]


def _rows_only(piece: bytes, dialect: Dialect, width: int) -> bytes:
    """The records of a sample that have the right number of fields and are text.

    A sample from the middle of a file may begin inside quotes and be nonsense: then most do not, and it is no use.
    """
    grammar = dialect.grammar
    if b'"' not in piece and b"\0" not in piece:
        try:
            return piece if _read_sample(piece, [str(i) for i in range(width)], dialect).num_rows else b""
        except pa.ArrowInvalid:
            pass  # some record is no row: look at each
    records = [piece[r.start : r.stop] for r in grammar.records(piece) if not r.fault]
    rows = [r for r in records if b"\0" not in r and len(grammar.fields(r)) == width]
    return b"".join(rows) if len(rows) >= _LIKELY * len(records) or len(records) < 100 else b""


def _known(kind: pa.DataType) -> pa.DataType:
    """Arrow's guess as one of Braid's types: bytes that are no text and times of day stay text."""
    if pa.types.is_binary(kind) or pa.types.is_time(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" else "us", kind.tz)
    return kind


def _settled(name: str, kind: pa.DataType, pieces: Sequence[bytes], header: Header, dialect: Dialect) -> pa.DataType:
    """Microseconds for timestamps, as in DuckDB, unless the text is finer."""
    if not pa.types.is_timestamp(kind) or kind.unit != "ns":
        return kind
    coarse = pa.timestamp("us", kind.tz)
    try:
        for piece in pieces:
            _read_sample(piece, header.names, dialect, {name: coarse})
    except pa.ArrowInvalid:
        return kind
    return coarse
