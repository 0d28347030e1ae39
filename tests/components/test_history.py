"""Which of the earlier models is the champion."""

import shutil
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components import blessing
from components.history import ChampionStrategy
from components.withdrawn_models import MODEL_DIGEST, PUT_BACK_DIGEST, ROLLBACK
from tests.pipeline.lineage.store_factory import World, sqlite_store, write


class History:
    """Models and blessings as a store would hand them to the resolver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = sqlite_store(folder / "store.sqlite")
        self.models: list[standard_artifacts.Model] = []
        self.blessings: list[standard_artifacts.ModelBlessing] = []

    def model(self, content: str, blessed: bool | None = True) -> standard_artifacts.Model:
        made = standard_artifacts.Model()
        made.id = len(self.models) + len(self.blessings) + 1
        made.uri = str(self.folder / str(made.id))
        Path(made.uri).mkdir()
        made.set_string_custom_property("tree_digest", content)
        self.models.append(made)
        if blessed is not None:
            verdict = standard_artifacts.ModelBlessing()
            verdict.uri = made.uri
            blessing.record(verdict, made, None, blessed, "")
            verdict.id = made.id + 1
            self.blessings.append(verdict)
        return made

    def roll_back(self, withdrawn: str, put_back: str, state: str = "COMPLETE") -> None:
        world = World()
        told = {MODEL_DIGEST: withdrawn, PUT_BACK_DIGEST: put_back}
        world.execute("Rollback", kind=ROLLBACK, state=state, properties=told)
        write(world, self.store)

    def champion_of(self, *candidates: standard_artifacts.Model) -> list[standard_artifacts.Model]:
        given = {"model": self.models, "blessing": self.blessings, "candidate": list(candidates)}
        found = ChampionStrategy().resolve_artifacts(self.store, given)
        assert len(found["model"]) == len(found["blessing"]) <= 1
        assert found["candidate"] == list(candidates)
        return found["model"]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def test_the_first_model_has_none(history: History) -> None:
    assert history.champion_of(history.model("a")) == []


def test_the_last_one_blessed(history: History) -> None:
    history.model("a")
    second = history.model("b")
    history.model("c", blessed=False)
    assert history.champion_of(history.model("d", blessed=None)) == [second]


def test_a_model_that_was_rolled_back_is_none_until_it_is_put_back(history: History) -> None:
    first, second = history.model("a"), history.model("b")
    candidate = history.model("c", blessed=None)
    history.roll_back("b", "a", state="FAILED")
    assert history.champion_of(candidate) == [second]
    history.roll_back("b", "a")
    assert history.champion_of(candidate) == [first]
    history.roll_back("a", "b")
    assert history.champion_of(candidate) == [second]


def test_a_repeated_run_resolves_the_same(history: History) -> None:
    first, second = history.model("a"), history.model("b", blessed=None)
    assert history.champion_of(second) == [first]
    assert history.champion_of(second) == [first]


def test_an_earlier_model_from_the_cache_is_held_against_what_has_served_since(history: History) -> None:
    first, second = history.model("a"), history.model("b")
    assert history.champion_of(first) == [second]


def test_a_model_is_not_held_against_its_own_content(history: History) -> None:
    first = history.model("a")
    history.model("b")
    again = history.model("b", blessed=None)
    assert history.champion_of(again) == [first]


def test_the_blessing_of_a_lost_model_speaks_of_the_one_that_was_trained_again(history: History) -> None:
    lost = history.model("a")
    shutil.rmtree(lost.uri)
    again = history.model("a", blessed=None)
    assert history.champion_of(history.model("b", blessed=None)) == [again]


def test_none_of_several_candidates_is_the_champion(history: History) -> None:
    first, second, third = history.model("a"), history.model("b"), history.model("c", blessed=False)
    assert history.champion_of(second, third) == [first]
    assert history.champion_of(first, second, third) == []
    assert history.champion_of(history.model("a", blessed=None), history.model("d", blessed=None)) == [second]
