"""Delimiters and headers of CSV files that nobody has described."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.text_chunks import TextFile
from pipeline import sniffing


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b\n1,2\n3,4\n", ","),
        ("a;b\n1,5;2,5\n1,5;2,5\n", ";"),
        ("a\tb,c\n1\t2\n3\t4\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ('a,b\n"x;y;z",2\n"x;y;z",4\n', ","),
        ("only\n1\n2\n", ","),
        ("569,30,malignant\n1,2,3,4\n5,6,7,8\n", ","),
        ("a,b\n" + '1,"' + "x" * 200_000 + "\n", ","),
    ],
)
def test_delimiters(text: str, found: str) -> None:
    assert sniffing.delimiter(text.splitlines(keepends=True)) == found


words = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)


@given(
    st.sampled_from(sniffing.DELIMITERS),
    st.integers(2, 6).flatmap(lambda n: st.lists(st.lists(words, min_size=n, max_size=n), min_size=2, max_size=20)),
)
def test_a_written_table_is_cut_into_its_columns_or_more(delimiter: str, rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    found = sniffing.delimiter(written.getvalue().splitlines(keepends=True))
    assert len(sniffing.records(written.getvalue().splitlines(keepends=True), found)[0]) >= len(rows[0])


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["a", "b"], ["1", "x"]], True),
        ([["5.1", "setosa"], ["4.9", "setosa"]], False),
        ([["name", "city"], ["ann", "rome"]], True),
        ([["2013-01-01", "x"], ["2013-01-02", "y"]], False),
        ([["a", "2013"], ["x", "y"]], True),
        ([["", "b"], ["0", "1.5"]], True),
        ([["NA", "3"], ["2", "4"]], True),
        ([], True),
        ([["a", "b"]], True),
    ],
)
def test_headers(rows: list[list[str]], header: bool) -> None:
    assert sniffing.has_header(rows) is header


def test_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n3")
    assert sniffing.first_lines(TextFile(str(path), 9)) == ["a,b\n", "1,2\n"]
    path.write_text("a,b")
    assert sniffing.first_lines(TextFile(str(path), 3)) == ["a,b"]
