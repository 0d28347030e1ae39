"""Records that are no rows: found by the same parser that reads the others, so a type means one thing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from beam_jobs.text_chunks import Block
from beam_jobs.text_records import Grammar, Record

GROUP_RECORDS = 256
MAX_RAW = 4096
MAX_REJECTS = 10_000
# Arrow's CSV parser tells the row, and saves the halving; its word is checked.
_ROW_HINT = re.compile(r"\bRow #(\d+):")
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("position", pa.int64()),
        ("line", pa.int64()),
        ("raw", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Reject:
    """A record that is no row.

    Attributes:
      place: its place among the records of the block.
      position: bytes of decompressed text before it.
      line: the number of its first line, from 1.
      raw: its text, bytes that are not UTF-8 as `\\xff`, cut at `MAX_RAW` characters.
    """

    place: int
    file: str
    position: int
    line: int
    raw: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


@dataclass(frozen=True)
class BlockRows:
    """A block as read: its rows, the place of each among all `read` records, and the rejects."""

    rows: pa.Table
    places: np.ndarray
    rejects: tuple[Reject, ...]
    read: int


class Parser(Protocol):
    """Parses records of one format into rows of one schema."""

    schema: pa.Schema

    @property
    def grammar(self) -> Grammar:
        """Where records end."""

    def parse(self, data: bytes) -> pa.Table:
        """Parses whole records, or raises `pa.ArrowInvalid` when one is no row."""

    def fault(self, record: bytes) -> str:
        """Why `parse` refuses the record."""


class TooManyRejectsError(Exception):
    """More of a block is rejected than is worth looking at: `rejects` among `read` records."""

    def __init__(self, rejects: tuple[Reject, ...], read: int) -> None:
        super().__init__(rejects, read)
        self.rejects, self.read = rejects, read


def read_block(
    block: Block, file: str, parser: Parser, max_fraction: float = 1.0, most: int = MAX_REJECTS
) -> BlockRows:
    """Parses a block: whole when it is sound, else record by record as far as needed.

    Raises:
      TooManyRejectsError: over `most` records and over `max_fraction` of those looked at are rejected.
    """
    if block.sound:
        try:
            rows = parser.parse(block.data)
        except pa.ArrowInvalid:
            pass  # at least one record is no row: find it
        else:
            return BlockRows(rows, np.arange(rows.num_rows), (), rows.num_rows)
    return _read_records(block, file, parser, max_fraction, most)


def _read_records(block: Block, file: str, parser: Parser, max_fraction: float, most: int) -> BlockRows:
    records = list(parser.grammar.records(block.data))
    rejects: list[Reject] = []
    reject = _rejecter(block, file)
    for first in range(0, len(records), GROUP_RECORDS):
        group = records[first : first + GROUP_RECORDS]
        refused = {i: group[i].fault for i in range(len(group)) if group[i].fault}
        for i in _unreadable(block.data, group, [i for i in range(len(group)) if i not in refused], parser):
            refused[i] = parser.fault(block.data[group[i].start : group[i].stop])
        rejects += [reject(first + i, group[i], refused[i]) for i in sorted(refused)]
        read = first + len(group)
        if len(rejects) > most and len(rejects) > max_fraction * read:
            raise TooManyRejectsError(tuple(rejects), read)
    bad = {r.place for r in rejects}
    places = [i for i in range(len(records)) if i not in bad]
    rows = parser.parse(_joined(block.data, [records[i] for i in places]))
    return BlockRows(rows, np.array(places, np.int64), tuple(rejects), len(records))


def _unreadable(data: bytes, group: Sequence[Record], places: Sequence[int], parser: Parser) -> list[int]:
    """The places of the records that cannot be parsed, each of them found to fail alone."""
    if not places:
        return []
    hint = None
    try:
        if parser.parse(_joined(data, [group[i] for i in places])).num_rows == len(places):
            return []
    except pa.ArrowInvalid as error:
        hint = _ROW_HINT.search(str(error))
    if len(places) == 1:
        return list(places)
    at = int(hint.group(1)) - 1 if hint else -1
    if 0 <= at < len(places) and _unreadable(data, group, places[at : at + 1], parser):
        # Records before it may fail by another column, so the rest is looked at as one.
        return [places[at], *_unreadable(data, group, [*places[:at], *places[at + 1 :]], parser)]
    middle = len(places) // 2
    return _unreadable(data, group, places[:middle], parser) + _unreadable(data, group, places[middle:], parser)


def _joined(data: bytes, records: Sequence[Record]) -> bytes:
    return b"".join(data[record.start : record.stop] for record in records)


def _rejecter(block: Block, file: str) -> Callable[[int, Record, str], Reject]:
    """Makes rejects in order of their position, counting lines on the way."""
    counted_to, line = 0, block.line

    def reject(place: int, record: Record, reason: str) -> Reject:
        nonlocal counted_to, line
        line += block.data.count(b"\n", counted_to, record.start)
        counted_to = record.start
        raw = block.data[record.start : record.stop].rstrip(b"\r\n").decode("utf-8", "backslashreplace")
        return Reject(place, file, block.position + record.start, line, raw[:MAX_RAW], reason)

    return reject


def to_table(rejects: Sequence[Reject]) -> pa.Table:
    """The rejects as rows of `SCHEMA`."""
    return pa.table({name: [getattr(r, name) for r in rejects] for name in SCHEMA.names}, schema=SCHEMA)
