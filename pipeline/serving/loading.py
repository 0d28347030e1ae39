"""Loads a model for serving: found by its name, checked, with the tables that its rows are joined with."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs.table import Table, read_batches
from pipeline import stores
from pipeline.errors import RunError
from pipeline.lineage.archive import Archive
from pipeline.scoring import live
from pipeline.scoring.live import LiveModel
from pipeline.scoring.models import find_model
from pipeline.scoring.recipe import Recipe, recipe_of
from pipeline.scoring.side_tables import SideTables
from pipeline.serving.endpoint import json_value
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to serve, and a row to try it with."""

    model: LiveModel
    example: dict[str, Any]


def load(
    workspace: Workspace, name: str, places: Mapping[str, str], prepared: bool = False, keeps_all_rows: bool = False
) -> Loaded:
    """Loads the model that a user names.

    Args:
      workspace: whose store knows it.
      name: see `pipeline.scoring.models`.
      places: other places of side tables, by name.
      prepared: take only rows that have the features already.
      keeps_all_rows: leave out what chose rows in training.

    Raises:
      BraidError: there is no such model, it was altered, or what it needs is gone.
    """
    archive = Archive(stores.open_store(workspace.store))
    found = find_model(archive, name)
    recipe = None if prepared else _recipe(archive, found.model)
    with tempfile.TemporaryDirectory(prefix="braid-serve-") as folder:
        sides = SideTables(recipe, places, folder, workspace.memo).load() if recipe else {}
    model = live.load(found, recipe, sides, keeps_all_rows)
    return Loaded(model, _example(model, recipe))


def _recipe(archive: Archive, model: Any) -> Recipe:
    try:
        return recipe_of(archive, model)
    except RunError as error:
        raise RunError(
            str(error), "Rows that have the model's features can be served all the same: --prepared."
        ) from error


def _example(model: LiveModel, recipe: Recipe | None) -> dict[str, Any]:
    """The first row of the source, where it is still there; else one without values."""
    if model.raw is None or recipe is None:
        return dict.fromkeys(model.prepared.needed())
    needed = model.raw.needed()
    table = Table.load(recipe.sources[recipe.streamed].table.uri)
    for split in table.splits:
        for batch in read_batches(table, split, needed):
            return {name: json_value(value) for name, value in batch.slice(0, 1).to_pylist()[0].items()}
    return dict.fromkeys(needed)
