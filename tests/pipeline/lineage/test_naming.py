"""Every way to name an artifact, and every way to name none: a clear error with the nearest that there is."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_factory import CONTEXTS, World, put_run, server_store, sqlite_store, write

from beam_jobs.errors import BraidError
from pipeline.lineage import ancestry, naming
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError


@dataclass(frozen=True)
class Named:
    """A store with things to name, and the ids of them."""

    archive: Archive
    root: Path
    ids: dict[str, int]

    def __call__(self, name: str) -> set[int]:
        return {artifact.id for artifact in naming.find(self.archive, name).artifacts}

    def refused(self, name: str) -> str:
        with pytest.raises(LineageError) as refusal:
            naming.find(self.archive, name)
        assert refusal.value.hint, f"a refusal says what to do next: {refusal.value}"
        return str(refusal.value)


@pytest.fixture(scope="module", params=["sqlite", "postgresql_server", "mysql_server"])
def named(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Named:
    """Two nights of a pipeline, the second after a failure, and what is pushed to a folder; in each kind of store."""
    root = tmp_path_factory.mktemp("named")
    (root / "train" / "model" / "deep" / "er").mkdir(parents=True)
    (root / "train" / "model" / "model.ubj").touch()
    (root / "train" / "model" / "deep" / "er" / "weights").touch()
    for version in ("00000001", "00000002"):
        (root / "serving" / version).mkdir(parents=True)
        (root / "serving" / version / "model.ubj").touch()
    (root / "serving" / "current").symlink_to("00000002")
    world, ids = World(), dict[str, int]()

    def artifact(label: str, kind: str, uri: str, name: str = "", **properties: object) -> int:
        ids[label] = world.artifact(kind, uri, name, **properties)
        return ids[label]

    table = artifact("table", "Examples", f"{root}/examples/", "the table")
    lone = artifact("lone", "Schema", "relative/schema", "shared name")
    other = artifact("other", "Model", "gs://bucket/models/7", "shared name")
    stats = artifact("stats", "ExampleStatistics", f"file://{root}/statistics")
    old = artifact("old", "Model", f"{root}/train/old")
    model = artifact("model", "Model", f"{root}/train/model", "größe ✓")
    pushed = [
        artifact(
            f"pushed {v}", "PushedModel", f"{root}/push/{v}", pushed=1, pushed_destination=f"{root}/serving/0000000{v}"
        )
        for v in (1, 2)
    ]
    held = artifact("held", "PushedModel", f"{root}/push/held", pushed=0)
    half = artifact("half", "Model", f"{root}/train/half")
    world.execute("prepare", {}, {"examples": [table], "statistics": [stats]}, run="night/1")
    world.execute("train", {"examples": [table]}, {"model": [old]}, run="night/1")
    world.execute("push", {"model": [old]}, {"pushed_model": [pushed[0]]}, run="night/1")
    late = {"run": "night/2", "told": CONTEXTS}
    world.execute("prepare", {}, {"examples": [table]}, state="CACHED", **late)
    world.execute(
        "champion", {}, {"model": [old]}, kind="tfx.Resolver", events=("INTERNAL_INPUT", "INTERNAL_OUTPUT"), **late
    )
    world.execute("train", {"examples": [table]}, {"model": [half]}, state="FAILED", **late)
    world.execute("train", {"examples": [table]}, {"model": [model]}, **late)
    world.execute("judge", {"model": [model], "baseline": [old]}, state="FAILED", **late)
    world.execute("Evaluator.strict", {"model": [model]}, {"blessing": [lone]}, **late)
    world.execute("push", {"model": [model]}, {"pushed_model": [pushed[1]], "held": [held]}, **late)
    world.execute("train", {"examples": [table]}, {"model": [other]}, run="night/1/push")
    for run in ("2", "7700"):
        world.execute("ingest", {}, {"table": [artifact(f"of {run}", "SourceTable", f"{root}/{run}")]}, run=run)
    sqlite = request.param == "sqlite"
    store = sqlite_store(root / "store.sqlite") if sqlite else server_store(request.getfixturevalue(request.param))
    put_run(store, "cut off")
    written = write(world, store)
    return Named(Archive(store), root, {label: written.artifacts[number] for label, number in ids.items()})


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("artifact:{model}", "model"),
        ("{model}", "model"),
        ("00{model}", "model"),
        ("{root}/train/model", "model"),
        ("{root}/train/model/", "model"),
        ("file://{root}/train/model", "model"),
        ("{root}/train/../train/./model//", "model"),
        ("{root}/train/model/model.ubj", "model"),
        ("file://{root}/train/model/model.ubj", "model"),
        ("{root}/train/model/deep/er/weights", "model"),
        ("{root}/gone/../examples", "table"),
        ("{root}/examples/part-0.parquet", "table"),
        ("{root}/statistics", "stats"),
        ("{root}/statistics/", "stats"),
        ("relative/schema", "lone"),
        ("relative/schema/schema.pbtxt", "lone"),
        ("gs://bucket/models/7", "other"),
        ("gs://bucket/models/7/", "other"),
        ("gs://bucket/models/7/model.ubj", "other"),
        ("{root}/serving/current", "pushed 2"),
        ("{root}/serving/current/model.ubj", "pushed 2"),
        ("{root}/serving/00000002", "pushed 2"),
        ("{root}/serving/00000001/", "pushed 1"),
        ("the table", "table"),
        ("größe ✓", "model"),
        ("night/1", "table stats old pushed.1"),
        ("night/1/", "table stats old pushed.1"),
        ("night/1/train", "old"),
        ("night/1/prepare", "table stats"),
        ("night/1/prepare.statistics", "stats"),
        ("night/2/prepare", "table"),
        ("night/2/Evaluator.strict", "lone"),
        ("night/2/Evaluator.strict.blessing", "lone"),
        ("night/2/champion", "old"),
        ("night/2/champion.model", "old"),
        ("night/1/push.pushed_model", "pushed.1"),
        ("night/2/train", "model"),
        ("night/2/train.model", "model"),
        ("7700", "of.7700"),
        ("2/ingest", "of.2"),
    ],
)
def test_a_name_finds_its_artifacts(named: Named, name: str, labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(named.root)
    expected = {named.ids[label.replace(".", " ")] for label in ([labels] if labels in named.ids else labels.split())}
    assert named(name.format(root=named.root, **named.ids)) == expected


def test_a_path_may_be_relative_or_below_the_home_folder(named: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(named.root / "train")
    assert named("model") == named("./model/model.ubj") == named("../train/model") == {named.ids["model"]}
    monkeypatch.setenv("HOME", str(named.root))
    assert named("~/train/model") == {named.ids["model"]}


def test_a_path_through_a_link_is_the_folder_that_it_leads_to(named: Named, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(named.root)
    assert (
        named(f"{tmp_path}/link/train/model") == named(f"{tmp_path}/link/train/model/model.ubj") == {named.ids["model"]}
    )
    assert named(f"{tmp_path}/link/serving/current") == {named.ids["pushed 2"]}


def test_latest_is_the_run_that_began_last(tmp_path: Path) -> None:
    world = World()
    first, second = world.artifact("Model"), world.artifact("Model")
    world.execute("train", {}, {"model": [first]}, run="b")
    world.execute("train", {}, {"model": [second]}, run="a")
    archive = Archive(sqlite_store(tmp_path / "store.sqlite"))
    written = write(world, archive.store)
    for name in ("latest", "latest/", "latest/train", "latest/train.model"):
        assert [found.id for found in naming.find(archive, name).artifacts] == [written.artifacts[second]]
    assert naming.find_run(archive, "latest")[0] == "a"


def test_a_run_s_own_outputs_are_those_of_its_steps_not_of_its_resolver(named: Named) -> None:
    subject = naming.find(named.archive, "night/2")
    expected = {named.ids[label] for label in ("table", "half", "model", "lone", "pushed 2", "held")}
    assert {artifact.id for artifact in subject.artifacts} == expected
    assert "champion" not in {execution.step for execution in subject.executions}


def test_an_attempt_that_wrote_nothing_is_still_one(named: Named) -> None:
    subject = naming.find(named.archive, "night/2/judge")
    assert subject.artifacts == () and [one.state for one in subject.executions] == ["FAILED"]
    above = ancestry.up(named.archive, "night/2/judge")
    assert above.starting == (subject.executions[0].id,)
    assert {named.ids["model"], named.ids["old"], named.ids["table"]} == set(above.artifacts)
    below = ancestry.down(named.archive, "night/2/judge")
    assert set(below.executions) == set(below.starting) == {subject.executions[0].id} and not below.artifacts


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "The name is empty."),
        (" \t\n", "The name is empty."),
        ("999999", "There is no artifact 999999 in this store. The last is {newest} (SourceTable)."),
        ("artifact:999999", "The last is {newest} (SourceTable)."),
        ("0", "There is no artifact 0"),
        ("9" * 30, "There is no artifact 9999"),
        ("9" * 5_000, "There is no artifact 9999"),
        ("-1", "Nothing in this store is called '-1'."),
        ("artifact:", "Nothing in this store is called 'artifact:'."),
        ("artifact:-3", "Nothing in this store is called 'artifact:-3'."),
        ("٣", "Nothing in this store is called '٣'."),
        ("2", "'2' is both an artifact's id and a run's name."),
        ("night/1/push", "'night/1/push' is both a run and step 'push' of run 'night/1'."),
        (
            "shared name",
            "'shared name' may mean several artifacts: {lone} (Schema at relative/schema), {other} (Model at gs:",
        ),
        ("nihgt/1", "Did you mean 'night/1'?"),
        ("nihgt/1/train", "There is no run 'nihgt/1'. Did you mean 'night/1'?"),
        ("night/3/train.model", "There is no run 'night/3'. Did you mean 'night/"),
        ("night/1/trian", "Run 'night/1' has no step 'trian'. Did you mean 'train'?"),
        ("night/1/train.modle", "Step 'train' of run 'night/1' has no output 'modle'. Did you mean 'model'?"),
        ("night/2/judge.model", "Step 'judge' of run 'night/2' has no output 'model'."),
        ("LATEST", "Did you mean 'latest'?"),
        (" latest", "Did you mean 'latest'?"),
        ("ingest", "Did you mean 'latest/ingest'?"),
        ("latest/ingset", "Run '7700' has no step 'ingset'. Did you mean 'ingest'?"),
        ("latset/ingest", "There is no run 'latset'. Did you mean 'latest'?"),
        ("cut off", "Run 'cut off' has no step on record"),
        ("cut off/train", "Run 'cut off' has no step 'train'."),
        ("the tabel", "Did you mean 'the table'?"),
        ("grosse ✓", "Did you mean 'größe ✓'?"),
        ("{root}/train/modle", "Did you mean '{root}/train/model'?"),
        ("{root}/train/model/gone.ubj", "Did you mean '{root}/train/model'?"),
        ("gs://bucket/model/7", "Did you mean 'gs://bucket/models/7'?"),
        ("a\0b", "'a\\x00b' is no name"),
        ("\ud800", "'\\ud800' is no name"),
        *(
            (name, "Nothing in this store is called")
            for name in ("/", "//", "~", "%", "_", "://", "gs://", "file://", "🦄")
        ),
        ("'; DROP TABLE Artifact; --", "Nothing in this store is called"),
        ("x" * 100_000, "Nothing in this store is called"),
        ("a/" * 1_000, "Nothing in this store is called"),
    ],
    ids=lambda value: ascii(value[:30]),
)
def test_a_wrong_name_is_told_with_the_nearest(named: Named, name: str, told: str) -> None:
    ids = {label.replace(" ", "_"): id_ for label, id_ in named.ids.items()}
    message = named.refused(name.format(root=named.root) if "{root}" in name else name)
    assert told.format(root=named.root, newest=max(ids.values()), **ids) in message


_PIECES = st.sampled_from(
    ("latest", "night/1", "night/2", "train", "model", "artifact:", "file://", "gs://", "7", "/", ".", "~")
)


@settings(max_examples=300, deadline=None)
@given(name=st.one_of(st.text(), st.lists(st.one_of(_PIECES, st.text(max_size=3)), max_size=6).map("".join)))
def test_any_text_finds_something_or_is_refused_in_words(named: Named, name: str) -> None:
    try:
        subject = naming.find(named.archive, name)
    except BraidError as refusal:
        assert isinstance(refusal, LineageError) and str(refusal) and refusal.hint
    else:
        assert subject.artifacts or subject.executions


@pytest.mark.parametrize("name", ["latest", "latest/train", "1", "/some/path", "a name", "run/step.output"])
def test_an_empty_store_says_that_it_is_empty(tmp_path: Path, name: str) -> None:
    with pytest.raises(LineageError, match=r"holds no run at all|holds none at all|the store is empty"):
        naming.find(Archive(sqlite_store(tmp_path / "store.sqlite")), name)


def test_a_folder_that_lacks_the_file_is_not_meant(named: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped RUN/step, asked from within an artifact's folder, is no file of that artifact."""
    monkeypatch.chdir(named.root / "train" / "model")
    assert "There is no run 'latset'" in named.refused("latset/train")


