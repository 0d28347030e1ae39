"""All that can be known about a scoring run before it runs: tables, queries, columns. Loads neither TFX nor Beam."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from beam_jobs import sources, storage
from beam_jobs.column_types import parse_type, type_name
from beam_jobs.errors import BraidError, listed, nearest
from beam_jobs.sources import SourceConfig
from beam_jobs.sql import check_query
from components.model_contract import ModelContract
from components.prediction_columns import Wanted, schema_of
from pipeline import stores
from pipeline.errors import RunError
from pipeline.lineage.archive import Archive
from pipeline.planning import PlannedSource
from pipeline.scoring.adapting import Adapted, TableToScore, adapt, as_they_are
from pipeline.scoring.model_content import FoundModel
from pipeline.scoring.models import find_model
from pipeline.scoring.recipe import Recipe, RecordedSource, recipe_of
from pipeline.store_address import StoreAddress

TRAINED_ON = "_trained_on"
DRIFT = 0.25
"""The bound on drift where training set none."""


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
      table: the table to score: a file, a folder, a glob or a bucket path.
      sources: other places of side tables, by name.
      passed: columns of the examples that are handed on beside the predictions.
      contributions: whether each feature's contribution is told.
      prepared: the table has the columns of the examples already.
      keeps_all_rows: leave out what chose rows in training.
      strict: stop where the table is not like what the model was trained on.
      check_rows: about how many rows are looked at for that; 0 for no look.
      drift: the bound on drift; None for that of training.
    """

    table: str
    sources: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    contributions: bool = False
    prepared: bool = False
    keeps_all_rows: bool = False
    strict: bool = False
    check_rows: int = 100_000
    drift: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The request as a run records it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ScoringPlan:
    """A scoring run, ready to be composed.

    Attributes:
      name: the pipeline's, which is not the one that trained the model.
      found: the model, and the folder that was found to hold it.
      statistics: the id of the statistics to hold the table against; 0 for no check.
      schema: the same of the schema.
      tables: the sources by step; the step of a table that training and the new rows both have differs from its name.
      steps: the parameters of the prepare steps, in order.
      reads: for each of them, the steps that it reads.
      adapted: what makes the features.
      check: the parameter of the check.
      notes: what the user would not expect.
    """

    name: str
    found: FoundModel
    statistics: int
    schema: int
    tables: dict[str, PlannedSource]
    steps: tuple[Mapping[str, Any], ...]
    reads: Mapping[str, tuple[str, ...]]
    adapted: Adapted
    scoring: Mapping[str, Any]
    check: Mapping[str, Any] | None
    notes: tuple[str, ...]
    request: Request
    outputs: pa.Schema


def plan(found: FoundModel, recipe: Recipe | None, request: Request, memo: str | None = None) -> ScoringPlan:
    """Looks at the tables and checks the queries over them.

    Args:
      found: the model to score with.
      recipe: how its examples were made; None where that is not known, which `prepared` allows.
      request: what is asked for.
      memo: a file that remembers digests of unchanged source files.

    Raises:
      BraidError: a table or a column is wrong; the message names it.
    """
    contract = ModelContract.load(found.uri)
    if request.prepared or recipe is None:
        return _Prepared(found, recipe, request, contract, memo).plan()
    return _Raw(found, recipe, request, contract, memo).plan()


def plan_for(name: str, store: StoreAddress, request: Request, memo: str | None = None) -> ScoringPlan:
    """The plan for the model that `name` means in a metadata store.

    Raises:
      BraidError: there is no such model, its folder is not what was recorded, or as `plan`.
    """
    archive = Archive(stores.open_store(store))
    found = find_model(archive, name)
    try:
        recipe = recipe_of(archive, found.model)
    except RunError:
        if not request.prepared:
            raise
        recipe = None
    return plan(found, recipe, request, memo)


@dataclass
class _Prepared:
    """Plans for a table in the shape of the examples."""

    found: FoundModel
    recipe: Recipe | None
    request: Request
    contract: ModelContract
    memo: str | None

    def plan(self) -> ScoringPlan:
        name = self.recipe.examples.name if self.recipe else "examples"
        table = _planned(SourceConfig(name=name, path=storage.resolve(self.request.table)), self.memo)
        subject = TableToScore(self.request.table, table.schema)
        adapted = as_they_are(name, subject, self.contract, self.request.passed)
        return self._plan(adapted, {name: table}, (), {})

    def _plan(
        self,
        adapted: Adapted,
        tables: dict[str, PlannedSource],
        steps: tuple[Mapping[str, Any], ...],
        reads: Mapping[str, tuple[str, ...]],
    ) -> ScoringPlan:
        recipe, request = self.recipe, self.request
        is_checked = bool(recipe and recipe.statistics and recipe.schema and request.check_rows)
        wanted = Wanted(request.passed, request.contributions, bool(adapted.label))
        return ScoringPlan(
            name=f"{recipe.pipeline}-score" if recipe else "score",
            found=self.found,
            statistics=recipe.statistics if recipe and is_checked else 0,
            schema=recipe.schema if recipe and is_checked else 0,
            tables=tables,
            steps=steps,
            reads=reads,
            adapted=adapted,
            scoring=_scoring(adapted, request, self.found),
            check=_check(adapted, request, recipe) if recipe and is_checked else None,
            notes=tuple(_notes(adapted, request, is_checked)),
            request=request,
            outputs=schema_of(self.contract, wanted, adapted.final.output),
        )


