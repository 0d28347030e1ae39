"""Going back: the pointer, the record, what is refused, and what a rollback leaves that is cut off at any moment."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.errors import BraidError
from components import serving_folder
from components.pusher.pushing import push
from components.withdrawn_models import withdrawn_digests
from pipeline import stores
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import plain
from pipeline.scoring.models import find_model
from pipeline.serving import rollback
from pipeline.serving.made_with import made_with
from pipeline.serving.rollback import RolledBack, roll_back
from pipeline.serving.versions import history, versions
from pipeline.workspace import Workspace
from tests.pipeline.scoring.versions_factory import Pushing

WHO, WHY = "ann@desk", "it drifts"


class Serving:
    """A pipeline with three versions, and its workspace."""

    def __init__(self, folder: Path) -> None:
        self.pushing = Pushing(folder)
        for number in (1, 2, 3):
            self.pushing.push(f"model {number}", run=f"flights-{number}")
        self.pushing.archive()
        self.workspace = Workspace(str(folder / "ws"), str(self.pushing.store_file))
        self.root = folder / "serving"

    @property
    def store(self) -> Any:
        return stores.open_store(self.workspace.store, read_only=False)

    @property
    def archive(self) -> Archive:
        return Archive(self.store)

    @property
    def current(self) -> str:
        return (self.root / "current").readlink().name

    def back(self, model: str = "flights", to: str = "", why: str = WHY) -> RolledBack:
        return roll_back(self.workspace, model, to, why, WHO)

    def refused(self, model: str = "flights", to: str = "", why: str = WHY) -> BraidError:
        before = (self.state, sorted(path.name for path in self.root.iterdir()))
        with pytest.raises(BraidError) as refusal:
            self.back(model, to, why)
        assert refusal.value.hint
        assert (self.state, sorted(path.name for path in self.root.iterdir())) == before, "nothing is half done"
        return refusal.value

    @property
    def state(self) -> tuple[str, list[str], dict[str, Any]]:
        named = serving_folder.named(self.root)
        return named, [state for state, _ in self.records], dict(serving_folder.withdrawals(self.root))

    @property
    def records(self) -> list[tuple[str, dict[str, Any]]]:
        found = self.store.get_executions_by_type("Rollback")
        return [(type(one).State.Name(one.last_known_state), plain(one.custom_properties)) for one in found]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    yield Serving(tmp_path)


def test_back_to_the_version_before(serving: Serving) -> None:
    done = serving.back()
    assert serving.current == "00000002"
    assert done.withdrawn is not None
    assert (done.withdrawn.name, done.serves.name, done.pipeline) == ("00000003", "00000002", "flights")
    assert find_model(serving.archive, "flights").version == "00000002"
    assert serving_folder.withdrawals(serving.root)["00000003"].why == WHY
    assert not list(serving.root.glob(".pushing-*"))


def test_who_and_why_are_on_record_with_the_models(serving: Serving) -> None:
    done = serving.back()
    ((state, told),) = serving.records
    assert state == "COMPLETE"
    assert {key: told[key] for key in ("by", "why", "pipeline", "withdrawn_version", "put_back_version")} == {
        "by": WHO,
        "why": WHY,
        "pipeline": "flights",
        "withdrawn_version": "00000003",
        "put_back_version": "00000002",
    }
    events = serving.archive.events_of_executions([done.execution])
    assert {event.key: event.artifact for event in events} == {
        "withdrawn": serving.pushing.pushes[2],
        "put_back": serving.pushing.pushes[1],
    }
    (execution,) = serving.archive.executions([done.execution])
    assert (execution.pipeline, execution.step) == ("flights", "Rollback")
    assert withdrawn_digests(serving.store) == {
        serving.archive.artifacts([serving.pushing.models[2]])[0].custom("tree_digest")
    }


def test_further_back_and_forward_again(serving: Serving) -> None:
    serving.back()
    serving.back()
    assert serving.current == "00000001"
    assert set(serving_folder.withdrawals(serving.root)) == {"00000002", "00000003"}
    assert "No other version of 'flights' has served before" in str(serving.refused())
    serving.back(to="3")
    assert serving.current == "00000003"
    assert set(serving_folder.withdrawals(serving.root)) == {"00000001", "00000002"}, (
        "what is put back is not withdrawn"
    )
    paths = [Path(one.path).name for one in history(serving.archive, versions(serving.archive))]
    assert paths == ["00000001", "00000002", "00000003", "00000002", "00000001", "00000003"]


def test_the_version_before_is_the_one_that_served_before_not_the_lower_number(serving: Serving) -> None:
    serving.back(to="1")
    assert push(str(serving.pushing.folder / "train/3"), str(serving.root)).reason.startswith(
        "This very model was withdrawn"
    )
    serving.back()
    assert serving.current == "00000002", "version 3 is withdrawn, so the one before that"


def test_a_withdrawn_model_is_refused_by_the_pusher_until_it_is_put_back(serving: Serving) -> None:
    serving.back()
    uri = str(serving.pushing.folder / "train/3")
    assert WHY in push(uri, str(serving.root)).reason
    serving.back(to="3")
    assert push(uri, str(serving.root)).reason == "This very model was serving already."


@pytest.mark.parametrize("model", ["flights@3", "flights-3", "flights-3/train"])
def test_the_model_that_serves_by_its_other_names(model: str, serving: Serving) -> None:
    serving.back(model)
    assert serving.current == "00000002"


def test_a_model_that_does_not_serve_is_not_withdrawn(serving: Serving) -> None:
    error = serving.refused("flights@1")
    assert "'flights@1' is flights@00000001, which does not serve: flights@00000003 does." in str(error)
    assert "braid rollback flights" in error.hint


@pytest.mark.parametrize(
    ("model", "to", "why", "told"),
    [
        ("flights", "", "  ", "needs a reason"),
        ("flights", "3", WHY, "Version 00000003 of 'flights' serves already"),
        ("flights", "7", WHY, "has no version '7'"),
        ("flghts", "", WHY, "Did you mean 'flights'?"),
    ],
)
def test_what_is_refused(model: str, to: str, why: str, told: str, serving: Serving) -> None:
    assert told in str(serving.refused(model, to, why))


def test_a_version_that_is_gone_or_altered_is_not_put_back(serving: Serving) -> None:
    (serving.root / "00000002/model.ubj").write_text("mine")
    assert "'model.ubj' was altered" in str(serving.refused())
    shutil.rmtree(serving.root / "00000002")
    error = serving.refused()
    assert f"The folder of flights@00000002 is gone: '{serving.root}/00000002'." in str(error)
    assert f"'{serving.pushing.folder}/train/2' holds it as it was recorded" in error.hint
    serving.back(to="1")
    assert serving.current == "00000001"


def test_a_version_that_serves_and_was_altered_or_is_gone_can_be_withdrawn(serving: Serving) -> None:
    (serving.root / "00000003/model.ubj").write_text("mine")
    serving.back()
    assert serving.current == "00000002"
    shutil.rmtree(serving.root / "00000002")
    serving.back()
    assert serving.current == "00000001"


def test_where_nothing_serves_a_version_can_be_put_back(serving: Serving) -> None:
    (serving.root / "current").unlink()
    done = serving.back(to="2")
    assert (serving.current, done.withdrawn) == ("00000002", None)


def test_not_while_the_pipeline_runs(serving: Serving) -> None:
    with serving.workspace.exclusive("flights"):
        assert "already running" in str(serving.refused())


def test_a_folder_that_cannot_be_written(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serving_folder, "note_withdrawals", full)
    with pytest.raises(BraidError, match="No space left on device; version 00000003 serves as before"):
        serving.back()
    assert serving.current == "00000003"
    ((state, told),) = serving.records
    assert (state, "No space left" in told["error"]) == ("FAILED", True)
    assert withdrawn_digests(serving.store) == set()


CUTS = {
    "before the list": (serving_folder, "note_withdrawals"),
    "before the link": (serving_folder, "point"),
    "before the end of the record": (rollback, "_end"),
}


def killed(serving: Serving, module: Any, function: str) -> None:
    """A rollback in a process of its own that dies where it calls the function."""
    child = os.fork()
    if not child:
        setattr(module, function, lambda *_: os._exit(9))
        serving.back()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("cut", CUTS)
def test_one_that_was_killed_is_done_or_has_not_happened(cut: str, serving: Serving) -> None:
    killed(serving, *CUTS[cut])
    was_done = cut == "before the end of the record"
    assert serving.current == ("00000002" if was_done else "00000003")
    assert set(serving_folder.withdrawals(serving.root)) == ({"00000003"} if was_done else set())
    assert [state for state, _ in serving.records] == ["RUNNING"]
    serving.back()
    assert [state for state, _ in serving.records] == ["COMPLETE" if was_done else "FAILED", "COMPLETE"]
    assert serving.current == ("00000001" if was_done else "00000002")


def scored(serving: Serving, run: str, model: int, folder: Path, command: str) -> None:
    """Puts a scoring run on record, and its predictions in a folder."""
    world = serving.pushing.world
    made = world.artifact("Predictions", f"{folder}.artifact", rows=5)
    world.execute("score", {"model": [model - 1]}, {"predictions": [made]}, run=run, pipeline="flights-score")
    folder.mkdir()
    (folder / "_predictions.json").write_text(json.dumps({"run": run}))
    store = serving.pushing.archive().store
    context = store.get_context_by_type_and_name("pipeline_run", run)
    for key, fact in {"scoring": "{}", "to": str(folder), "table": "new.csv", "command": command}.items():
        context.custom_properties[key].string_value = fact
    store.put_contexts([context])
    serving.workspace = Workspace(
        str(serving.pushing.folder / "ws"), str(serving.pushing.folder / f"store-{serving.pushing._written}.sqlite")
    )


def test_the_predictions_made_with_the_withdrawn_model_and_how_to_make_them_again(
    serving: Serving, tmp_path: Path
) -> None:
    scored(
        serving, "score-1", serving.pushing.models[2], tmp_path / "out", "braid score 12 'my new.csv' --to out --force"
    )
    done = serving.back()
    assert done.withdrawn is not None
    (found,) = made_with(serving.archive, done.withdrawn, "flights")
    assert (found.run, found.folder, found.rows, found.table) == ("score-1", str(tmp_path / "out"), 5, "new.csv")
    assert found.command == "braid score flights 'my new.csv' --to out --force"
    (tmp_path / "out/_predictions.json").write_text('{"run": "score-2"}')
    assert made_with(serving.archive, done.withdrawn, "flights") == [], "they have been made again"
    assert made_with(serving.archive, done.serves, "flights") == []
