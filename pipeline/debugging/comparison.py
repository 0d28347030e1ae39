"""A replay's output held against the original's: the same bit for bit, or how it differs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs import storage
from beam_jobs.errors import DataError, listed
from beam_jobs.folder_digest import files_in, folder_digest
from beam_jobs.table import MANIFEST, Table, read_batches

TOLERANCE = 1e-9
"""Relative: floats closer than this count as equal."""
_MOST = 5


@dataclass(frozen=True)
class Comparison:
    """What became of one output.

    Attributes:
      key: the output's name.
      verdict: 'same', 'differs', or 'no original'.
      differences: in words; () when it is the same.
    """

    key: str
    verdict: str
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.differences:
            return f"{self.key}: {self.verdict}"
        return "\n".join([f"{self.key}: {self.verdict}", *(f"  {difference}" for difference in self.differences)])


def compare(key: str, original: str, replayed: str, names: Mapping[str, str] | None = None) -> Comparison:
    """Holds the folder that a replay wrote against the one that the step wrote when it ran.

    Args:
      key: the output's name.
      original: the folder or bucket path of the step's own output.
      replayed: that of the replay's.
      names: places that only the replay has, with those that they stand for.
    """
    try:
        before = folder_digest(original)
    except DataError:
        return Comparison(key, "no original", (f"'{original}' is gone.",) if original else ())
    if not before.files:
        return Comparison(key, "no original", (f"'{original}' is empty: the step failed before it wrote anything.",))
    if folder_digest(replayed).digest == before.digest:
        return Comparison(key, "same")
    both_tables = all(storage.exists(f"{folder.rstrip('/')}/{MANIFEST}") for folder in (original, replayed))
    found = list(
        _tables(Table.load(original), Table.load(replayed)) if both_tables else _files(original, replayed, names or {})
    )
    return Comparison(key, "differs", tuple(found)) if found else Comparison(key, "same")


def _tables(before: Table, after: Table) -> Iterator[str]:
    """Schema, counts, values: the first that differs says most."""
    if before.schema != after.schema:
        yield from _schemas(before.schema, after.schema)
        return
    if before.ledger != after.ledger:
        yield f"ledger: {before.ledger.to_dict()} was, {after.ledger.to_dict()} is"
    for split in dict.fromkeys([*before.splits, *after.splits]):
        words = f"split '{split}'" if split else "rows"
        old, new = before.splits.get(split, 0), after.splits.get(split, 0)
        if old != new:
            yield f"{words}: {old:,} were, {new:,} are"
        elif old:
            yield from _values(_read(before, split), _read(after, split), words)


def _read(table: Table, split: str) -> pa.Table:
    return pa.Table.from_batches(list(read_batches(table, split)))


def _schemas(before: pa.Schema, after: pa.Schema) -> Iterator[str]:
    old, new = ({field.name: str(field.type) for field in schema} for schema in (before, after))
    if gone := old.keys() - new.keys():
        yield f"columns gone: {listed(sorted(gone))}"
    if added := new.keys() - old.keys():
        yield f"columns added: {listed(sorted(added))}"
    for name in (name for name in old if name in new and old[name] != new[name]):
        yield f"column '{name}': {old[name]} was, {new[name]} is"
    if old == new:
        yield "the columns' order differs"


def _values(before: pa.Table, after: pa.Table, words: str) -> Iterator[str]:
    for name in before.column_names:
        changed = _changed(before[name].combine_chunks(), after[name].combine_chunks())
        if len(changed):
            at = int(changed[0])
            yield (
                f"{words}, column '{name}': {len(changed):,} values differ; "
                f"in row {at + 1:,} {before[name][at].as_py()!r} was, {after[name][at].as_py()!r} is"
            )


def _changed(before: pa.Array, after: pa.Array) -> Any:
    """The places where two columns differ; floats beyond the tolerance."""
    nulls = pc.not_equal(pc.is_null(before), pc.is_null(after))
    if pa.types.is_floating(before.type):
        old, new = (np.asarray(column.to_numpy(zero_copy_only=False)) for column in (before, after))
        other = ~np.isclose(old, new, rtol=TOLERANCE, atol=0, equal_nan=True)
    elif pa.types.is_nested(before.type):
        other = np.array([a != b for a, b in zip(before.to_pylist(), after.to_pylist(), strict=True)], bool)
    else:
        other = pc.fill_null(pc.not_equal(before, after), False).to_numpy(zero_copy_only=False)
    return np.flatnonzero(other | nulls.to_numpy(zero_copy_only=False))


def _files(original: str, replayed: str, names: Mapping[str, str]) -> Iterator[str]:
    old, new = _contents(original), _contents(replayed)
    for place, stands_for in names.items():
        new = {name: content.replace(place.encode(), stands_for.encode()) for name, content in new.items()}
    for name in sorted(old.keys() - new.keys()):
        yield f"'{name}' was written, and is not now"
    for name in sorted(new.keys() - old.keys()):
        yield f"'{name}' was not written, and is now"
    for name in sorted(name for name in old.keys() & new.keys() if old[name] != new[name]):
        yield from _documents(name, old[name], new[name])


def _contents(folder: str) -> dict[str, bytes]:
    found = {}
    for relative, path in files_in(folder):
        with storage.open_input(path) as stream:
            found[relative] = stream.read()
    return found


def _documents(name: str, before: bytes, after: bytes) -> Iterator[str]:
    """JSON is told value by value; of anything else there are only the bytes."""
    try:
        old, new = json.loads(before), json.loads(after)
    except ValueError:
        yield f"'{name}' differs: {len(before):,} bytes were, {len(after):,} are"
        return
    changed = list(_leaves(old, new, ""))
    yield from (f"'{name}' {words}" for words in changed[:_MOST])
    if len(changed) > _MOST:
        yield f"'{name}': and {len(changed) - _MOST} more values"


def _leaves(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _leaves(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _leaves(one, other, f"{path}[{at}]")
    elif isinstance(old, float) and isinstance(new, int | float) and np.isclose(old, new, rtol=TOLERANCE, atol=0):
        return
    elif old != new:
        yield f"{path}: {_short(old)} was, {_short(new)} is"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