class _Raw(_Prepared):
    """Plans for a table in the shape of the source that the training run streamed."""

    recipe: Recipe

    def plan(self) -> ScoringPlan:
        recipe = self.recipe
        self._check_names()
        streamed = self._streamed()
        tables, sides = {recipe.streamed: streamed}, dict[str, pa.Schema]()
        reads: dict[str, tuple[str, ...]] = {}
        steps: list[Mapping[str, Any]] = []
        for name in self._side_sources():
            step = f"{name}{TRAINED_ON}" if name == recipe.streamed else name
            tables[step] = _planned(self._side(recipe.sources[name]), self.memo)
            sides[name] = tables[step].schema
        for aside in recipe.aside:
            query = check_query(aside.name, aside.config["sql"], aside.stream, sides, aside.config["partition_by"])
            sides[aside.name] = query.output
            steps.append(aside.config)
            reads[aside.name] = tuple(f"{n}{TRAINED_ON}" if n == recipe.streamed else n for n in query.tables)
        trained = recipe.sources[recipe.streamed].table.schema()
        subject = TableToScore(self.request.table, streamed.schema, trained)
        adapted = adapt(recipe, subject, sides, self.contract, self.request.passed, self.request.keeps_all_rows)
        for step_ in adapted.steps:
            steps.append(step_.config)
            reads[step_.name] = step_.query.tables
        needed = {name for names in (*reads.values(), adapted.final.tables) for name in names}
        tables = {step: table for step, table in tables.items() if step in needed}
        return self._plan(adapted, tables, tuple(steps), reads)

    def _check_names(self) -> None:
        known = self._side_sources()
        for name in self.request.sources:
            if name == self.recipe.streamed and name not in known:
                raise RunError(f"'{name}' is the table to score itself.", "Name its place as TABLE.")
            if name not in known:
                raise RunError(
                    f"The model's rows are not joined with a source '{name}'.{nearest(name, known)}",
                    f"Its side tables: {listed(known)}." if known else "It has no side tables.",
                )

    def _side_sources(self) -> list[str]:
        """The sources that are joined; the streamed one, too, where a step beside the chain reads it."""
        read = {name for step in self.recipe.aside for name in step.reads}
        read |= {name for step in self.recipe.chain for name in step.reads if name != self.recipe.streamed}
        return [name for name in self.recipe.sources if name in read]

    def _side(self, source: RecordedSource) -> SourceConfig:
        place = self.request.sources.get(source.config.name)
        if place is None:
            return source.config
        return dataclasses.replace(source.config, path=storage.resolve(place), format="")

    def _streamed(self) -> PlannedSource:
        """The new table, its columns of the types that they had in training where the files leave that open."""
        source = self.recipe.sources[self.recipe.streamed]
        config = dataclasses.replace(source.config, path=storage.resolve(self.request.table), types={})
        config = dataclasses.replace(config, format=_format(config, source.config))
        if sources.find_files(config).format == "parquet":
            return _planned(config, self.memo)
        names = sources.infer_schema(config).names
        trained = source.table.schema() or pa.schema([])
        types = {field.name: type_name(field.type) for field in trained if _is_declarable(field)}
        types |= source.config.types
        return _planned(dataclasses.replace(config, types={n: t for n, t in types.items() if n in names}), self.memo)


def _format(config: SourceConfig, trained: SourceConfig) -> str:
    """By the files' ending; by what training was told where that tells nothing."""
    try:
        return sources.find_files(dataclasses.replace(config, format="")).format
    except BraidError:
        return trained.format


def _is_declarable(column: pa.Field) -> bool:
    try:
        parse_type(type_name(column.type), column.name)
    except BraidError:
        return False
    return True


def _planned(config: SourceConfig, memo: str | None) -> PlannedSource:
    schema = sources.infer_schema(config)
    return PlannedSource(config, schema, sources.source_content(config, memo))


def _scoring(adapted: Adapted, request: Request, found: FoundModel) -> dict[str, Any]:
    return {
        "folder": "" if found.uri == found.model.uri else found.uri,
        "stream": adapted.final.stream,
        "sql": adapted.final.text,
        "fan_out": adapted.fan_out,
        "passed": list(request.passed),
        "contributions": request.contributions,
        "label": adapted.label,
    }


def _check(adapted: Adapted, request: Request, recipe: Recipe) -> dict[str, Any]:
    share = recipe.gate.get("max_out_of_domain_share")
    return {
        "stream": adapted.final.stream,
        "sql": adapted.final.text,
        "fan_out": adapted.fan_out,
        "rows": request.check_rows,
        "drift": _drift(request, recipe),
        "max_out_of_domain_share": -1.0 if share is None else float(share),
        "strict": request.strict,
    }


def _drift(request: Request, recipe: Recipe) -> dict[str, Any]:
    """As asked for; else the bounds of training: those on earlier data before those on the splits."""
    if request.drift is not None:
        return {"default": request.drift}
    for key in ("drift_from_previous", "drift"):
        bounds = recipe.gate.get(key) or {}
        if bounds.get("default") is not None or bounds.get("columns"):
            return dict(bounds)
    return {"default": DRIFT}


def _notes(adapted: Adapted, request: Request, is_checked: bool) -> list[str]:
    notes = []
    place = os.path.basename(request.table.rstrip("/")) or request.table
    for condition in adapted.conditions:
        if condition.missing:
            why = f"'{place}' lacks {listed(repr(name) for name in condition.missing)}"
            notes.append(f"Rows are not chosen by {condition.sql}, as in training: {why}.")
        else:
            notes.append(f"Rows are not chosen by {condition.sql}: all rows are kept.")
    if adapted.lost:
        causes = sorted({name for names in adapted.lost.values() for name in names})
        notes.append(
            f"'{place}' lacks {listed(map(repr, causes))}, so these are not computed, and no feature needs them: "
            f"{listed(adapted.lost)}."
        )
    if not is_checked and request.check_rows:
        notes.append("The table is not held against training: its statistics and schema are not on record.")
    return notes
