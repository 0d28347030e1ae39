import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from beam_jobs.errors import DataError
from beam_jobs.json_lines import JsonParser, infer_schema
from beam_jobs.text_chunks import TextFile

SCHEMA = pa.schema([("a", pa.int64()), ("s", pa.string()), ("at", pa.timestamp("us", "UTC"))])


def written(folder: Path, text: str) -> list[TextFile]:
    (folder / "t.jsonl").write_text(text)
    return [TextFile(str(folder / "t.jsonl"), len(text.encode()))]


def types(schema: pa.Schema) -> dict[str, str]:
    return {column.name: str(column.type) for column in schema}


def test_types_are_inferred(tmp_path: Path) -> None:
    text = (
        '{"i": 1, "d": 1, "s": "x", "b": true, "day": "2013-01-01", "utc": "2013-01-01T05:00:00Z", "n": null}\n'
        'broken\n\n{"i": 2, "d": 2.5, "big": 18446744073709551616, "day": null, "mix": "x"}\n{"mix": 1}\n{"mix": "y"}\n'
    )
    assert types(infer_schema(written(tmp_path, text), {})) == {
        "i": "int64",
        "d": "double",
        "s": "string",
        "b": "bool",
        "day": "date32[day]",
        "utc": "timestamp[us, tz=UTC]",
        "n": "string",
        "big": "double",
        "mix": "string",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("[\n1\n]\n", "no JSON object"),
        ('{"a": {"b": 1}}\n', "'a' holds a JSON object"),
        ('{"a": [1]}\n', "'a' holds a JSON array"),
        ('{"_at": 1}\n', "Braid's own"),
    ],
)
def test_unusable_files(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        infer_schema(written(tmp_path, text), {})


def test_missing_keys_are_null_and_order_does_not_matter() -> None:
    data = b'{"s":"}{ NA","a":1}\r\n\n{"at":"2013-01-01T05:00:00+02:00"}\n{}\n'
    at = datetime.datetime(2013, 1, 1, 3, tzinfo=datetime.UTC)
    assert JsonParser(SCHEMA).parse(data).to_pylist() == [
        {"a": 1, "s": "}{ NA", "at": None},
        {"a": None, "s": None, "at": at},
        {"a": None, "s": None, "at": None},
    ]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (b"null\n", "not a JSON object but null"),
        (b'{"a":1} null\n', "not JSON: Extra data"),
        (b'{"a":1}{"a":null}\n', "not JSON: Extra data"),
        (b"[1]\n", "not a JSON object but array"),
        (b'{"a":1\n', "not JSON: "),
        (b'{"a":1,\n', "not JSON: "),
        (b'{"b":1}\n', "unknown key 'b'"),
        (b'{"a":"x"}\n', "column 'a' is int64: invalid value \"x\""),
        (b'{"a":1.5}\n', "column 'a' is int64: invalid value 1.5"),
        (b'{"a":true}\n', "column 'a' is int64: invalid value true"),
        (b'{"s":{"x":1}}\n', "column 's' is string: invalid value"),
        (b'{"at":"yesterday"}\n', "column 'at' is timestamp[UTC]: invalid value"),
        (b'{"at":"2013-01-01T05:00:00"}\n', "column 'at' is timestamp[UTC]: invalid value"),
        (b'{"s":"\xff"}\n', "not UTF-8: byte 0xff"),
        (b'{"s":"\0"}\n', "holds a NUL byte"),
        (b'{"a":1,"a":2}\n', "twice"),
    ],
)
def test_faults_name_column_and_value(record: bytes, told: str) -> None:
    parser = JsonParser(SCHEMA)
    with pytest.raises(pa.ArrowInvalid):
        parser.parse(record)
    with pytest.raises(pa.ArrowInvalid):
        parser.parse(b'{"a":1}\n' + record + b'{"a":1}\n')
    assert told in parser.fault(record)
