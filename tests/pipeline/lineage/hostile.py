"""A lineage whose every text tries to break out of the language that it is written in."""

from pathlib import Path

from hostile_text import TEXT
from store_factory import World, sqlite_store, write

from pipeline.lineage import ancestry
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.archive import Archive


def hostile_lineage(folder: Path) -> Lineage:
    """A table, a step, a model, a failed step and another, downwards."""
    world = World()
    table = world.artifact("SourceTable", f"/x/{TEXT}", rows=3, table=TEXT)
    model = world.artifact("Model", f"/m/{TEXT}", note=TEXT)
    world.execute(TEXT, {TEXT: [table]}, {TEXT: [model]}, run=TEXT, properties={"parameter": TEXT}, kind="component")
    world.execute(
        "fail", {"model": [model]}, {}, state="FAILED", properties={"error": TEXT, "error_type": "ValueError"}
    )
    world.execute("end", {"model": [model]}, {"b": [world.artifact("ModelBlessing")]})
    write(world, store := sqlite_store(folder / "metadata.sqlite"))
    return ancestry.down(Archive(store), "1")
