"""Where records of a text end: at line ends in JSON Lines, at line ends outside quotes in CSV.

Every cut (chunks of a file, blocks of a chunk, records of a block) asks the same grammar, so a row is the same
row whatever the sizes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

MAX_QUOTED_RECORD = 1 << 20
"""A record with quotes may be this long (bytes); beyond it a quote counts as never closed."""

_LINE = re.compile(rb"[^\r\n]*+(?:\r\n?|\n)?")


@dataclass(frozen=True)
class Record:
    """One record of a block: `data[start:stop]`, its line end included; `fault` says why it is none."""

    start: int
    stop: int
    fault: str = ""


class Grammar(Protocol):
    """Knows where records end."""

    def cut(self, data: bytes, final: bool) -> tuple[int, bool]:
        """Where the last whole record of `data` ends, and whether no record up to there is at fault.

        `data` begins with a record. `final` says that the text ends with it; it then ends in a line end
        (see `terminated`).
        """

    def records(self, data: bytes) -> Iterator[Record]:
        """The records of a text that `cut` made; blank lines are none."""


def terminated(data: bytes) -> bytes:
    """The text with a line end behind its last record."""
    return data if not data or data.endswith((b"\n", b"\r")) else data + b"\n"


@dataclass(frozen=True)
class LineGrammar:
    """A record is a line that is not blank."""

    def cut(self, data: bytes, final: bool) -> tuple[int, bool]:
        """Cuts behind the last line feed."""
        return len(data) if final else data.rfind(b"\n") + 1, True

    def records(self, data: bytes) -> Iterator[Record]:
        """Yields the lines."""
        start = 0
        for line in data.splitlines(keepends=True) if b"\r" not in data else _lines(data):
            if line.strip():
                yield Record(start, start + len(line))
            start += len(line)


def _lines(data: bytes) -> Iterator[bytes]:
    # bytes.splitlines would also split at a carriage return, which JSON takes for white space.
    yield from (match.group() for match in re.finditer(rb"[^\n]*+\n|[^\n]++", data))


@dataclass(frozen=True)
class CsvGrammar:
    """CSV as Arrow's parser reads it: a quote opens a quoted field only where a field begins, `""` stands for `"`.

    Two readings differ from Arrow's, so that a stray quote cannot swallow the rows behind it: a record whose quoted
    field runs over a line end must close the quote right before a delimiter or a line end, and a record with quotes
    is at most `max_record` bytes long. Where that does not hold, the line alone is a record at fault, and the next
    record begins on the next line.
    """

    delimiter: str = ","
    max_record: int = MAX_QUOTED_RECORD

    @cached_property
    def _record(self) -> re.Pattern[bytes]:
        return re.compile(self._record_pattern())

    @cached_property
    def _many(self) -> re.Pattern[bytes]:
        return re.compile(rb"(?:" + self._record_pattern() + rb")*+")

    @cached_property
    def _field(self) -> re.Pattern[bytes]:
        return re.compile(self._field_pattern() + rb"(" + re.escape(self.delimiter.encode()) + rb"|\r\n?|\n|\Z)")

    def _field_pattern(self) -> bytes:
        delimiter = re.escape(self.delimiter.encode())
        closed = rb'"(?:[^"]++|"")*+"(?=[' + delimiter + rb"\r\n])"
        one_line = rb'"(?:[^"\r\n]++|"")*+"[^' + delimiter + rb"\r\n]*+"
        plain = rb'[^"' + delimiter + rb"\r\n][^" + delimiter + rb"\r\n]*+"
        return rb"(?>" + closed + rb"|" + one_line + rb"|" + plain + rb"|)"

    def _record_pattern(self) -> bytes:
        field, delimiter = self._field_pattern(), re.escape(self.delimiter.encode())
        return field + rb"(?:" + delimiter + field + rb")*+(?:\r\n?|\n)"

    def cut(self, data: bytes, final: bool) -> tuple[int, bool]:
        """Cuts behind the last whole record."""
        if b'"' not in data:
            return (len(data) if final else max(data.rfind(b"\n"), data.rfind(b"\r")) + 1), True
        position, sound = 0, True
        while position < len(data):
            window = min(position + self.max_record, len(data))
            end = self._end_of_many(data, position, window)
            if end == position:
                end, faulty = self._line_end(data, position)
                undecided = not final and (window - position < self.max_record or data[end - 1] not in b"\r\n")
                if undecided:
                    break
                sound = sound and not faulty
            position = end
        return position, sound

    def _end_of_many(self, data: bytes, position: int, window: int) -> int:
        match = self._many.match(data, position, window)
        return match.end() if match else position

    def _line_end(self, data: bytes, position: int) -> tuple[int, bool]:
        """The end of the line at `position`, and whether it is at fault (long lines without quotes are not)."""
        match = _LINE.match(data, position)
        end = match.end() if match else len(data)
        return end, data.find(b'"', position, end) >= 0

    def records(self, data: bytes) -> Iterator[Record]:
        """Yields the records, those at fault too."""
        position = 0
        while position < len(data):
            match = self._record.match(data, position, position + self.max_record)
            end, faulty = (match.end(), False) if match else self._line_end(data, position)
            if data[position] not in b"\r\n":
                fault = "a quote is opened here and not closed properly before the next record" if faulty else ""
                yield Record(position, end, fault)
            position = end

    def fields(self, record: bytes) -> list[bytes]:
        """The fields of one record that is not at fault, as they stand, quotes included."""
        found, position, record = [], 0, terminated(record)
        while match := self._field.match(record, position):
            found.append(match.group()[: match.start(1) - position])
            position = match.end()
            if match.group(1) != self.delimiter.encode():
                break
        return found
