"""A sample of a split that is the same every time: the rows whose identities have the smallest hashes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.errors import listed, nearest
from beam_jobs.hashing import Hashes, hash_rows
from beam_jobs.row_groups import read_row_groups
from beam_jobs.table import ROW, ROW_GROUP_ROWS, Part, Table, row_id
from components.errors import StepError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """Rows that may belong to the sample; arrays of one length.

    Attributes:
      part: each row's part, by its place in the split.
      place: the row's place in the part's file.
    """

    hashes: Hashes
    ids: Integers
    part: Integers
    place: Integers

    def merge(self, other: "Drawn", most: int) -> "Drawn":
        """Those of both that have the smallest hashes."""
        together = Drawn(
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__dataclass_fields__)
        )
        return together.smallest(most)

    def smallest(self, most: int) -> "Drawn":
        """At most so many of the rows."""
        if len(self.hashes) <= most:
            return self
        chosen = np.argpartition(self.hashes, most)[:most]
        return Drawn(self.hashes[chosen], self.ids[chosen], self.part[chosen], self.place[chosen])


def sample(table: Table, split: str, columns: Sequence[str], most: int, seed: int = 0) -> pa.Table:
    """Draws rows by a hash of `_row`, and reads of them the named columns, only from the row groups that hold any.

    Returns:
      `_row` and the columns, dictionaries undone, in the order of `_row`.

    Raises:
      StepError: the table lacks a column.
    """
    _check(table, columns)
    parts = table.in_split(split)
    drawn = _draw(table, parts, most, seed)
    schema = pa.schema([(ROW, pa.int64()), *((name, _plain(table.schema.field(name).type)) for name in columns)])
    pieces = [
        piece
        for number, part in enumerate(parts)
        for piece in _read(table, part, drawn.ids[drawn.part == number], drawn.place[drawn.part == number], schema)
    ]
    return pa.Table.from_batches(pieces, schema).sort_by(ROW)


def _check(table: Table, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in table.schema.names:
            raise StepError(
                f"The examples lack the model's column '{name}'.{nearest(name, table.schema.names)}",
                f"They have: {listed(table.schema.names)}. Explain the model with the examples that it was judged on.",
            )


def _plain(column_type: pa.DataType) -> pa.DataType:
    return column_type.value_type if pa.types.is_dictionary(column_type) else column_type


def _draw(table: Table, parts: Sequence[Part], most: int, seed: int) -> Drawn:
    nothing = np.empty(0, np.int64)
    drawn = Drawn(nothing.view(np.uint64), nothing, nothing, nothing)
    for number, part in enumerate(parts):
        passed = 0
        for ids in _identities(table, part):
            places = np.arange(passed, passed + len(ids))
            found = Drawn(hash_rows([pa.array(ids)], seed), ids, np.full(len(ids), number), places)
            drawn = drawn.merge(found.smallest(most), most)
            passed += len(ids)
    return drawn


def _identities(table: Table, part: Part) -> Iterator[Integers]:
    """The part's `_row`s, batch by batch; without the column they follow from chunk and place."""
    if table.stores_rows:
        for batch in read_row_groups(table.path(part), [ROW], ROW_GROUP_ROWS):
            yield batch.column(0).to_numpy()
        return
    for start in range(0, part.rows, ROW_GROUP_ROWS):
        yield row_id(part.chunk, start) + np.arange(min(ROW_GROUP_ROWS, part.rows - start))


def _read(table: Table, part: Part, ids: Integers, places: Integers, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows at `places` of a part."""
    order = np.argsort(places)
    ids, places = ids[order], places[order]
    stops = np.cumsum(part.row_groups)
    holders = np.searchsorted(stops, places, side="right")
    groups = np.unique(holders)
    sizes = np.asarray(part.row_groups)[groups]
    starts = np.cumsum(sizes) - sizes  # of the groups, among the rows that are read
    among_read = (
        places - (stops[holders] - np.asarray(part.row_groups)[holders]) + starts[np.searchsorted(groups, holders)]
    )
    passed = 0
    for batch in (
        read_row_groups(table.path(part), schema.names[1:], ROW_GROUP_ROWS, groups.tolist()) if len(ids) else ()
    ):
        first, last = np.searchsorted(among_read, [passed, passed + batch.num_rows])
        taken = batch.take(pa.array(among_read[first:last] - passed))
        columns = [taken.column(name).cast(schema.field(name).type) for name in schema.names[1:]]
        yield pa.RecordBatch.from_arrays([pa.array(ids[first:last]), *columns], schema=schema)
        passed += batch.num_rows
