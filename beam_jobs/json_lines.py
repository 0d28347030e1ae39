"""JSON Lines: one object a line; its keys are columns, a missing key is null."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json

from beam_jobs.column_types import UTC_TIMESTAMP, check_declared, check_names, type_name, unify
from beam_jobs.errors import DataError, nearest
from beam_jobs.text_chunks import TextFile, sample, text_start
from beam_jobs.text_records import LineGrammar

# Arrow's JSON parser crashes the process on a bare `null` and reads several objects from one line: blocks go to it
# only when every line is braced and nothing but punctuation follows a closing brace.
_BRACED = re.compile(rb"(?:[ \t\r]*+\n|[ \t]*+\{[^\n]*(?<=\})[ \t\r]*\n)*+")
_MORE = re.compile(rb"\}[ \t\r]*+[^,}\] \t\r\n]")
_TIMES = (pa.date32(), pa.timestamp("us"), UTC_TIMESTAMP)


class JsonParser:
    """Parses blocks of lines into tables of one frozen schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema, self.grammar = schema, LineGrammar()
        self._as_stored = pa.schema([(f.name, pa.string() if _is_time(f.type) else f.type) for f in schema])

    def parse(self, data: bytes) -> pa.Table:
        """Parses whole lines.

        Raises:
          pa.ArrowInvalid: a line is no row of the schema.
        """
        if not _BRACED.fullmatch(data) or (_MORE.search(data) and not _objects_only(data)):
            raise pa.ArrowInvalid("not one JSON object a line")
        if b"\0" in data:
            raise pa.ArrowInvalid("a NUL byte")
        if not data.strip():
            return self.schema.empty_table()
        _check_utf8(data)
        return _read(data, self._as_stored).cast(self.schema)

    def fault(self, record: bytes) -> str:
        """Why `parse` refuses a line, in words; column and value where they are known."""
        if b"\0" in record:
            return "holds a NUL byte"
        try:
            value = json.loads(record.decode())
        except UnicodeDecodeError as error:
            return f"not UTF-8: byte 0x{record[error.start]:02x}"
        except (ValueError, RecursionError) as error:
            return f"not JSON: {error}"
        if not isinstance(value, dict):
            return f"not a JSON object but {_kind_of(value)}"
        return next(filter(None, (self._value_fault(key, v) for key, v in value.items())), "") or self._told(record)

    def _value_fault(self, key: str, value: Any) -> str:
        if key not in self.schema.names:
            return f"unknown key '{key}', which no sampled row has.{nearest(key, self.schema.names)}"
        line = json.dumps({key: value}).encode() + b"\n"
        try:
            JsonParser(pa.schema([self.schema.field(key)])).parse(line)
        except pa.ArrowInvalid:
            shown = json.dumps(value, ensure_ascii=False)[:200]
            return f"column '{key}' is {type_name(self.schema.field(key).type)}: invalid value {shown}"
        return ""

    def _told(self, record: bytes) -> str:
        try:
            self.parse(record)
        except pa.ArrowInvalid as error:
            return str(error)
        return "not one row"


def _is_time(kind: pa.DataType) -> bool:
    """Whether JSON has no such type, so that Arrow's casts read it from strings, as its CSV parser does."""
    return bool(pa.types.is_temporal(kind))


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid("not UTF-8") from error


def _objects_only(data: bytes) -> bool:
    """The exact, slow form of the check: a brace may stand in a string."""
    try:
        return all(isinstance(json.loads(line), dict) for line in data.splitlines() if line.strip())
    except (ValueError, RecursionError):
        return False


def _read(data: bytes, schema: pa.Schema) -> pa.Table:
    return pyarrow.json.read_json(
        pa.BufferReader(data),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )


def infer_schema(files: Sequence[TextFile], declared: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema of JSON Lines files: declared types, and for the rest what the values of samples have in common.

    Raises:
      DataError: a file is empty, no line is a JSON object, a value is an object or an array, a declared column does
        not exist.
    """
    rows = [row for file in files for row in _sampled_rows(file)]
    if not rows:
        raise DataError(
            f"'{files[0].path}' holds no JSON object on a line of its own.",
            "Is it JSON Lines? One array of objects becomes that by: jq -c '.[]'.",
        )
    values: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            values.setdefault(key, []).append(value)
    names = list(values)
    check_names(names, files[0].path)
    check_declared(declared, names, files[0].path)
    return pa.schema([(name, declared.get(name) or _type_of(name, values[name], files[0].path)) for name in names])


def _sampled_rows(file: TextFile) -> list[dict[str, Any]]:
    start, _ = text_start(file)
    rows = []
    for piece in sample(file, LineGrammar(), start):
        for line in piece.splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # a reject; it says nothing about types
            rows += [row] if isinstance(row, dict) else []
    return rows


def _type_of(name: str, values: Sequence[Any], file: str) -> pa.DataType:
    """The type that most values have."""
    kinds = [_kind_of(value) for value in values if value is not None]
    for kind in ("object", "array"):
        if kind in kinds:
            raise DataError(
                f"'{file}': column '{name}' holds a JSON {kind}; columns must hold plain values.",
                "Flatten it before Braid reads it.",
            )
    kind = max(("string", "number", "boolean"), key=kinds.count)
    if not kinds or kind == "string":
        return _text_or_time([value for value in values if isinstance(value, str)])
    if kind == "boolean":
        return pa.bool_()
    return unify(
        pa.int64() if isinstance(v, int) and abs(v) < 1 << 63 else pa.float64()
        for v in values
        if _kind_of(v) == "number"
    )


def _kind_of(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "null")


def _text_or_time(texts: Sequence[str]) -> pa.DataType:
    for kind in _TIMES if texts else ():
        try:
            pa.array(texts, pa.string()).cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return pa.string()
