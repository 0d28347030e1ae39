"""A replay's output held against the original's: the same bit for bit, the same values, or how it differs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs import storage
from beam_jobs.errors import DataError, listed
from beam_jobs.folder_digest import files_in, folder_digest, folder_size
from beam_jobs.table import MANIFEST, Table, read_batches

TOLERANCE = 1e-9
"""Relative: floats closer than this count as equal."""
SAME, SAME_VALUES, DIFFERS, NO_ORIGINAL = "same", "same values", "differs", "no original"
_MOST = 5


@dataclass(frozen=True)
class Comparison:
    """What became of one output.

    Attributes:
      key: the output's name.
      verdict: `SAME` bit for bit, `SAME_VALUES` in other bytes, `DIFFERS`, or `NO_ORIGINAL`.
      differences: in words; () when it is the same.
    """

    key: str
    verdict: str
    differences: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing that counts differs."""
        return self.verdict in (SAME, SAME_VALUES)


def compare(key: str, original: str, replayed: str, names: Mapping[str, str] | None = None) -> Comparison:
    """Holds the folder that a replay wrote against the one that the step wrote when it ran.

    Args:
      key: the output's name.
      original: the folder or bucket path of the step's own output.
      replayed: that of the replay's.
      names: places that only the replay has, with those that they stand for.
    """
    try:
        if not folder_size(original)[0]:
            return Comparison(key, NO_ORIGINAL, (f"'{original}' is empty.",))
        if _same_bytes(original, replayed):
            return Comparison(key, SAME)
    except DataError as error:
        return Comparison(key, NO_ORIGINAL, (str(error),) if original else ())
    if all(storage.exists(f"{folder.rstrip('/')}/{MANIFEST}") for folder in (original, replayed)):
        found = tuple(_tables(Table.load(original), Table.load(replayed)))
        return Comparison(key, DIFFERS if found else SAME_VALUES, found)
    old, new = _contents(original), _contents(replayed)
    for place, stands_for in (names or {}).items():
        new = {name: content.replace(place.encode(), stands_for.encode()) for name, content in new.items()}
    if old == new:
        return Comparison(key, SAME)
    found = tuple(_files(old, new))
    return Comparison(key, DIFFERS if found else SAME_VALUES, found)


def _same_bytes(original: str, replayed: str) -> bool:
    # Sizes first, as to read a bucket takes its time.
    return folder_size(original) == folder_size(replayed) and folder_digest(original) == folder_digest(replayed)


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
            for name in before.schema.names:  # one at a time, as a table may be large
                yield from _values(name, _read(before, split, name), _read(after, split, name), words)


def _read(table: Table, split: str, column: str) -> pa.Array:
    narrow = pa.schema([table.schema.field(column)])
    batches = [batch.cast(narrow) for batch in read_batches(table, split, [column])]
    return pa.Table.from_batches(batches, narrow)[column].combine_chunks()


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


def _values(name: str, before: pa.Array, after: pa.Array, words: str) -> Iterator[str]:
    changed = _changed(before, after)
    if len(changed):
        at = int(changed[0])
        differ = "value differs" if len(changed) == 1 else "values differ"
        yield (
            f"{words}, column '{name}': {len(changed):,} {differ}; "
            f"in row {at + 1:,}: {before[at].as_py()!r} was, {after[at].as_py()!r} is"
        )


def _changed(before: pa.Array, after: pa.Array) -> Any:
    """The places where two columns differ; floats beyond the tolerance."""
    nulls = pc.not_equal(pc.is_null(before), pc.is_null(after))
    if pa.types.is_floating(before.type):
        old, new = (np.asarray(column.to_numpy(zero_copy_only=False)) for column in (before, after))
        other = ~np.isclose(old, new, rtol=TOLERANCE, atol=0, equal_nan=True)
    elif pa.types.is_nested(before.type):
        pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
        other = np.array([any(_leaves(one, two, "")) for one, two in pairs], bool)
    else:
        other = pc.fill_null(pc.not_equal(before, after), False).to_numpy(zero_copy_only=False)
    return np.flatnonzero(other | nulls.to_numpy(zero_copy_only=False))


def _files(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[str]:
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
    elif isinstance(old, int | float) and isinstance(new, int | float) and _close(old, new):
        return
    elif old != new:
        yield f"{path}: {_short(old)} was, {_short(new)} is"


def _close(old: float, new: float) -> bool:
    return old == new or bool(np.isclose(float(old), float(new), rtol=TOLERANCE, atol=0, equal_nan=True))


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