def test_an_artifact_that_is_gone_is_found_by_what_it_held(named: Named) -> None:
    assert not os.path.exists(named.root / "train" / "old")
    assert named(f"{named.root}/train/old/model.ubj") == {named.ids["old"]}


@pytest.mark.parametrize(
    ("name", "label"), [("night/1/push", None), ("night/2/push", "model"), ("night/1/train", "old")]
)
def test_the_model_behind_a_name(named: Named, name: str, label: str | None) -> None:
    if label is None:
        with pytest.raises(LineageError, match="is both a run and step"):
            naming.find_model(named.archive, name)
    else:
        assert naming.find_model(named.archive, name).id == named.ids[label]


def test_the_model_that_serves_is_named_by_where_it_serves(named: Named) -> None:
    assert naming.find_model(named.archive, f"{named.root}/serving/current").id == named.ids["model"]
    assert naming.find_model(named.archive, str(named.ids["pushed 1"])).id == named.ids["old"]


def test_what_is_no_model_or_several_is_told(named: Named) -> None:
    with pytest.raises(LineageError, match=r"'the table' is no Model: it is Examples\."):
        naming.find_model(named.archive, "the table")
    with pytest.raises(LineageError, match="'night/2' may mean several artifacts"):
        naming.find_model(named.archive, "night/2")
    with pytest.raises(LineageError, match=r"'night/2/judge' is no Model: it is a step without outputs\."):
        naming.find_model(named.archive, "night/2/judge")


@pytest.mark.parametrize("name", ["nihgt/1", "", "\ud800"])
def test_a_wrong_run_is_told(named: Named, name: str) -> None:
    with pytest.raises(LineageError) as refusal:
        naming.find_run(named.archive, name)
    assert refusal.value.hint
