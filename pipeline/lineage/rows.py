"""Rows of a source followed into models: which of them a model learned from, and where the others were left out."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from beam_jobs.chunks import chunks_of, read_chunk, where_stood
from beam_jobs.errors import listed, nearest
from beam_jobs.table import Table
from pipeline.lineage import row_sets, serving, walk
from pipeline.lineage.archive import Archive
from pipeline.lineage.counterfactual import influenced
from pipeline.lineage.errors import LineageError
from pipeline.lineage.records import Artifact
from pipeline.lineage.row_sets import RowIds
from pipeline.lineage.tables import (
    SOURCE_TABLE,
    Preparation,
    examples_of,
    maker,
    name_of,
    open_table,
    outputs_of,
    preparations,
)

LEARNED_FROM = ("train", "eval")
"""Splits that shape a model: eval decides when training stops and which features stay."""


@dataclass(frozen=True)
class Passage:
    """What became of the rows in one step.

    Attributes:
      step: the prepare step.
      reached: rows of the source that came in.
      left_out: those that the step's query did not let through.
    """

    step: str
    reached: int
    left_out: int


@dataclass(frozen=True)
class Followed:
    """Rows of one version of a source, followed into one table of examples.

    Attributes:
      source: the source's name.
      table: the artifact of the source's table.
      examples: the artifact of the examples.
      matched: rows for which the condition holds.
      unread: rows of the source that could not be read, and so could not be tested.
      unread_mentioning: those of them whose raw text holds every text literal of the condition.
      passages: step by step, where `_row` can be followed.
      splits: how many of the rows are in each split; {} where `_row` cannot be followed.
      influenced: rows of each split that would be gone, be others or be new without the rows, found by running the
        queries again; None where every step is row-wise, so that only the rows themselves are touched.
      rows: the `_row` of each matched row.
      fates: for each, the split it reached or the step that left it out; () where `_row` cannot be followed.
    """

    source: str
    table: Artifact
    examples: Artifact
    matched: int
    unread: int
    unread_mentioning: int
    passages: tuple[Passage, ...]
    splits: Mapping[str, int]
    influenced: Mapping[str, int] | None
    rows: RowIds
    fates: tuple[str, ...]

    @property
    def shaped_the_model(self) -> bool:
        """Whether a model of these examples learned from any of the rows."""
        counts = [*self.splits.items(), *(self.influenced or {}).items()]
        return any(rows and split in LEARNED_FROM for split, rows in counts)

    def listed(self, most: int) -> list[tuple[int, str, str]]:
        """The first rows: `_row`, where it stands in the source, what became of it ('' where that cannot be told)."""
        table, fates = open_table(self.table), self.fates or [""] * len(self.rows)
        shown = zip(self.rows[:most], fates[:most], strict=True)
        return [(int(row), where_stood(table, int(row)), fate) for row, fate in shown]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "source": self.source,
            "table": self.table.id,
            "examples": self.examples.id,
            "matched": self.matched,
            "unread": {"rows": self.unread, "mentioning": self.unread_mentioning},
            "passages": [dataclasses.asdict(passage) for passage in self.passages],
            "splits": dict(self.splits),
            "influenced": None if self.influenced is None else dict(self.influenced),
            "shaped_the_model": self.shaped_the_model,
        }


@dataclass(frozen=True)
class ModelRows:
    """A model, and what it has of the rows."""

    model: Artifact
    run: str
    step: str
    serves_from: str
    followed: Followed

    @property
    def must_be_retrained(self) -> bool:
        """Whether it would be another model, had the rows never been."""
        return self.followed.shaped_the_model

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "model": self.model.id,
            "uri": self.model.uri,
            "run": self.run,
            "step": self.step,
            "serves_from": self.serves_from,
            "must_be_retrained": self.must_be_retrained,
            "rows": self.followed.to_dict(),
        }


def follow(archive: Archive, model: Artifact, source: str, condition: str) -> Followed:
    """Follows a source's rows into the examples of a model.

    Raises:
      LineageError: the model does not come from that source, the condition is none, or a table is gone.
    """
    examples = examples_of(archive, model)
    tables = sources_of(archive, examples)
    if source not in tables:
        raise LineageError(
            f"Model {model.id} was not made from a source '{source}'.{nearest(source, tables)}",
            f"Its sources: {listed(tables)}.",
        )
    ids = row_sets.matching(open_table(tables[source]), source, condition)
    return follow_rows(archive, tables[source], ids, examples, condition)


def models_with(archive: Archive, source: str, condition: str) -> list[ModelRows]:
    """Every model made from any version of the source, newest first, with what it has of the rows.

    Raises:
      LineageError: there is no such source, the condition is none, or a table is gone.
    """
    versions = [table for table in archive.artifacts_of_type(SOURCE_TABLE) if name_of(table) == source]
    if not versions:
        names = sorted({name_of(table) for table in archive.artifacts_of_type(SOURCE_TABLE)} - {""})
        raise LineageError(
            f"No run has read a source '{source}'.{nearest(source, names)}",
            f"Sources in this store: {listed(names)}." if names else "This store holds no source table of Braid's.",
        )
    closure = walk.downstream(archive, [table.id for table in versions])
    models = [artifact for artifact in archive.artifacts(closure.artifacts) if artifact.type == "Model"]
    now, known, found = serving.serving(archive), dict[int, Followed](), list[ModelRows]()
    for model in sorted(models, key=lambda model: model.id, reverse=True):
        examples = examples_of(archive, model)
        if examples.id not in known:
            known[examples.id] = follow(archive, model, source, condition)
        trained_by = maker(archive, model)
        run, step = (trained_by.run, trained_by.step) if trained_by else ("", "")
        found.append(ModelRows(model, run, step, now.get(model.id, ""), known[examples.id]))
    return found


def sources_of(archive: Archive, examples: Artifact) -> dict[str, Artifact]:
    """The tables of the sources behind examples, by name."""
    tables = [table for step in preparations(archive, examples) for table in step.inputs.values()]
    return {name_of(table): table for table in tables if table.type == SOURCE_TABLE}


def follow_rows(archive: Archive, table: Artifact, ids: RowIds, examples: Artifact, condition: str = "") -> Followed:
    """Follows rows of a source's table into examples made from it.

    Args:
      ids: the `_row` of each, sorted.
      condition: what picked them, by which unreadable rows are looked through.

    Raises:
      LineageError: a table is gone.
    """
    name, steps = name_of(table), preparations(archive, examples)
    path = _stream_path(name, steps)
    passages, splits, fates = _followed_by_row(ids, path) if path else ((), {}, ())
    row_wise = path is not None and not any(step.config["partition_by"] for step in path)
    unread, mentioning = _unread(archive, table, condition)
    return Followed(
        source=name,
        table=table,
        examples=examples,
        matched=len(ids),
        unread=unread,
        unread_mentioning=mentioning,
        passages=passages,
        splits=splits,
        influenced=None if row_wise else influenced(steps, name, ids) if len(ids) else {},
        rows=ids,
        fates=fates,
    )


def _stream_path(name: str, steps: Sequence[Preparation]) -> list[Preparation] | None:
    """The steps that the rows stream through, or nothing where one reads them otherwise and `_row` does not tell."""
    path, reached = list[Preparation](), {name}
    for step in steps:
        read = reached & step.inputs.keys()
        if read and (read != {step.stream} or not step.query().carries):
            return None
        if read:
            path.append(step)
            reached.add(step.name)
    return path


def _followed_by_row(
    ids: RowIds, path: Sequence[Preparation]
) -> tuple[tuple[Passage, ...], dict[str, int], tuple[str, ...]]:
    passages, splits = list[Passage](), dict[str, int]()
    fates = np.full(len(ids), "", dtype=object)
    alive = ids
    for step in path:
        reached = row_sets.held(open_table(step.output), alive)
        kept = np.unique(np.concatenate([np.zeros(0, np.int64), *reached.values()]))
        passages.append(Passage(step.name, len(alive), len(alive) - len(kept)))
        fates[np.isin(ids, np.setdiff1d(alive, kept))] = f"left out by {step.name}"
        for split, rows in reached.items():
            fates[np.isin(ids, rows)] = split
        splits = {split: len(rows) for split, rows in reached.items()}
        alive = kept
    return tuple(passages), splits, tuple(map(str, fates))


def _unread(archive: Archive, table: Artifact, condition: str) -> tuple[int, int]:
    """How many rows the source's reader rejected, and how many of these hold the condition's text literals."""
    rejects = outputs_of(archive, maker(archive, table)).get("rejects", [])
    if not rejects or not rejects[0].properties.get("rows"):
        return 0, 0
    opened, literals = open_table(rejects[0]), _literals(condition)
    return opened.rows, _mentioning(opened, literals) if literals else 0


def _mentioning(rejects: Table, literals: Sequence[str]) -> int:
    counted = 0
    for chunk in chunks_of(rejects):
        for batch in read_chunk(chunk, ["raw"]):
            hits = [pc.match_substring(batch.column(0), literal).to_numpy(zero_copy_only=False) for literal in literals]
            counted += int(np.logical_and.reduce(hits).sum())
    return counted


def _literals(condition: str) -> list[str]:
    """The texts in single quotes."""
    parts = condition.replace("''", "\0").split("'")
    return [part.replace("\0", "'") for part in parts[1::2] if part]
