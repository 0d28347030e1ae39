"""Text files as chunks and blocks: opened, decompressed, and cut between records."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from beam_jobs import storage
from beam_jobs.errors import DataError, listed
from beam_jobs.text_records import Grammar, terminated

CHUNK_BYTES = 32 << 20
BLOCK_BYTES = 8 << 20
MAX_LINE = 256 << 20
SAMPLE_BYTES = 1 << 20
SAMPLED_PIECES = 3
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".zip": "zip"}
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class TextFile:
    """A text file: its path, its stored size in bytes, '' or a value of `COMPRESSIONS`."""

    path: str
    size: int
    compression: str = ""

    @classmethod
    def of(cls, file: storage.FileInfo) -> "TextFile":
        """Takes the compression from the file's ending."""
        return cls(file.path, file.size, COMPRESSIONS.get(os.path.splitext(file.path)[1].lower(), ""))


@dataclass(frozen=True)
class TextChunk:
    """A range of a text file that begins and ends between records.

    Attributes:
      number: the chunk's number in its source.
      start: bytes of decompressed text before it.
      stop: its end; -1 for the end of the text, where that is not known before it is decompressed.
      line: the number of its first line, from 1.
      sound: no record in it is at fault by the grammar; read only where `stop` is known.
    """

    number: int
    path: str
    compression: str
    start: int
    stop: int
    line: int
    sound: bool = True


@dataclass(frozen=True)
class Block:
    """Whole records in memory: the text, its position and first line in the file, whether all are sound."""

    data: bytes
    position: int
    line: int
    sound: bool


