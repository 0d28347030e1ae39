"""Every way to name a model, and what is said where none is meant or its folder is not what was recorded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_jobs.errors import BraidError
from components.serving_folder import Withdrawal, note_withdrawals
from pipeline.lineage.archive import Archive
from pipeline.scoring.model_content import FoundModel
from pipeline.scoring.models import find_model, locate
from pipeline.serving.versions import history, versions
from tests.pipeline.lineage.store_factory import Written, put_run, sqlite_store, write
from tests.pipeline.scoring.versions_factory import Pushing

Find = Callable[[str], FoundModel]


@pytest.fixture
def pushing(tmp_path: Path) -> Pushing:
    """Three versions of 'flights', the last of which serves."""
    made = Pushing(tmp_path)
    for number in (1, 2, 3):
        made.push(f"model {number}", run=f"flights-{number}")
    return made


@pytest.fixture
def find(pushing: Pushing) -> Find:
    archive = pushing.archive()
    return lambda text: find_model(archive, text)


def refused(find: Find, text: str) -> BraidError:
    with pytest.raises(BraidError) as refusal:
        find(text)
    assert refusal.value.hint, f"a refusal says what to do next: {refusal.value}"
    return refusal.value


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("flights", 3),
        ("flights@1", 1),
        ("flights@00000002", 2),
        ("flights@latest", 3),
        ("flights-2", 2),
        ("flights-2/train", 2),
        ("flights-1/push", 1),
        ("latest", 3),
        ("serving/00000002", 2),
        ("serving/current", 3),
        ("serving/00000001/contract.json", 1),
        ("train/1", 1),
    ],
)
def test_a_model_by_each_of_its_names(
    text: str, version: int, pushing: Pushing, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pushing.folder)
    found = find(text)
    assert (found.id, found.name, found.version) == (pushing.models[version - 1], "flights", f"{version:08d}")
    assert (Path(found.uri) / "model.ubj").read_text() == f"model {version}"
    assert found.is_serving == (version == 3)


def test_a_model_by_the_ids_of_its_artifacts(pushing: Pushing, find: Find) -> None:
    model, pushed = pushing.models[0], pushing.pushes[0]
    assert find(str(model)).uri == str(pushing.folder / "train/1")
    assert find(f"artifact:{pushed}").uri == str(pushing.folder / "serving/00000001")
    assert find(f"artifact:{pushed}").id == model


def test_where_the_pointer_was_put_back_another_version_is_meant(pushing: Pushing, find: Find) -> None:
    pushing.point("00000001")
    assert find("flights").version == "00000001"
    assert not find("flights@3").is_serving


def test_a_copy_anywhere_is_known_by_what_it_holds(pushing: Pushing, find: Find, tmp_path: Path) -> None:
    shutil.copytree(pushing.folder / "serving/00000002", tmp_path / "else/where")
    assert find(str(tmp_path / "else/where")).id == pushing.models[1]
    (tmp_path / "else/where/model.ubj").write_text("mine")
    assert "none that this metadata store knows" in str(refused(find, str(tmp_path / "else/where")))


def test_of_several_candidates_of_a_run_the_one_that_was_chosen(pushing: Pushing) -> None:
    chosen = pushing.push("the better", run="duel", others=("the worse",))
    archive = pushing.archive()
    assert find_model(archive, "duel").id == chosen
    assert find_model(archive, "flights").id == chosen
    (version,) = [one for one in versions(archive) if one.is_serving]
    assert [model.id for model in version.models] == [chosen], "the other candidate was not pushed"


def test_the_latest_run_is_the_latest_that_did_not_score(pushing: Pushing) -> None:
    store = pushing.archive().store
    put_run(store, "flights-score-9")
    context = store.get_context_by_type_and_name("pipeline_run", "flights-score-9")
    context.custom_properties["scoring"].string_value = "{}"
    store.put_contexts([context])
    assert find_model(Archive(store), "latest").id == pushing.models[2]


def test_names_of_nothing_are_told_with_the_nearest(find: Find) -> None:
    assert "Did you mean 'flights'?" in str(refused(find, "fligths"))
    assert "has no version '9'" in str(refused(find, "flights@9"))
    assert "00000001, 00000002, 00000003" in refused(find, "flights@9").hint
    assert "is no Model" in str(refused(find, "flights-1/prepare"))
    assert "The name is empty" in str(refused(find, ""))


def test_a_pipeline_that_has_pushed_nothing(pushing: Pushing) -> None:
    pushing.train("taxi", run="taxi-1")
    assert "has not pushed a model yet" in str(refused(lambda text: find_model(pushing.archive(), text), "taxi"))


def test_no_version_serves(pushing: Pushing, find: Find) -> None:
    (pushing.folder / "serving/current").unlink()
    pushing.point("00000009")
    error = refused(find, "flights")
    assert "No version of 'flights' serves" in str(error)
    assert "braid rollback flights --to VERSION" in error.hint
    assert find("flights@2").version == "00000002"


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (lambda folder: (folder / "model.ubj").write_text("mine"), "'model.ubj' was altered"),
        (lambda folder: (folder / "sub/weights").unlink(), "'sub/weights' is gone"),
        (lambda folder: (folder / "extra.py").write_text("x"), "'extra.py' was added"),
    ],
)
def test_an_altered_version_is_refused_and_the_file_named(
    alter: Callable[[Path], object], told: str, pushing: Pushing, find: Find
) -> None:
    alter(pushing.folder / "serving/00000003")
    error = refused(find, "flights")
    assert f"is not what was recorded: {told}." in str(error)
    assert str(pushing.folder / "train/3") in error.hint, "the sound copy is named"
    assert find("flights-3").uri == str(pushing.folder / "train/3")


def test_an_altered_version_without_a_sound_copy(pushing: Pushing, find: Find) -> None:
    shutil.rmtree(pushing.folder / "train/3")
    (pushing.folder / "serving/00000003/model.ubj").write_text("mine")
    error = refused(find, "flights")
    assert "its files have been changed since" in str(error)
    assert "`braid rollback flights`" in error.hint


def test_a_missing_folder_and_what_still_holds_the_model(pushing: Pushing, find: Find) -> None:
    shutil.rmtree(pushing.folder / "serving/00000002")
    assert "is gone" in str(refused(find, "flights@2"))
    shutil.rmtree(pushing.folder / "train/1")
    found = find("flights-1")
    assert (found.uri, found.id) == (str(pushing.folder / "serving/00000001"), pushing.models[0])
    shutil.rmtree(pushing.folder / "train/2")
    assert "is gone" in str(refused(find, "flights-2"))


def test_a_folder_that_holds_no_model_of_braids(tmp_path: Path) -> None:
    pushing = Pushing(tmp_path, contract=None)
    pushing.push("a TensorFlow model", run="strange")
    assert "'contract.json' is missing" in str(refused(lambda text: find_model(pushing.archive(), text), "strange"))
    assert locate(pushing.archive(), "strange").id == pushing.models[0]


def test_versions_tell_runs_withdrawals_and_history(pushing: Pushing) -> None:
    note_withdrawals(pushing.folder / "serving", {"00000002": Withdrawal("d", "drifts", "ann@desk", 5.0)})
    found = versions(pushing.archive(), "flights")
    assert [(one.name, one.run, one.is_serving) for one in found] == [
        ("00000001", "flights-1", False),
        ("00000002", "flights-2", False),
        ("00000003", "flights-3", True),
    ]
    assert [one.withdrawal.why if one.withdrawal else "" for one in found] == ["", "drifts", ""]
    assert [served.path[-1] for served in history(pushing.archive(), found)] == ["1", "2", "3"]
    assert versions(pushing.archive(), "taxi") == []


def test_a_version_pushed_twice_keeps_its_model(pushing: Pushing) -> None:
    pushing.push("model 1", run="again", model=pushing.models[0])
    first, *_, last = versions(pushing.archive())
    assert [one.id for one in first.models] == [one.id for one in last.models] == [pushing.models[0]]


def test_a_withdrawal_of_the_version_that_serves_is_void(pushing: Pushing) -> None:
    note_withdrawals(pushing.folder / "serving", {"00000003": Withdrawal("d", "cut off", "ann", 5.0)})
    assert [one.withdrawal for one in versions(pushing.archive())] == [None, None, None]


def test_stores_without_anything(tmp_path: Path) -> None:
    archive = Archive(sqlite_store(tmp_path / "empty.sqlite"))
    assert versions(archive) == []
    assert isinstance(write(Pushing(tmp_path).world, archive.store), Written)
    assert "the store" in str(refused(lambda text: find_model(archive, text), "latest"))
