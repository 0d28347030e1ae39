"""The queries of a recipe, made to run over a table that may lack what only training needs. Loads neither TFX nor Beam."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from beam_jobs.errors import BraidError, SqlError, listed, nearest
from beam_jobs.sql import CheckedQuery, check_query
from beam_jobs.sql_lineage import column_origins
from beam_jobs.sql_narrowing import Causes, Condition, narrow, projected
from components.encoding import kind_of
from components.model_contract import ModelContract
from pipeline.errors import RunError
from pipeline.scoring.recipe import Recipe, RecordedStep


@dataclass(frozen=True)
class AdaptedStep:
    """A step of the chain as it runs over the new table.

    Attributes:
      config: as a prepare component takes it; it splits nothing.
      query: checked.
      lost: the columns that it no longer makes.
    """

    config: Mapping[str, Any]
    query: CheckedQuery
    lost: Causes

    @property
    def name(self) -> str:
        """The table that it makes."""
        return str(self.config["step"])


@dataclass(frozen=True)
class Adapted:
    """What makes a model's features of a new table.

    Attributes:
      steps: those of the chain, in order; where `partition_by` ends it, its last table is read by `final`.
      final: the query, row by row over `final.stream`, that makes the columns asked for.
      fan_out: whether a join of `final` may multiply rows.
      columns: what `final` returns: the features, what is passed on and, where it can be told, the label.
      label: the label's column, '' where it cannot be told.
      lost: columns of the examples that cannot be told, with the table's columns that they need.
      conditions: what chose the training rows and does not choose these.
    """

    steps: tuple[AdaptedStep, ...]
    final: CheckedQuery
    fan_out: bool
    columns: tuple[str, ...]
    label: str
    lost: Causes
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class TableToScore:
    """The new table: its place for messages, its columns, and those that the source had in training, if known."""

    place: str
    schema: pa.Schema
    trained: pa.Schema | None = None

    @property
    def missing(self) -> dict[str, frozenset[str]]:
        """The columns that it lacks."""
        here = {name.lower() for name in self.schema.names}
        names = self.trained.names if self.trained is not None else []
        return {name.lower(): frozenset({name}) for name in names if name.lower() not in here}

    @property
    def as_trained(self) -> pa.Schema:
        """Its columns with the missing ones, as training knew them, behind them."""
        gone = self.missing
        fields = (
            [self.trained.field(name) for name in self.trained.names if name.lower() in gone] if self.trained else []
        )
        return pa.schema([*self.schema, *fields])


def adapt(
    recipe: Recipe,
    table: TableToScore,
    sides: Mapping[str, pa.Schema],
    contract: ModelContract,
    passed: Sequence[str] = (),
    keeps_all_rows: bool = False,
) -> Adapted:
    """Makes the recipe's chain run over the table.

    Args:
      recipe: of the model.
      table: the new table, in place of the source that the chain streams.
      sides: the schemas of the other tables that the chain reads.
      contract: of the model.
      passed: more columns of the examples that are asked for.
      keeps_all_rows: leave out what chose rows of the streamed table.

    Raises:
      RunError: a feature needs a column that the table lacks, or has in another type.
      SqlError: a query cannot be run over the table.
    """
    steps, conditions = _chain(recipe, table, sides, keeps_all_rows)
    last, lost = steps[-1], steps[-1].lost
    names = last.query.output.names
    for name in dict.fromkeys((*contract.names, *passed)):
        if name not in names:
            raise _not_made(name, name in contract.names, lost, table, names)
    label = contract.label if contract.label in names else ""
    columns = tuple(dict.fromkeys((*contract.names, *passed, *([label] if label else []))))
    schemas = {**sides, **_schemas(recipe, table, steps)}
    _check_types(recipe, steps, schemas, table, columns)
    by_row = not last.query.partition_by
    sql = projected(last.config["sql"] if by_row else f'SELECT * FROM "{last.name}"', columns)
    final = check_query("score", sql, last.query.stream if by_row else last.name, schemas)
    _check_features(contract, final.output, table)
    fan_out = bool(last.config["fan_out"]) and by_row
    return Adapted(steps[:-1] if by_row else steps, final, fan_out, columns, label, lost, conditions)


def as_they_are(name: str, table: TableToScore, contract: ModelContract, passed: Sequence[str] = ()) -> Adapted:
    """What reads a table that already has the columns of the examples; `name` is what it goes by.

    Raises:
      RunError: it lacks a feature, or has it in another type.
    """
    for column in dict.fromkeys((*contract.names, *passed)):
        if column not in table.schema.names:
            what = f"Feature '{column}'" if column in contract.names else f"Column '{column}'"
            raise RunError(
                f"{what} is not in '{table.place}'.{nearest(column, table.schema.names)}",
                f"It has: {listed(table.schema.names, 40)}. A table in the shape of the source is prepared first: leave --prepared out.",
            )
    label = contract.label if contract.label in table.schema.names else ""
    columns = tuple(dict.fromkeys((*contract.names, *passed, *([label] if label else []))))
    final = check_query("score", projected(f'SELECT * FROM "{name}"', columns), name, {name: table.schema})
    _check_features(contract, final.output, table)
    return Adapted((), final, False, columns, label, {}, ())


def _chain(
    recipe: Recipe, table: TableToScore, sides: Mapping[str, pa.Schema], keeps_all_rows: bool
) -> tuple[tuple[AdaptedStep, ...], tuple[Condition, ...]]:
    then, now = {**sides, recipe.streamed: table.as_trained}, {**sides, recipe.streamed: table.schema}
    lost: Causes = table.missing
    steps: list[AdaptedStep] = []
    conditions: list[Condition] = []
    for step in recipe.chain:
        with _told_of(step, table):
            narrowed = narrow(step.config["sql"], step.stream, _known(step, then), lost, keeps_all_rows)
            config = {**step.config, "sql": narrowed.sql, "split": None}
            query = check_query(step.name, narrowed.sql, step.stream, _known(step, now), step.config["partition_by"])
            if lost or narrowed.lost:
                whole = check_query(
                    step.name, step.config["sql"], step.stream, _known(step, then), step.config["partition_by"]
                )
                then[step.name] = whole.output
            else:
                then[step.name] = query.output
        now[step.name], lost = query.output, narrowed.lost
        steps.append(AdaptedStep(config, query, lost))
        conditions += narrowed.conditions
    return tuple(steps), tuple(conditions)


def _known(step: RecordedStep, schemas: Mapping[str, pa.Schema]) -> dict[str, pa.Schema]:
    """The tables that the step reads; as it was checked in training, it saw no other."""
    return {name: schemas[name] for name in step.reads}


@contextmanager
def _told_of(step: RecordedStep, table: TableToScore) -> Iterator[None]:
    """Around the checks of a step: what they refuse is told with the table."""
    try:
        yield
    except BraidError as error:
        told = str(error).removeprefix(f"Step '{step.name}': ")
        raise RunError(
            f"'{table.place}' cannot be prepared as the training rows were, in step '{step.name}': {told}", error.hint
        ) from error


def _not_made(name: str, is_feature: bool, lost: Causes, table: TableToScore, names: Sequence[str]) -> RunError:
    what = f"Feature '{name}'" if is_feature else f"Column '{name}'"
    causes = sorted(lost.get(name.lower(), ()))
    if not causes:
        return RunError(
            f"{what} is not among the columns that the recorded queries make of '{table.place}'.{nearest(name, names)}",
            f"They make: {listed(names, 40)}.",
        )
    near = "".join(dict.fromkeys(nearest(cause, table.schema.names) for cause in causes))
    needed = listed(f"'{cause}'" for cause in causes)
    return RunError(
        f"{what} needs the column{'s' if len(causes) > 1 else ''} {needed}, which '{table.place}' does not have.{near}",
        f"It has: {listed(table.schema.names, 40)}.",
    )


def _schemas(recipe: Recipe, table: TableToScore, steps: Sequence[AdaptedStep]) -> dict[str, pa.Schema]:
    return {recipe.streamed: table.schema, **{step.name: step.query.output for step in steps}}


def _check_types(
    recipe: Recipe,
    steps: Sequence[AdaptedStep],
    schemas: Mapping[str, pa.Schema],
    table: TableToScore,
    columns: Collection[str],
) -> None:
    """Refuses a needed column whose values are of another kind than in training; the width of a number does not matter."""
    changed = dict(_changed_types(table))
    if not changed:
        return
    needed = _needed(recipe, steps, schemas, columns)
    for name, (then, now) in changed.items():
        if name in needed:
            raise RunError(
                f"Column '{name}' of '{table.place}' is {now}; the model was trained on {then}.",
                "Give the column the type that it had in training.",
            )


def _changed_types(table: TableToScore) -> Iterator[tuple[str, tuple[pa.DataType, pa.DataType]]]:
    before = {field.name: field.type for field in table.trained} if table.trained is not None else {}
    for field in table.schema:
        then = before.get(field.name, field.type)
        if not pa.types.is_null(field.type) and kind_of(field.type) != kind_of(then):
            yield field.name, (then, field.type)


def _needed(
    recipe: Recipe, steps: Sequence[AdaptedStep], schemas: Mapping[str, pa.Schema], columns: Collection[str]
) -> set[str]:
    """The streamed source's columns that reach the asked ones, or choose their rows."""
    wanted = set(columns)
    for step in reversed(steps):
        try:
            origins = column_origins(step.config["sql"], {name: schemas[name] for name in step.query.tables})
        except SqlError:  # its columns cannot be followed, so any that it names may matter
            wanted = set(step.query.stream_columns)
            continue
        found = [origin for name, origin in origins.items() if name in wanted]
        read = {source for origin in found for source in (*origin.sources, *origin.filters)}
        wanted = {column for source, column in read if source == step.query.stream}
    return wanted


def _check_features(contract: ModelContract, output: pa.Schema, table: TableToScore) -> None:
    for feature in contract.features:
        found = output.field(feature.name).type
        if not pa.types.is_null(found) and kind_of(found) != feature.kind:
            raise RunError(
                f"Feature '{feature.name}' comes out of '{table.place}' as {found}; the model was trained on {feature.type}.",
                "Give the table's columns the types that they had in training.",
            )
