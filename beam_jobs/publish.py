"""Output that is whole or absent: parts are written under temporary names and moved as the job ends.

A runner may run a chunk twice (a retry, a zombie worker). Each attempt writes under a name of its own; the
one commit picks one attempt a chunk, moves its files into place, writes the manifest and removes the rest.
"""

import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_jobs import failures, storage
from beam_jobs.ledger import Ledger
from beam_jobs.table import Origin, Part, Table

PENDING = "_pending"


@dataclass(frozen=True)
class ChunkReport:
    """What one attempt at one chunk wrote: small, so that it may cross a shuffle.

    Attributes:
      chunk: the chunk's number.
      attempt: the folder under `_pending/` that holds the files.
      parts: the files, their paths relative to that folder (and later to the table's root).
      notes: anything more for the manifest's `extra`, gathered into a list a key.
    """

    chunk: int
    attempt: str
    parts: tuple[Part, ...]
    ledger: Ledger
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)


def new_attempt(chunk: int) -> str:
    """A folder name that no other attempt at the chunk shares."""
    return f"{chunk:06d}-{uuid.uuid4().hex[:12]}"


def pending(root: str, attempt: str, relative: str) -> str:
    """Where an attempt writes the file that will become `relative`."""
    return f"{root.rstrip('/')}/{PENDING}/{attempt}/{relative}"


def one_attempt_a_chunk(reports: Sequence[ChunkReport]) -> list[ChunkReport]:
    """Keeps one report a chunk, the same whatever the order, sorted by chunk."""
    chosen: dict[int, ChunkReport] = {}
    for report in sorted(reports, key=lambda r: (r.chunk, r.attempt), reverse=True):
        chosen[report.chunk] = report
    return [chosen[chunk] for chunk in sorted(chosen)]


@dataclass(frozen=True)
class Publication:
    """What `Commit` writes into the manifest beside what the chunks report.

    Attributes:
      job: the name for messages.
      schema: the user's columns.
      splits: the splits in their declared order, ('',) for none.
    """

    job: str
    root: str
    schema: pa.Schema
    stores_rows: bool
    splits: tuple[str, ...] = ("",)
    origins: tuple[Origin, ...] = ()
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


def publish(reports: Sequence[ChunkReport], target: Publication) -> Table:
    """Moves the chosen attempts into place and writes the manifest; safe to repeat.

    Raises:
      LedgerError: the counts do not add up; nothing is published.
    """
    chosen = one_attempt_a_chunk(reports)
    ledger = sum((report.ledger for report in chosen), Ledger())
    parts = sorted(
        (part for report in chosen for part in report.parts),
        key=lambda part: (target.splits.index(part.split), part.chunk, part.path),
    )
    ledger = dataclasses.replace(ledger, written=sum(part.rows for part in parts)).check(target.job)
    for report in chosen:
        for part in report.parts:
            storage.move(pending(target.root, report.attempt, part.path), f"{target.root.rstrip('/')}/{part.path}")
    extra = dict(target.extra)
    for report in chosen:
        for key, value in report.notes.items():
            extra.setdefault(key, []).append(value)
    table = Table(target.root, target.schema, tuple(parts), target.stores_rows, ledger, target.origins, extra)
    failures.discard(target.root)  # attempts of a job that ends well
    table.save()
    storage.remove_tree(f"{target.root.rstrip('/')}/{PENDING}")
    return table


def discard_attempts(root: str) -> None:
    """Removes what workers that were given up wrote once the table was published; call it when no worker is left."""
    storage.remove_tree(f"{root.rstrip('/')}/{PENDING}")


class Commit(beam.PTransform[beam.PCollection[ChunkReport], beam.PCollection[Ledger]]):
    """Publishes the table that the reports describe; yields its ledger. Works for no report at all."""

    def __init__(self, target: Publication) -> None:
        super().__init__()
        self.target = target

    def expand(self, reports: beam.PCollection[ChunkReport]) -> beam.PCollection[Ledger]:
        """Gathers the reports as a side input, so that an empty input still publishes."""
        return (
            reports.pipeline
            | "Once" >> beam.Create([self.target])
            | "Publish" >> beam.FlatMap(_publish_once, beam.pvalue.AsList(reports))
        )


def _publish_once(target: Publication, reports: Sequence[ChunkReport]) -> Iterator[Ledger]:
    yield publish(reports, target).ledger