class TextStream:
    """A text file opened for reading, decompressed on the way.

    Raises:
      DataError: here or while reading: the file cannot be opened, or its compressed content is damaged.
    """

    def __init__(self, path: str, compression: str) -> None:
        self._path, self._compression = path, compression
        try:
            with ExitStack() as opened:
                self._stored: Any = opened.enter_context(storage.open_input(path))
                self._stream = self._decompressed(self._stored)
                opened.pop_all()  # it stays open; what cannot be decompressed does not
        except (OSError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error

    def _decompressed(self, stored: Any) -> Any:
        if not self._compression:
            return stored
        if self._compression == "zip":
            archive = zipfile.ZipFile(stored)
            return archive.open(data_member(self._path, archive))
        return pa.CompressedInputStream(pa.PythonFile(stored, mode="r"), self._compression)

    def read(self, size: int) -> bytes:
        """Reads `size` bytes, fewer only at the end of the text."""
        pieces: list[bytes] = []
        while size > 0 and (piece := self._read_some(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _read_some(self, size: int) -> bytes:
        try:
            return bytes(self._stream.read(size))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error

    def skip(self, size: int) -> None:
        """Moves forward."""
        if not self._compression:
            self._stream.seek(size, os.SEEK_CUR)
            return
        while size > 0 and (piece := self.read(min(size, BLOCK_BYTES))):
            size -= len(piece)

    def _damaged(self, error: Exception) -> DataError:
        kind = {"": "cannot be read", "gzip": "is not sound gzip", "bz2": "is not sound bzip2"}.get(
            self._compression, f"is not sound {self._compression}"
        )
        return DataError(
            f"'{self._path}' {kind}: {str(error) or type(error).__name__}.",
            "Check the file's permissions, or fetch it again: it may be cut short.",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._stored.close()


def data_member(path: str, archive: zipfile.ZipFile) -> str:
    """The one file of a zip archive that holds data.

    Raises:
      DataError: there is none or more than one, or it is encrypted.
    """
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        names = listed((member.filename for member in members), 5)
        raise DataError(
            f"'{path}' holds {len(members)} files{f' ({names})' if names else ''}; a zip must hold exactly one.",
            "Unpack it, and name the file, or the folder with a glob.",
        )
    if members[0].flag_bits & 1:
        raise DataError(f"'{path}' is encrypted.", "Unpack it first.")
    return members[0].filename


def member_name(path: str) -> str:
    """The name of the data file in the zip archive at `path`."""
    with storage.open_input(path) as stored:
        try:
            return data_member(path, zipfile.ZipFile(stored))
        except zipfile.BadZipFile as error:
            raise DataError(f"'{path}' is not sound zip: {error}.", "Fetch it again: it may be cut short.") from error


def text_start(file: TextFile) -> tuple[int, bytes]:
    """How many bytes stand before the text (a byte order mark), and the first bytes of the text.

    Raises:
      DataError: the file is empty, or is not UTF-8.
    """
    with TextStream(file.path, file.compression) as stream:
        head = stream.read(SAMPLE_BYTES)
    if head.startswith(_UTF16):
        raise DataError(f"'{file.path}' is UTF-16 text; Braid reads UTF-8.", "Convert it: iconv -f UTF-16 -t UTF-8.")
    start = len(_BOM) if head.startswith(_BOM) else 0
    if not head[start:].strip():
        raise DataError(f"'{file.path}' is empty.", "Put data there, or take the file out of the source's path.")
    return start, head[start:]


def cut_blocks(stream: TextStream, chunk: TextChunk, grammar: Grammar, block_bytes: int) -> Iterator[Block]:
    """Reads on from the chunk's start to the end of the text, in blocks of whole records of about `block_bytes`.

    Raises:
      DataError: a line is too long to be one.
    """
    start, line, rest, final = chunk.start, chunk.line, b"", False
    while not final:
        piece = stream.read(block_bytes)
        final = not piece
        rest = terminated(rest) if final else rest + piece
        end, sound = grammar.cut(rest, final)
        if end:
            yield Block(rest[:end], start, line, sound)
            start, line, rest = start + end, line + rest.count(b"\n", 0, end), rest[end:]
        if len(rest) > MAX_LINE:
            raise DataError(
                f"'{chunk.path}': line {line} does not end within {MAX_LINE:,} bytes.",
                "This is hardly a text file of rows.",
            )


def plan_chunks(whole: TextChunk, grammar: Grammar, chunk_bytes: int = CHUNK_BYTES) -> list[TextChunk]:
    """Cuts a file's text into chunks of about `chunk_bytes`, numbered from `whole.number`.

    A compressed file (`whole.stop` is -1) stays one chunk. A plain file is read once for it: only what stands before
    a line end tells whether it stands in quotes.
    """
    if whole.stop < 0:
        return [whole]
    chunks: list[TextChunk] = []
    begin, begin_line, sound = whole.start, whole.line, True
    with TextStream(whole.path, "") as stream:
        stream.skip(whole.start)
        block_bytes = min(BLOCK_BYTES, chunk_bytes)
        for block in cut_blocks(stream, whole, grammar, block_bytes):
            end, sound = min(block.position + len(block.data), whole.stop), sound and block.sound
            if end - begin + block_bytes // 2 >= chunk_bytes or end == whole.stop:
                chunks.append(TextChunk(whole.number + len(chunks), whole.path, "", begin, end, begin_line, sound))
                begin, begin_line, sound = end, block.line + block.data.count(b"\n"), True
    return chunks


def read_blocks(chunk: TextChunk, grammar: Grammar, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The chunk's text: one block for a range of a plain file, a stream of blocks for a compressed one.

    Raises:
      DataError: the file is damaged, or shorter than when it was planned.
    """
    with TextStream(chunk.path, chunk.compression) as stream:
        stream.skip(chunk.start)
        if chunk.stop < 0:
            yield from cut_blocks(stream, chunk, grammar, block_bytes)
            return
        data = stream.read(chunk.stop - chunk.start)
    if len(data) < chunk.stop - chunk.start:
        raise DataError(
            f"'{chunk.path}' ends at byte {chunk.start + len(data):,}, but had {chunk.stop:,} when the run began.",
            "Let nothing write to the file during a run, and run again.",
        )
    yield Block(terminated(data), chunk.start, chunk.line, chunk.sound)


def sample(file: TextFile, grammar: Grammar, start: int, piece_bytes: int = SAMPLE_BYTES) -> list[bytes]:
    """Whole records: of a large plain file from its beginning, middle and end, else from the beginning."""
    size, offsets = SAMPLED_PIECES * piece_bytes, [start]
    if not file.compression and file.size - start > size:
        size, offsets = piece_bytes, [start, (start + file.size) // 2, file.size - piece_bytes]
    pieces = [_piece(file, grammar, offset, size, aligned=offset == start) for offset in offsets]
    return [piece for piece in pieces if piece]


def _piece(file: TextFile, grammar: Grammar, offset: int, size: int, aligned: bool) -> bytes:
    with TextStream(file.path, file.compression) as stream:
        stream.skip(offset)
        data = stream.read(size)
        final = not stream.read(1)
    if not aligned:
        data = data[data.find(b"\n") + 1 :]
    data = terminated(data) if final else data
    return data[: grammar.cut(data, final)[0]]
