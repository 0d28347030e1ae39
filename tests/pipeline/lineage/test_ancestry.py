"""`up` and `down` as a whole: a name in, the records of the closure out."""

from pathlib import Path

import pytest
from store_factory import CONTEXTS, World, sqlite_store, write

from pipeline.lineage import ancestry
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError


class Nights:
    """Two nights: the second takes the table from the cache, looks the first's model up, and fails to judge at first."""

    def __init__(self, folder: Path) -> None:
        world = World()
        kinds = ("SourceTable", "Examples", "Model", "Model", "ModelEvaluation")
        self.source, self.table, self.old, self.new, self.report = (world.artifact(kind) for kind in kinds)
        first, second = {"run": "one"}, {"run": "two", "told": CONTEXTS}
        world.execute("ingest", {}, {"table": [self.source]}, **first)
        world.execute("prepare", {"tables": [self.source]}, {"examples": [self.table]}, **first)
        world.execute("train", {"examples": [self.table]}, {"model": [self.old]}, **first)
        world.execute("ingest", {}, {"table": [self.source]}, state="CACHED", **second)
        world.execute("prepare", {"tables": [self.source]}, {"examples": [self.table]}, state="CACHED", **second)
        seen = ("INTERNAL_INPUT", "INTERNAL_OUTPUT")
        world.execute("champion", {}, {"model": [self.old]}, kind="tfx.Resolver", events=seen, **second)
        world.execute("train", {"examples": [self.table]}, {"model": [self.new]}, **second)
        judged = {"model": [self.new], "baseline": [self.old]}
        world.execute("judge", judged, {}, state="FAILED", **second)
        world.execute("judge", judged, {"evaluation": [self.report]}, **second)
        self.archive = Archive(sqlite_store(folder / "store.sqlite"))
        self.written = write(world, self.archive.store)

    def steps(self, lineage: Lineage) -> list[str]:
        return [f"{one.run}/{one.step} {one.state}" for one in lineage.executions.values()]

    def numbers(self, lineage: Lineage) -> set[int]:
        return {self.written.artifacts.index(id_) for id_ in lineage.artifacts}


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


MADE_IT = ["one/ingest COMPLETE", "one/prepare COMPLETE", "one/train COMPLETE"]


def test_up_from_a_step_tells_who_made_it_not_who_took_it_from_the_cache(nights: Nights) -> None:
    lineage = ancestry.up(nights.archive, "latest/judge")
    assert nights.steps(lineage) == [*MADE_IT, "two/train COMPLETE", "two/judge COMPLETE"]
    assert nights.numbers(lineage) == {0, 1, 2, 3, 4}
    assert lineage.start == (nights.written.artifacts[nights.report],) and lineage.starting == ()
    assert {event.key for event in lineage.events if event.artifact == nights.written.artifacts[nights.old]} == {
        "model", "baseline"
    }  # fmt: skip


def test_up_from_a_run_that_took_its_table_from_the_cache_ends_in_the_run_that_made_it(nights: Nights) -> None:
    lineage = ancestry.up(nights.archive, "two")
    assert nights.steps(lineage) == [*MADE_IT, "two/train COMPLETE", "two/judge COMPLETE"]
    assert {nights.written.artifacts.index(id_) for id_ in lineage.start} == {0, 1, 3, 4}


def test_up_from_what_a_resolver_found_is_up_from_that_model(nights: Nights) -> None:
    assert nights.steps(ancestry.up(nights.archive, "two/champion")) == MADE_IT


def test_down_counts_cached_and_failed_executions(nights: Nights) -> None:
    lineage = ancestry.down(nights.archive, "one/ingest")
    assert nights.steps(lineage) == [
        "one/prepare COMPLETE",
        "one/train COMPLETE",
        "two/prepare CACHED",
        "two/train COMPLETE",
        "two/judge FAILED",
        "two/judge COMPLETE",
    ]
    assert nights.numbers(lineage) == {0, 1, 2, 3, 4}


def test_nothing_above_a_source_and_nothing_below_a_report(nights: Nights) -> None:
    above = ancestry.up(nights.archive, "one/ingest")
    assert nights.steps(above) == ["one/ingest COMPLETE"] and nights.numbers(above) == {nights.source}
    below = ancestry.down(nights.archive, "two/judge")
    assert not below.executions and not below.events and nights.numbers(below) == {nights.report}


@pytest.mark.parametrize("direction", ["up", "down"])
def test_artifacts_that_are_known_by_id_answer_as_their_name_does(
    nights: Nights, direction: ancestry.Direction
) -> None:
    id_ = nights.written.artifacts[nights.old]
    by_id = ancestry.of_artifacts(nights.archive, "one/train", direction, {id_})
    assert by_id == getattr(ancestry, direction)(nights.archive, "one/train")
    assert (by_id.subject, by_id.direction) == ("one/train", direction)


def test_records_are_fetched_when_they_are_looked_at(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Archive(nights.archive.store)
    lineage = ancestry.up(asked, str(nights.written.artifacts[nights.report]))
    monkeypatch.setattr(asked, "artifacts", None)
    assert len(lineage.artifacts) == 5 and nights.written.artifacts[nights.source] in lineage.artifacts
    monkeypatch.undo()
    assert {one.type for one in lineage.artifacts.values()} == {"SourceTable", "Examples", "Model", "ModelEvaluation"}


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_wrong_name_is_refused_not_answered_with_nothing(nights: Nights, direction: str) -> None:
    with pytest.raises(LineageError, match="Did you mean 'train'"):
        getattr(ancestry, direction)(nights.archive, "one/trian")
