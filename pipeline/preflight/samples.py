"""Some rows of every source as files of their own, and how large the whole is."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import csv_format, rejects, sources, storage
from beam_jobs.column_types import type_name
from beam_jobs.csv_format import CsvParser
from beam_jobs.json_lines import JsonParser
from beam_jobs.rejects import Parser
from beam_jobs.sources import SourceConfig, SourceFiles
from beam_jobs.text_chunks import Block, TextChunk, TextFile, TextStream, read_blocks, text_start
from beam_jobs.text_records import terminated
from pipeline.planning import PlannedSource

PIECES = 16
PIECE_BYTES = 1 << 16
PIECE_ROWS = 512
WHOLE_BYTES = 3 << 20
"""A source up to this size is taken whole, so that joins with it find what they find in the run."""
SECONDS = 3.0
"""A compressed file is read from its beginning for no longer."""
MOST_FOOTERS = 32
_TYPICAL_RATIO = (3.0, 12.0)
"""How much larger text is than what compresses it, where that is not known."""
_RATIO = 8
_ENDINGS = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet"}


@dataclass(frozen=True)
class Sampled:
    """A source's sample.

    Attributes:
      source: the source as planned, its files the sample's.
      stored_bytes: of all its files as they lie there.
      rows: about how many the whole has, at least and at most.
      row_bytes: about how many bytes a row takes in Arrow.
    """

    source: PlannedSource
    stored_bytes: int
    rows: tuple[float, float]
    row_bytes: float


def is_in_place(source: PlannedSource) -> bool:
    """Whether the source is Parquet, which no job needs to ingest."""
    kind = source.config.format or os.path.splitext(source.content.files[0].path)[1].lower()
    return kind in ("parquet", ".parquet", ".pq")


def sampled(source: PlannedSource, folder: str) -> Sampled:
    """Writes a file with some rows of the source, spread over it.

    Raises:
      DataError: it cannot be read.
    """
    found = sources.find_files(source.config)
    path = os.path.join(folder, f"{source.config.name}.{_ENDINGS[found.format]}")
    stored = sum(file.size for file in found.files)
    if found.format == "parquet":
        rows, total = _parquet_rows(found, source.schema), _parquet_total(found)
        pq.write_table(rows, path)
    else:
        rows, total = _write_text(found, source, path)
    config = _config(source, path, found.format)
    planned = replace(source, config=config, content=sources.source_content(config))
    return Sampled(planned, stored, total, rows.nbytes / max(1, rows.num_rows))


def _config(source: PlannedSource, path: str, kind: str) -> SourceConfig:
    """The same columns and types from another file; pieces may begin inside a record, which is no fault of the source."""
    types = {} if kind == "parquet" else {field.name: type_name(field.type) for field in source.schema}
    dialect = source.config.dialect
    return replace(
        source.config, path=path, format=kind, types=types, delimiter=dialect.delimiter, max_reject_fraction=1.0
    )


def _parquet_rows(found: SourceFiles, schema: pa.Schema) -> pa.Table:
    kept: list[pa.Table] = []
    every = max(1, len(found.files) // PIECES)
    for info in found.files[::every][:PIECES]:
        with storage.open_input(info.path) as stream:
            file = pq.ParquetFile(stream)
            groups = range(0, file.num_row_groups, max(1, file.num_row_groups * len(found.files) // PIECES))
            for group in groups:
                batch = next(file.iter_batches(PIECE_ROWS, row_groups=[group]), None)
                if batch is not None:
                    kept.append(pa.Table.from_batches([batch]))
    return pa.concat_tables(kept).cast(schema) if kept else schema.empty_table()


def _parquet_total(found: SourceFiles) -> tuple[float, float]:
    every = max(1, len(found.files) // MOST_FOOTERS)
    rows = size = 0
    for info in found.files[::every]:
        with storage.open_input(info.path) as stream:
            rows += pq.read_metadata(stream).num_rows
        size += info.size
    whole = rows * sum(file.size for file in found.files) / max(1, size)
    return whole, whole


def _write_text(found: SourceFiles, source: PlannedSource, path: str) -> tuple[pa.Table, tuple[float, float]]:
    """Writes the sample; returns its rows, and about how many there are in all."""
    parser = _parser(found, source)
    rows: list[pa.Table] = []
    text_bytes = [0.0, 0.0]
    taken = 0
    small = sum(file.size * (_RATIO if file.compression else 1) for file in found.texts) <= WHOLE_BYTES
    every = max(1, len(found.files) // PIECES)
    chosen = found.texts if small else found.texts[::every][:PIECES]
    with open(path, "wb") as target:
        for place, file in enumerate(chosen):
            start, line = _beginning(file, source.config, found.format)
            if not place and found.format == "csv" and source.config.dialect.columns is None:
                target.write(_header(file, start))
            most = max(1, PIECES // len(chosen))
            pieces = _Pieces(file, start, line, parser, most, small)
            for block in pieces:
                target.write(block.data)
                taken += len(block.data)
                rows.append(rejects.read_block(block, file.path, parser).rows)
            text_bytes = [text_bytes[0] + pieces.size[0], text_bytes[1] + pieces.size[1]]
    table = pa.concat_tables(rows) if rows else source.schema.empty_table()
    share = len(found.texts) / max(1, len(chosen)) * table.num_rows / max(1, taken)
    return table, (text_bytes[0] * share, text_bytes[1] * share)


def _parser(found: SourceFiles, source: PlannedSource) -> Parser:
    return CsvParser(source.schema, source.config.dialect) if found.format == "csv" else JsonParser(source.schema)


def _beginning(file: TextFile, config: SourceConfig, kind: str) -> tuple[int, int]:
    if kind != "csv":
        return text_start(file)[0], 1
    header = csv_format.read_header(file, config.dialect)
    return header.start, header.line


def _header(file: TextFile, start: int) -> bytes:
    with TextStream(file.path, file.compression) as stream:
        return stream.read(start)


class _Pieces:
    """Whole records of one text file, and (once iterated) how much text it holds: at least, at most."""

    def __init__(self, file: TextFile, start: int, line: int, parser: Parser, most: int, small: bool) -> None:
        self._file, self._start, self._line, self._parser = file, start, line, parser
        self._most, self._small = most, small
        self.size: tuple[float, float] = (0.0, 0.0)

    def __iter__(self) -> Iterator[Block]:
        if self._file.compression:
            yield from self._of_stream()
        else:
            self.size = (float(self._file.size - self._start), float(self._file.size - self._start))
            yield from self._whole() if self._small else self._at_offsets()

    def _whole(self) -> Iterator[Block]:
        file = self._file
        chunk = TextChunk(0, file.path, "", self._start, file.size, self._line)
        for block in read_blocks(chunk, self._parser.grammar):
            self.size = (float(len(block.data)), float(len(block.data)))
            yield replace(block, sound=False)

    def _at_offsets(self) -> Iterator[Block]:
        file, step = self._file, max(1, (self._file.size - self._start) // self._most)
        for offset in range(self._start, file.size, step):
            with TextStream(file.path, "") as stream:
                stream.skip(offset)
                data = stream.read(PIECE_BYTES)
            if offset != self._start:
                data = data[data.find(b"\n") + 1 :]
            yield from self._block(data, offset + len(data) >= file.size)

    def _of_stream(self) -> Iterator[Block]:
        """Of each megabyte the first records, from the beginning on, for some seconds."""
        file, until, seen = self._file, time.monotonic() + SECONDS, 0
        whole = TextChunk(0, file.path, file.compression, self._start, -1, self._line)
        limit = None if self._small else PIECE_BYTES
        ended = True
        for block in read_blocks(whole, self._parser.grammar, 1 << 20):
            seen += len(block.data)
            yield from self._block(block.data[:limit], final=limit is None)
            if time.monotonic() > until:
                ended = False
                break
        low, high = (seen, seen) if ended else (file.size * ratio for ratio in _TYPICAL_RATIO)
        self.size = (max(float(low), seen), max(float(high), seen))

    def _block(self, data: bytes, final: bool) -> Iterator[Block]:
        data = terminated(data) if final else data
        end, _ = self._parser.grammar.cut(data, final)
        if end:
            yield Block(data[:end], 0, 1, sound=False)
