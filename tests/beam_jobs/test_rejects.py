import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.csv_format import CsvParser, Dialect
from beam_jobs.json_lines import JsonParser
from beam_jobs.rejects import GROUP_RECORDS, MAX_RAW, BlockRows, TooManyRejectsError, read_block, to_table
from beam_jobs.text_chunks import Block
from beam_jobs.text_records import CsvGrammar

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])
BROKEN_CSV = [b"x,1\n", b"1\n", b"1,2,3\n", b"1,\xff\n", b"1,\0\n", b'1,"open\n', b"1.0,a\r\n"]
BROKEN_JSON = [
    b'{"id":"1"}\n',
    b'{"id":1,"x":2}\n',
    b"null\n",
    b'{"id":1\n',
    b"[]\n",
    b'{"name":"\xff"}\n',
    b'{"id":1}{}\n',
]


def read(data: bytes, parser: CsvParser | JsonParser, **limits: float) -> BlockRows:
    sound = not isinstance(parser, CsvParser) or CsvGrammar().cut(data, final=True)[1]
    return read_block(Block(data, 100, 11, sound), "f", parser, **limits)


def csv_row(value: int) -> bytes:
    return b'%d,"a\n%d"\n' % (value, value) if value % 3 == 0 else b"%d,b\n" % value


def json_row(value: int) -> bytes:
    return b'{"id":%d,"name":"}{"}\n' % value


@settings(deadline=None)
@given(st.data(), st.sampled_from(["csv", "jsonl"]), st.integers(0, 60))
def test_exactly_the_broken_records_are_rejected(data: st.DataObject, kind: str, count: int) -> None:
    parser = CsvParser(SCHEMA, Dialect()) if kind == "csv" else JsonParser(SCHEMA)
    row, broken = (csv_row, BROKEN_CSV) if kind == "csv" else (json_row, BROKEN_JSON)
    bad = data.draw(st.dictionaries(st.integers(0, max(count - 1, 0)), st.sampled_from(broken), max_size=count))
    records = [bad.get(i, row(i)) for i in range(count)]
    found = read(b"".join(records), parser)
    assert found.read == count
    assert found.places.tolist() == [i for i in range(count) if i not in bad]
    assert found.rows.schema == SCHEMA
    assert found.rows["id"].to_pylist() == found.places.tolist()
    assert [(r.place, r.position) for r in found.rejects] == [
        (i, 100 + len(b"".join(records[:i]))) for i in sorted(bad)
    ]
    assert [r.line for r in found.rejects] == [11 + b"".join(records[:i]).count(b"\n") for i in sorted(bad)]
    assert [r.raw for r in found.rejects] == [bad[i].rstrip().decode("utf-8", "backslashreplace") for i in sorted(bad)]
    assert all(r.reason for r in found.rejects)


def test_blank_lines_have_no_place() -> None:
    found = read(b"1,a\n\n\r\nx,b\n2,c\n", CsvParser(SCHEMA, Dialect()))
    assert (found.read, found.places.tolist()) == (3, [0, 2])
    assert found.rejects[0].line == 14


def test_raw_text_is_cut() -> None:
    found = read(b"x," + b"y" * 10_000 + b"\n", CsvParser(SCHEMA, Dialect()))
    assert len(found.rejects[0].raw) == MAX_RAW
    assert to_table(found.rejects)["raw"][0].as_py() == found.rejects[0].raw


def test_hopeless_blocks_end_early() -> None:
    data = b"x,y\n" * 5000
    with pytest.raises(TooManyRejectsError) as raised:
        read(data, CsvParser(SCHEMA, Dialect()), max_fraction=0.5, most=10)
    assert raised.value.read == GROUP_RECORDS
    assert len(read(data, CsvParser(SCHEMA, Dialect()), max_fraction=1.0, most=10).rejects) == 5000
