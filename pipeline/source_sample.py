"""A sample of a table that nobody has described: how it must be declared, and some of its rows."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import csv_format, rejects, sources, storage
from beam_jobs.csv_format import CsvParser
from beam_jobs.errors import DataError, nearest
from beam_jobs.json_lines import JsonParser
from beam_jobs.rejects import Parser, Reject
from beam_jobs.sources import SourceConfig, SourceFiles
from beam_jobs.text_chunks import Block, TextChunk, TextFile, read_blocks, text_start
from pipeline import sniffing
from pipeline.config import STEP_NAMES
from pipeline.errors import ConfigError

PIECES = 64
PIECE_BYTES = 1 << 20
PIECE_ROWS = 16_384


@dataclass(frozen=True)
class Sample:
    """Some rows of a source, spread over it.

    Attributes:
      source: the source as it must be declared; its path is the user's own words.
      rows: the rows.
      read: records looked at, rejects among them.
      rejects: those that are no row.
      whole: no record was passed over.
    """

    source: SourceConfig
    rows: pa.Table
    read: int
    rejects: tuple[Reject, ...]
    whole: bool


@dataclass(frozen=True)
class _Piece:
    rows: pa.Table
    read: int
    rejects: tuple[Reject, ...]
    whole: bool


def sample(path: str, header: bool | None = None) -> Sample:
    """Reads the table once and keeps up to 128 pieces of about a megabyte, spread over it.

    Args:
      path: a file, a folder, a glob, `package://...` or a bucket path.
      header: whether CSV files begin with a line of column names; looked for unless given.

    Raises:
      DataError: there is no such table, it is no sound one, or more of its records cannot be read than a run allows.
    """
    source = _declared(SourceConfig(name=_name(path), path=storage.resolve(path)), header)
    found, schema = sources.find_files(source), sources.infer_schema(source)
    pieces = _of_parquet(found) if found.format == "parquet" else _of_text(found, source, schema)
    kept, whole = _spread(pieces)
    rows = pa.concat_tables([piece.rows.cast(schema) for piece in kept])
    lost = tuple(reject for piece in kept for reject in piece.rejects)
    taken = Sample(replace(source, path=path), rows, sum(piece.read for piece in kept), lost, whole)
    _check_rejects(taken)
    return taken


def _check_rejects(taken: Sample) -> None:
    allowed = taken.source.max_reject_fraction
    if len(taken.rejects) > allowed * taken.read:
        raise DataError(
            f"{len(taken.rejects):,} of {taken.read:,} records of '{taken.source.path}' cannot be read, and a run stops "
            f"when more than {allowed:.0%} cannot. For example: {taken.rejects[0]} [{taken.rejects[0].raw[:120]}]",
            "Mend the file; text that is not UTF-8 is converted by: iconv -f LATIN1 -t UTF-8.",
        )


def _name(path: str) -> str:
    """A name for the table: the file's or the folder's, made fit for SQL, and none of a step's."""
    stem = os.path.basename(path.rstrip("/")).split(".")[0]
    name = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_").lower() or "rows"
    if name[0].isdigit():
        name = f"t_{name}"
    return f"{name}_rows" if name in (*STEP_NAMES, "examples") else name


def _declared(source: SourceConfig, header: bool | None) -> SourceConfig:
    """The source with the delimiter and, without a header, the column names that its files need."""
    found = sources.find_files(source)
    if found.format != "csv":
        return source
    lines = sniffing.first_lines(found.texts[0])
    delimiter = sniffing.delimiter(lines)
    if delimiter != source.dialect.delimiter:
        source = replace(source, delimiter=delimiter)
    rows = sniffing.records(lines, delimiter)
    if header is None:
        header = sniffing.has_header(rows)
    return source if header else replace(source, columns=tuple(f"column_{i + 1}" for i in range(len(rows[0]))))


def _spread(pieces: Iterable[Callable[[], _Piece]]) -> tuple[list[_Piece], bool]:
    """Reads every n-th piece, so that 64 to 128 are kept of however many there are; and whether that is all."""
    kept: list[_Piece] = []
    every = 1
    for place, read in enumerate(pieces):
        if place % every:
            continue
        kept.append(read())
        if len(kept) == 2 * PIECES:
            kept, every = kept[::2], 2 * every
    return kept, every == 1 and all(piece.whole for piece in kept)


def _of_text(found: SourceFiles, source: SourceConfig, schema: pa.Schema) -> Iterator[Callable[[], _Piece]]:
    parser: Parser = CsvParser(schema, source.dialect) if found.format == "csv" else JsonParser(schema)
    for file in found.texts:
        whole = TextChunk(0, file.path, file.compression, *_beginning(file, source, found.format))
        for block in read_blocks(whole, parser.grammar, PIECE_BYTES):
            yield partial(_parse, block, file.path, parser)


def _beginning(file: TextFile, source: SourceConfig, kind: str) -> tuple[int, int, int]:
    """Where the rows start, that they go on to the end, and their first line."""
    if kind != "csv":
        return text_start(file)[0], -1, 1
    header = csv_format.read_header(file, source.dialect)
    return header.start, -1, header.line


def _parse(block: Block, path: str, parser: Parser) -> _Piece:
    found = rejects.read_block(block, path, parser)
    return _Piece(found.rows, found.read, found.rejects, whole=True)


def _of_parquet(found: SourceFiles) -> Iterator[Callable[[], _Piece]]:
    for info in found.files:
        with storage.open_input(info.path) as stream:
            file = pq.ParquetFile(stream)
            for group in range(file.num_row_groups):
                yield partial(_thinned, file, group)


def _thinned(file: pq.ParquetFile, group: int) -> _Piece:
    """Every n-th row of a row group: 16,384 to twice as many, however large it is."""
    every = max(1, file.metadata.row_group(group).num_rows // PIECE_ROWS)
    batches = [
        batch.take(pa.array(np.arange(0, batch.num_rows, every)))
        for batch in file.iter_batches(batch_size=4 * PIECE_ROWS, row_groups=[group])
    ]
    rows = pa.Table.from_batches(batches, file.schema_arrow)
    return _Piece(rows, rows.num_rows, (), whole=every == 1)


def column(rows: pa.Table, name: str) -> str:
    """The name, once it is sure that the table has it.

    Raises:
      ConfigError: it has not.
    """
    if name not in rows.column_names:
        raise ConfigError(
            f"The table has no column '{name}'.{nearest(name, rows.column_names)}",
            f"Its columns: {', '.join(rows.column_names[:40])}.",
        )
    return name
