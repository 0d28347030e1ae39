"""Looking for secrets in whatever was written: as they are, encoded, and inside of what is packed."""

import base64
import bz2
import contextlib
import gzip
import io
import json
import re
import sqlite3
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

SHORTEST = 12
"""A shorter secret may stand somewhere by chance once it is encoded."""
_DEPTH = 6
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"x\x01": zlib.decompress,
    b"x\x9c": zlib.decompress,
    b"x\xda": zlib.decompress,
}
_MARKS = (*_PACKED, b"PK\x03\x04", b"SQLite format 3")


def encoded(secret: str) -> dict[str, bytes]:
    """The spellings under which a secret is looked for, by name."""
    assert len(secret) >= SHORTEST
    found = {
        "as it is": secret.encode(),
        "URL-quoted": urllib.parse.quote(secret, safe="").encode(),
        "as a query": urllib.parse.quote_plus(secret).encode(),
        "in JSON": json.dumps(secret)[1:-1].encode(),
        "in hexadecimal": secret.encode().hex().encode(),
        "in UTF-16": secret.encode("utf-16-le"),
    }
    for shift in range(3):
        # What stands before and behind it shares the first and the last four letters.
        letters = base64.b64encode(bytes(shift) + secret.encode()).rstrip(b"=")
        inner = letters[4 if shift else 0 : -4]
        found[f"in base64, shifted by {shift}"] = inner
        found[f"in URL-safe base64, shifted by {shift}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return found


def unpacked(content: bytes, depth: int = _DEPTH) -> Iterator[bytes]:
    """The content, and what archives, compressed streams and base64 in it hold."""
    yield content
    if not depth:
        return
    for inner in _inside(content):
        yield from unpacked(inner, depth - 1)


def _inside(content: bytes) -> Iterator[bytes]:
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
        return
    if content.startswith(b"SQLite format 3"):
        yield _dumped(content)
        return
    for mark, unpack in _PACKED.items():
        if content.startswith(mark):
            try:
                yield unpack(content)
            except (OSError, EOFError, zlib.error):
                continue  # it only looks like one
            return
    # Where letters stand right before it, it begins with one of the next four.
    decoded = [_decoded(run.group()[skipped:]) for run in _BASE64.finditer(content) for skipped in range(4)]
    yield from (one for one in decoded if one.startswith(_MARKS))
    if plain := b"\n".join(one for one in decoded if not one.startswith(_MARKS)):
        yield plain


def _dumped(content: bytes) -> bytes:
    """Every value of a database: in its file a long one is in pieces."""
    with contextlib.closing(sqlite3.connect(":memory:")) as store:
        store.deserialize(content)
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [value for table in tables for row in store.execute(f'SELECT * FROM "{table}"') for value in row]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def _decoded(letters: bytes) -> bytes:
    """The bytes that base64 stands for; a single letter over is none of it."""
    kept = letters.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    kept = kept[:-1] if len(kept) % 4 == 1 else kept
    return base64.b64decode(kept + b"=" * (-len(kept) % 4))


def search(contents: Iterable[tuple[str, bytes]], secrets: Mapping[str, str]) -> list[str]:
    """Where secrets stand, in words; contents by name."""
    wanted = [(name, how, spelt) for name, secret in secrets.items() for how, spelt in encoded(secret).items()]
    found = []
    for place, content in contents:
        for inner in unpacked(content):
            found += [f"{name} stands in {place} {how}" for name, how, spelt in wanted if spelt in inner]
    return sorted(set(found))


def files(folder: Path, but: Iterable[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """All files of a folder by their paths, which are content as well; `but` for some."""
    passed = set(but)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in passed:
            yield str(path), str(path).encode() + b"\n" + path.read_bytes()
            yield str(path), path.read_bytes()
