import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.text_records import CsvGrammar, LineGrammar, terminated

WILD = st.lists(st.sampled_from([b"a", b"1", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b" "]), max_size=40).map(
    b"".join
)


def records(grammar: CsvGrammar | LineGrammar, text: bytes) -> list[tuple[bytes, bool]]:
    data = terminated(text)
    return [(data[r.start : r.stop], not r.fault) for r in grammar.records(data)]


@settings(deadline=None)
@given(WILD)
def test_sound_records_are_what_arrow_parses(text: bytes) -> None:
    found = records(CsvGrammar(), text)
    for record, sound in found:
        if sound:
            fields = CsvGrammar().fields(record)
            names = [str(i) for i in range(len(fields))]
            table = pyarrow.csv.read_csv(
                pa.BufferReader(record),
                read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
            )
            assert table.num_rows == 1


@settings(deadline=None)
@given(WILD, st.integers(1, 30), st.integers(4, 40))
def test_cuts_at_any_size_give_the_same_records(text: bytes, piece: int, longest: int) -> None:
    grammar = CsvGrammar(max_record=longest)
    found: list[tuple[bytes, bool]] = []
    rest = b""
    for first in range(0, len(text) + piece, piece):
        final = first >= len(text)
        rest = terminated(rest) if final else rest + text[first : first + piece]
        end, sound = grammar.cut(rest, final)
        cut = [(rest[r.start : r.stop], not r.fault) for r in grammar.records(rest[:end])]
        assert sound == all(ok for _, ok in cut)
        found += cut
        rest = rest[end:]
    assert rest == b""
    # A cut may fall between a carriage return and its line feed, which is then a blank line.
    assert [(r.rstrip(b"\r\n"), ok) for r, ok in found] == [(r.rstrip(b"\r\n"), ok) for r, ok in records(grammar, text)]


@settings(deadline=None)
@given(WILD)
def test_records_leave_out_nothing_but_line_ends(text: bytes) -> None:
    data = terminated(text)
    position = 0
    for record in CsvGrammar().records(data):
        assert not data[position : record.start].strip(b"\r\n")
        position = record.stop
    assert not data[position:].strip(b"\r\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'a,"b\nc"\nd,e', [(b'a,"b\nc"\n', True), (b"d,e\n", True)]),
        (b'a,"b""\nc"\n', [(b'a,"b""\nc"\n', True)]),
        (b'5" pipe,1\nx,2\n', [(b'5" pipe,1\n', True), (b"x,2\n", True)]),
        (b'1,"open\n2,x\n3,y\n', [(b'1,"open\n', False), (b"2,x\n", True), (b"3,y\n", True)]),
        (b'1,"open\n2,"shut"\n3,y\n', [(b'1,"open\n', False), (b'2,"shut"\n', True), (b"3,y\n", True)]),
    ],
)
def test_quotes(text: bytes, expected: list[tuple[bytes, bool]]) -> None:
    assert records(CsvGrammar(), text) == expected


def test_long_lines_without_quotes_are_sound() -> None:
    assert records(CsvGrammar(max_record=4), b'abcdefgh,i\n"x",y\n') == [(b"abcdefgh,i\n", True), (b'"x",y\n', False)]


def test_fields_keep_their_quotes() -> None:
    assert CsvGrammar(";").fields(b'a;"b;c";;d\r\n') == [b"a", b'"b;c"', b"", b"d"]


def test_lines_skip_blanks_and_ignore_carriage_returns() -> None:
    assert records(LineGrammar(), b'{"a":1}\r\n\n \n{"a":\r2}') == [(b'{"a":1}\r\n', True), (b'{"a":\r2}\n', True)]
