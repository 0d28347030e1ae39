import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from beam_jobs.csv_format import NULL_VALUES, CsvParser, Dialect, infer_schema, read_header
from beam_jobs.errors import DataError
from beam_jobs.text_chunks import TextFile

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


def written(folder: Path, *texts: bytes | str) -> list[TextFile]:
    files = []
    for i, text in enumerate(texts):
        data = text.encode() if isinstance(text, str) else text
        (folder / f"{i}.csv").write_bytes(data)
        files.append(TextFile(str(folder / f"{i}.csv"), len(data)))
    return files


def types(schema: pa.Schema) -> dict[str, str]:
    return {column.name: str(column.type) for column in schema}


def test_types_are_inferred(tmp_path: Path) -> None:
    text = (
        "i,d,s,b,day,at,utc,none,clock,fine\n"
        "1,1,x,true,2013-01-01,2013-01-01 05:00:00,2013-01-01T05:00:00Z,NA,12:30,2013-01-01 05:00:00.123456789\n"
        "NA,2.5,NA,false,2013-01-02,2013-01-01 05:00:00.5,2013-01-01T05:00:00Z,,12:31,2013-01-01 05:00:00\n"
    )
    assert types(infer_schema(written(tmp_path, text), Dialect(), {})) == {
        "i": "int64",
        "d": "double",
        "s": "string",
        "b": "bool",
        "day": "date32[day]",
        "at": "timestamp[us]",
        "utc": "timestamp[us, tz=UTC]",
        "none": "string",
        "clock": "string",
        "fine": "timestamp[ns]",
    }


def test_declared_types_win_and_must_exist(tmp_path: Path) -> None:
    files = written(tmp_path, "zip,n\n00501,1\n")
    assert types(infer_schema(files, Dialect(), {"zip": pa.string()})) == {"zip": "string", "n": "int64"}
    with pytest.raises(DataError, match=r"'zap'.*Did you mean 'zip'"):
        infer_schema(files, Dialect(), {"zap": pa.string()})


def test_files_of_one_source_widen_each_others_types(tmp_path: Path) -> None:
    assert types(infer_schema(written(tmp_path, "a\n1\n", "a\n1.5\n", "a\n\n"), Dialect(), {})) == {"a": "double"}


def test_broken_rows_do_not_disturb_inference(tmp_path: Path) -> None:
    rows = b"".join(b"%d,1.5\n" % i for i in range(200))
    text = b"a,b\n" + rows + b"7\n8,9,10\n" + b'5,"open\n' + b"6,\0\n" + rows
    assert types(infer_schema(written(tmp_path, text), Dialect(), {})) == {"a": "int64", "b": "double"}


def test_the_end_of_a_large_file_is_seen(tmp_path: Path) -> None:
    text = "a\n" + "1\n" * 2_000_000 + "1.5\n"
    assert types(infer_schema(written(tmp_path, text), Dialect(), {})) == {"a": "double"}


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([""], "is empty"),
        (["a,b\n"], "no readable row"),
        (["a,b"], "no readable row"),
        (["a,b\n\n\r\n"], "no readable row"),
        (["a,a\n1,2\n"], "2 columns called 'a'"),
        (["column_2,\n1,2\n"], "2 columns called 'column_2'"),
        (["a,_row\n1,2\n"], "Braid's own"),
        (["a;b\n1;2\n"], "single column"),
        ([b"caf\xe9,b\n1,2\n"], "header is not UTF-8"),
        (['"a,b\n1,2\n'], "column names"),
        ([b"PK\0\3,b\n"], "column names"),
        (["a,b\n1,2\n", "a,c\n1,2\n"], "1.csv' has no column 'b'"),
        (["a,b\n1,2\n", "b,a\n1,2\n"], "has 'b' as column 1, not 'a'"),
        (["a,b\n1,2\n", "a,b,c\n1,2\n"], "has a column 'c' more"),
    ],
)
def test_unusable_files(tmp_path: Path, texts: list[str | bytes], told: str) -> None:
    with pytest.raises(DataError, match=told):
        infer_schema(written(tmp_path, *texts), Dialect(), {})


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    assert types(infer_schema(written(tmp_path, ",b,\n0,x,1.5\n"), Dialect(), {})) == {
        "column_1": "int64",
        "b": "string",
        "column_3": "double",
    }


def test_header_positions(tmp_path: Path) -> None:
    (file,) = written(tmp_path, b'\xef\xbb\xbf\na,"b\nc"\r\n1,2\r\n')
    header = read_header(file, Dialect())
    assert (header.names, header.line) == (("a", "b\nc"), 4)
    assert Path(file.path).read_bytes()[header.start :] == b"1,2\r\n"
    assert read_header(file, Dialect(columns=("x", "y"))).start == 3


@pytest.mark.parametrize("null", NULL_VALUES)
def test_null_spellings(null: str) -> None:
    for spelt in (null, f'"{null}"'):
        table = CsvParser(SCHEMA, Dialect()).parse(f"{spelt},{spelt}\n".encode())
        assert table.to_pylist() == [{"id": None, "name": None}]


def test_other_null_spellings_replace_the_defaults() -> None:
    table = CsvParser(SCHEMA, Dialect(null_values=("-",))).parse(b"-,NA\n")
    assert table.to_pylist() == [{"id": None, "name": "NA"}]


def test_times_are_read_in_microseconds() -> None:
    schema = pa.schema([("at", pa.timestamp("us", "UTC"))])
    table = CsvParser(schema, Dialect()).parse(b"2013-01-01T05:00:00+02:00\n")
    assert table.to_pylist() == [{"at": datetime.datetime(2013, 1, 1, 3, tzinfo=datetime.UTC)}]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (b"1\n", "short row: 1 of 2 fields, the last ones, from 'name' on, are missing"),
        (b"1,x,y\n", "long row: 3 fields where 2 are expected"),
        (b"1.5,x\n", "column 'id' is int64: invalid value '1.5'"),
        (b"1,caf\xe9\n", "column 'name' is not UTF-8: byte 0xe9"),
        (b"1,a\0b\n", "column 'name' holds a NUL byte"),
    ],
)
def test_faults_name_column_and_value(record: bytes, told: str) -> None:
    parser = CsvParser(SCHEMA, Dialect())
    with pytest.raises(pa.ArrowInvalid):
        parser.parse(record)
    assert parser.fault(record) == told
