import bz2
import gzip
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.errors import DataError
from beam_jobs.storage import FileInfo
from beam_jobs.text_chunks import (
    SAMPLE_BYTES,
    TextChunk,
    TextFile,
    TextStream,
    plan_chunks,
    read_blocks,
    sample,
    text_start,
)
from beam_jobs.text_records import CsvGrammar, LineGrammar

TEXT = b"".join(b'%d,"row\n%d"\n' % (i, i) for i in range(5000))


def as_zip(path: Path, *members: tuple[str, bytes]) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path.read_bytes()


def packed(folder: Path, ending: str, data: bytes) -> TextFile:
    path = folder / f"data.csv{ending}"
    if ending == ".zip":
        as_zip(path, ("__MACOSX/._data.csv", b"x"), ("folder/", b""), ("folder/data.csv", data))
    else:
        pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}[ending]
        path.write_bytes(pack(data))
    return TextFile.of(FileInfo(str(path), path.stat().st_size))


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".zst", ".zip"])
def test_every_compression_gives_the_text_in_whole_records(tmp_path: Path, ending: str) -> None:
    file = packed(tmp_path, ending, TEXT)
    chunk = TextChunk(0, file.path, file.compression, 0, -1 if ending else len(TEXT), 1)
    blocks = list(read_blocks(chunk, CsvGrammar(), block_bytes=1000))
    assert b"".join(block.data for block in blocks) == TEXT
    assert all(block.data.endswith(b'"\n') for block in blocks)
    assert [block.line for block in blocks] == [1 + TEXT.count(b"\n", 0, block.position) for block in blocks]
    assert (len(blocks) > 50) == bool(ending)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst", ".zip"])
def test_a_file_cut_short_is_named(tmp_path: Path, ending: str) -> None:
    file = packed(tmp_path, ending, TEXT)
    whole = Path(file.path).read_bytes()
    Path(file.path).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"data\.csv.*is not sound"), TextStream(file.path, file.compression) as stream:
        stream.read(len(TEXT))


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst"])
def test_several_members_are_one_text(tmp_path: Path, ending: str) -> None:
    file = packed(tmp_path, ending, TEXT)
    once = Path(file.path).read_bytes()
    Path(file.path).write_bytes(once + once)
    with TextStream(file.path, file.compression) as stream:
        assert stream.read(3 * len(TEXT)) == TEXT + TEXT


def test_a_zip_of_two_files_is_refused(tmp_path: Path) -> None:
    as_zip(tmp_path / "two.zip", ("a.csv", b"a\n1\n"), ("b.csv", b"a\n1\n"))
    with pytest.raises(DataError, match=r"holds 2 files \(a\.csv, b\.csv\)"):
        TextStream(str(tmp_path / "two.zip"), "zip")


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"a,b\n", b'a,"\n"\n', b'a,"b\n', b"\n", b"long,line,long\r\n"]), max_size=30),
    st.integers(1, 60),
)
def test_chunks_cover_the_text_and_begin_with_records(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], size: int
) -> None:
    text = b"".join(rows)
    path = tmp_path_factory.mktemp("chunks") / "t.csv"
    path.write_bytes(text)
    chunks = plan_chunks(TextChunk(3, str(path), "", 0, len(text), 1), CsvGrammar(), size)
    assert [c.number for c in chunks] == list(range(3, 3 + len(chunks)))
    assert [c.start for c in chunks] == [0, *(c.stop for c in chunks)][: len(chunks)]
    assert (chunks[-1].stop if chunks else 0) == len(text)
    starts = {r.start for r in CsvGrammar().records(text)}
    for chunk in chunks:
        assert chunk.line == 1 + text.count(b"\n", 0, chunk.start)
        assert chunk.start in starts or text[chunk.start : chunk.start + 1] in b"\r\n"
        inner = [r for r in CsvGrammar().records(text) if chunk.start <= r.start < chunk.stop]
        assert chunk.sound == (not any(r.fault for r in inner))


def test_a_file_that_shrank_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\nb\n")
    chunk = TextChunk(0, str(tmp_path / "t.csv"), "", 0, 10, 1)
    with pytest.raises(DataError, match="ends at byte 4, but had 10"):
        list(read_blocks(chunk, LineGrammar()))


def test_byte_order_marks(tmp_path: Path) -> None:
    for name, data in (("8", b"\xef\xbb\xbfa\n"), ("16", "a\n".encode("utf-16")), ("none", b"\xef\xbb\xbf\n")):
        (tmp_path / name).write_bytes(data)
    assert text_start(TextFile(str(tmp_path / "8"), 5)) == (3, b"a\n")
    with pytest.raises(DataError, match="UTF-16"):
        text_start(TextFile(str(tmp_path / "16"), 6))
    with pytest.raises(DataError, match="is empty"):
        text_start(TextFile(str(tmp_path / "none"), 4))


def test_large_files_are_sampled_in_three_places(tmp_path: Path) -> None:
    text = b"".join(b"%07d\n" % i for i in range(500_000))
    (tmp_path / "t.csv").write_bytes(text)
    pieces = sample(TextFile(str(tmp_path / "t.csv"), len(text)), LineGrammar(), 0)
    assert [len(piece) <= SAMPLE_BYTES for piece in pieces] == [True] * 3
    assert pieces[0].startswith(b"0000000\n") and pieces[2].endswith(b"0499999\n")
    assert all(len(line) == 7 for piece in pieces for line in piece.splitlines())
    assert sample(TextFile(str(tmp_path / "t.csv"), len(text)), LineGrammar(), 0, len(text)) == [text]
