"""The search for secrets finds them under whatever they are hidden, and nothing else."""

import base64
import bz2
import contextlib
import gzip
import io
import json
import sqlite3
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_search import encoded, files, search

SECRET = "pa55+w/o:r%d=Ümlaut?!"
SPELLINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "quoted": lambda text: urllib.parse.quote(text, safe="").encode(),
    "in a query": lambda text: urllib.parse.urlencode({"key": text}).encode(),
    "in JSON": lambda text: json.dumps({"key": [text]}).encode(),
    "in base64": lambda text: base64.b64encode(text.encode()),
    "in URL-safe base64": lambda text: base64.urlsafe_b64encode(text.encode()),
    "in JSON in base64": lambda text: base64.b64encode(b"\x0a\x2ftype\x12" + json.dumps([text]).encode() + b"\x1a"),
    "in hexadecimal": lambda text: text.encode().hex().encode(),
}


def zipped(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/name.txt", content)
    return made.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "zip": zipped,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "bz2 in base64": lambda content: b'{"x": "' + base64.b64encode(bz2.compress(content)) + b'"}',
    "zlib in base64": lambda content: b"\x0a\x99" + base64.b64encode(zlib.compress(content)) + b"\x12",
    "zip in URL-safe base64": lambda content: base64.urlsafe_b64encode(zipped(content)),
}


@given(
    st.sampled_from(list(SPELLINGS)),
    st.lists(st.sampled_from(list(PACKINGS)), max_size=2),
    st.text("abc :/", max_size=9),
    st.text("abc :/", max_size=9),
)
def test_a_secret_is_found_however_it_is_hidden(spelling: str, packings: list[str], before: str, after: str) -> None:
    content = before.encode() + SPELLINGS[spelling](f"{before}{SECRET}{after}") + after.encode()
    harmless = before.encode() + SPELLINGS[spelling](f"{before}{SECRET[:-6]}{after}") + after.encode()
    for packing in packings:
        content, harmless = PACKINGS[packing](content), PACKINGS[packing](harmless)
    assert search([("here", content)], {"the password": SECRET})
    assert search([("here", harmless)], {"the password": SECRET}) == []


@pytest.mark.parametrize("before", range(0, 5_000, 250))
def test_a_database_is_looked_into(before: int) -> None:
    """SQLite cuts a long value into pages, maybe in the middle of a secret."""
    with contextlib.closing(sqlite3.connect(":memory:")) as store:
        store.execute("CREATE TABLE t (a)")
        store.execute("INSERT INTO t VALUES (?)", (b"x" * before + SECRET.encode(),))
        store.commit()
        content = store.serialize()
    assert search([("here", content)], {"the password": SECRET})
    assert search([("here", content)], {"the password": "another password"}) == []


@given(st.binary(max_size=400), st.integers(0, 1 << 30))
def test_what_holds_none_is_clean(content: bytes, number: int) -> None:
    assert search([("here", content)], {"the password": f"long enough {number}"}) == []


def test_files_are_searched_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_text(f"x{SECRET}x")
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "a secret name").write_text("")
    found = search(files(tmp_path, [tmp_path / "key"]), {"p": SECRET, "n": "a secret name"})
    assert f"p stands in {tmp_path}/deep/a as it is" in found
    assert f"n stands in {tmp_path}/a secret name as it is" in found
    assert [one for one in found if "/key" in one] == []


def test_a_short_secret_is_none() -> None:
    with pytest.raises(AssertionError):
        encoded("short")
