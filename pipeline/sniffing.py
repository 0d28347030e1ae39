"""How a CSV file that nobody has described is spelt: its delimiter, and whether its first line holds column names."""

import csv
import re
from collections import Counter
from collections.abc import Sequence

from beam_jobs.csv_format import NULL_VALUES
from beam_jobs.text_chunks import TextFile, text_start

DELIMITERS = (",", ";", "\t", "|")
LOOKED_AT = 200
_ALIKE = 0.9
_VALUE = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?|\d{4}-\d\d-\d\d([T ][\d:.+Z-]*)?")


def first_lines(file: TextFile) -> list[str]:
    """Up to 200 lines from the beginning of the text; the last one whole, unless the text is a single line.

    Raises:
      DataError: the file is empty or not UTF-8.
    """
    _, head = text_start(file)
    lines = head.decode(errors="replace").splitlines(keepends=True)
    whole = lines if len(lines) == 1 or lines[-1].endswith(("\r", "\n")) else lines[:-1]
    return whole[:LOOKED_AT]


def delimiter(lines: Sequence[str]) -> str:
    """The delimiter that cuts nearly all lines, the first among them, into the same number of fields.

    Of several, the one whose fields are most often numbers or dates (`0,5;1` is cut at `;`), then the one with most fields.
    """
    scores = {option: _score(records(lines, option)) for option in DELIMITERS}
    return max(DELIMITERS, key=lambda option: scores[option])  # the first of equals: a comma when nothing cuts


def records(lines: Sequence[str], cut_at: str) -> list[list[str]]:
    """The lines as fields; blank lines are none."""
    # A quote that is never closed makes one enormous field, which csv refuses; such a file is no table by this delimiter.
    try:
        return [fields for fields in csv.reader(lines, delimiter=cut_at) if fields]
    except csv.Error:
        return []


def _score(rows: Sequence[Sequence[str]]) -> tuple[float, int]:
    """The share of fields that are values, and fields a line; nothing where lines differ or are not cut."""
    width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    if width < 2 or len(rows[0]) != width or count < _ALIKE * len(rows):
        return 0.0, 0
    fields = [field.strip() for row in rows for field in row]
    return sum(1 for field in fields if _VALUE.fullmatch(field)) / len(fields), width


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of the rows holds names.

    It holds none when the columns that are numbers or dates in all other rows are so in it, too: a name is no number.
    A table of text alone has a header, as nothing speaks against it.
    """
    width = len(rows[0]) if rows else 0
    others = [row for row in rows[1:] if len(row) == width]
    typed = [place for place in range(width) if others and _is_typed([row[place] for row in others])]
    return not typed or not all(_VALUE.fullmatch(rows[0][place].strip()) for place in typed)


def _is_typed(values: Sequence[str]) -> bool:
    given = [value.strip() for value in values if value.strip() not in NULL_VALUES]
    return bool(given) and all(map(_VALUE.fullmatch, given))
