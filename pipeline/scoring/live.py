"""A model that scores rows as they come: raw ones through the recorded queries, in this process."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import broadcast, duck
from beam_jobs.column_types import parse_type
from beam_jobs.errors import BraidError, DataError, listed
from beam_jobs.sql import CARRY
from components.model_contract import ModelContract
from components.scoring import Scorer, load_scorer
from pipeline.errors import RunError
from pipeline.scoring.adapting import Adapted, TableToScore, adapt, as_they_are
from pipeline.scoring.in_memory import run
from pipeline.scoring.model_content import FoundModel
from pipeline.scoring.recipe import Recipe

PLACE = "the rows sent"
_MOST_SHAPES = 64
_EXAMPLES = "examples"


@dataclass
class RawRows:
    """Turns rows in the shape of the model's source into features, as the recorded queries do.

    Attributes:
      schema: of the source, as training knew it.
      sides: the tables that the rows are joined with.
      keeps_all_rows: leave out what chose rows in training.
    """

    recipe: Recipe
    contract: ModelContract
    schema: pa.Schema
    sides: Mapping[str, pa.Table]
    keeps_all_rows: bool = False
    _adapted: dict[tuple[str, ...], Adapted] = field(default_factory=dict)
    _needed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._connection = duck.connect()
        for name, table in self.sides.items():
            broadcast.put(self._connection, name, table)
        groups = [step.name for step in self.adapted(self.schema).steps if not step.query.carries]
        if groups:
            raise RunError(
                f"A row of the model's examples stands for a group of rows of '{self.recipe.streamed}' (step "
                f"'{groups[0]}'), so that single rows cannot be scored.",
                "Serve it for rows that are prepared already: --prepared; or score tables with `braid score`.",
            )

    def adapted(self, schema: pa.Schema) -> Adapted:
        """The queries for rows with these columns.

        Raises:
          BraidError: a feature needs a column that is not among them.
        """
        key = tuple(schema.names)
        if key not in self._adapted:
            table = TableToScore(PLACE, schema, self.schema)
            sides = {name: side.schema for name, side in self.sides.items()}
            made = adapt(self.recipe, table, sides, self.contract, (), self.keeps_all_rows)
            if len(self._adapted) >= _MOST_SHAPES:
                self._adapted.clear()
            self._adapted[key] = made
        return self._adapted[key]

    def features(self, rows: pa.Table) -> pa.RecordBatch:
        """The features of each row, in their order.

        Raises:
          DataError: a row is left out by the queries, comes out several times, or holds a value that they refuse.
        """
        with self._lock:
            adapted = self._adapted_to(rows.schema)
            try:
                made = self._run(adapted, rows)
            except DataError as error:
                raise _blamed(self._failing(adapted, rows), error) from error
        at = made.column(CARRY).to_numpy()
        _check_one_each(at, rows.num_rows)
        ordered = made.take(np.argsort(at, kind="stable")).select(list(self.contract.names))
        return _one_batch(ordered)

    def _run(self, adapted: Adapted, rows: pa.Table) -> pa.Table:
        for query in (*(step.query for step in adapted.steps), adapted.final):
            rows = run(self._connection, query, rows)
        return rows

    def _failing(self, adapted: Adapted, rows: pa.Table) -> int:
        """The number of a row that the queries refuse, found by halves."""
        first, count = 0, rows.num_rows
        while count > 1:
            half = count // 2
            if _fails(lambda: self._run(adapted, rows.slice(first, half))):  # noqa: B023  called at once
                count = half
            else:
                first, count = first + half, count - half
        return first

    def needed(self) -> list[str]:
        """The source's columns that rows have to have.

        Those without which the features cannot be made; a column that only the label needs, or a choice of rows, is none.
        """
        with self._lock:
            return self._known_needed()

    def _known_needed(self) -> list[str]:
        self._needed = self._needed or self._find_needed()
        return self._needed

    def _adapted_to(self, schema: pa.Schema) -> Adapted:
        try:
            return self.adapted(schema)
        except BraidError as error:
            needed = self._known_needed()
            missing = [name for name in needed if name not in schema.names]
            if not missing:
                raise
            raise DataError(
                f"The rows have no column '{missing[0]}', which the model's features need.",
                f"Needed are: {listed(needed, 40)}; null stands for a missing value.",
            ) from error

    def _find_needed(self) -> list[str]:
        adapted = self.adapted(self.schema)
        query = adapted.steps[0].query if adapted.steps else adapted.final
        kept = [one for one in self.schema if one.name in query.stream_columns]
        for column in list(kept):
            fewer = [one for one in kept if one is not column]
            if fewer and not _fails(lambda: self.adapted(pa.schema(fewer))):  # noqa: B023  called at once
                kept = fewer
        return [one.name for one in kept]


@dataclass(frozen=True)
class PreparedRows:
    """Takes rows that have the features already."""

    contract: ModelContract

    @property
    def schema(self) -> pa.Schema:
        """The features, of the types that they had in training."""
        return pa.schema([(one.name, _type(one.type, one.name)) for one in self.contract.features])

    def features(self, rows: pa.Table) -> pa.RecordBatch:
        """The features of each row.

        Raises:
          RunError: one is missing.
        """
        adapted = as_they_are(_EXAMPLES, TableToScore(PLACE, rows.schema), self.contract)
        return _one_batch(rows.select([name for name in adapted.columns if name in self.contract.names]))

    def needed(self) -> list[str]:
        """Every feature."""
        return list(self.contract.names)


def _type(name: str, column: str) -> pa.DataType:
    """The Arrow type of its name in a contract."""
    try:
        return parse_type(name, column)
    except BraidError:
        known = {"large_string": pa.string(), "string_view": pa.string(), "time32[s]": pa.time32("s")}
        known |= {"time32[ms]": pa.time32("ms"), "time64[us]": pa.time64("us"), "time64[ns]": pa.time64("ns")}
        return known.get(name) or (pa.string() if name.startswith("dictionary") else pa.float64())


@dataclass(frozen=True)
class LiveModel:
    """A model with what makes its features.

    Attributes:
      found: which one it is.
      raw: for rows in the shape of the source; None where how they are prepared is not known, or not asked for.
      prepared: for rows in the shape of the examples.
    """

    found: FoundModel
    scorer: Scorer
    raw: RawRows | None
    prepared: PreparedRows

    @property
    def contract(self) -> ModelContract:
        """What the model expects and answers."""
        return self.scorer.contract

    def predict(self, features: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """See `components.scoring.Scorer.predict`."""
        return np.asarray(self.scorer.predict(features))

    def contributions(self, features: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """See `components.scoring.Scorer.contributions`."""
        return np.asarray(self.scorer.contributions(features))


def load(
    found: FoundModel, recipe: Recipe | None, sides: Mapping[str, pa.Table], keeps_all_rows: bool = False
) -> LiveModel:
    """Loads a model.

    Args:
      found: a model that was checked.
      recipe: how its examples were made; None takes only rows that have the features already.
      sides: the tables that the recipe's chain joins.
      keeps_all_rows: leave out what chose rows in training.

    Raises:
      BraidError: the model cannot be loaded, or its source's columns are not known any more.
    """
    scorer = load_scorer(found.uri)
    prepared = PreparedRows(scorer.contract)
    if recipe is None:
        return LiveModel(found, scorer, None, prepared)
    schema = recipe.sources[recipe.streamed].table.schema()
    if schema is None:
        raise RunError(
            f"The columns of source '{recipe.streamed}', as the model was trained on it, are not known any more: its "
            f"table '{recipe.sources[recipe.streamed].table.uri}' is gone.",
            "Serve the model for rows that are prepared already: --prepared.",
        )
    return LiveModel(found, scorer, RawRows(recipe, scorer.contract, schema, sides, keeps_all_rows), prepared)


def _one_batch(rows: pa.Table) -> pa.RecordBatch:
    batches = rows.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], rows.schema)


def _fails(action: Callable[[], object]) -> bool:
    try:
        action()
    except BraidError:
        return True
    return False


def _blamed(number: int, error: DataError) -> DataError:
    return DataError(f"Row {number} cannot be prepared: {error}", error.hint)


def _check_one_each(at: npt.NDArray[np.int64], rows: int) -> None:
    counts = np.bincount(at, minlength=rows)
    lost, many = np.flatnonzero(counts == 0), np.flatnonzero(counts > 1)
    if len(lost):
        raise DataError(
            f"Row {_numbers(lost)} {'is' if len(lost) == 1 else 'are'} left out by the queries of training, by a WHERE or a "
            "join, so that there is nothing to score.",
            "Leave such rows out; `braid serve --keep-all-rows` leaves out what chose rows in training.",
        )
    if len(many):
        raise DataError(
            f"Row {_numbers(many)} comes out of the queries several times, as a joined table has several rows for it.",
            "Such a model scores tables: `braid score`.",
        )


def _numbers(found: Sequence[int] | npt.NDArray[np.int64]) -> str:
    return listed((str(number) for number in found), 5)
