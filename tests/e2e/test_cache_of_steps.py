"""Which change makes which step run again: by content, by the code that a step uses, and only while outputs are there."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from sales_project import SALES, Braid, Project, assert_nothing_half_written, latest, states

from pipeline import caching, runs, step_code, stores
from pipeline.cache_key import CONTEXT_TYPE
from pipeline.cli.main import main
from pipeline.code_closure import CodeChange
from pipeline.code_modules import project_roots
from pipeline.errors import NothingRecordedError
from pipeline.workspace import Workspace

STEPS = ("sales", "orders", "statistics", "schema", "validate", "select", "train", "evaluate", "push")
TRAINING, PARAMETERS = "components/trainer/training.py", "components/trainer/parameters.py"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's packages, whose code counts as that of the steps."""
    folder = tmp_path_factory.mktemp("packages")
    for name, path in project_roots().items():
        shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def copied(packages: Path) -> dict[str, str]:
    return {name: str(packages / name) for name in project_roots()}


@pytest.fixture(autouse=True)
def _code_is_the_copy(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.code_closure.project_roots", lambda: copied(packages))


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("cached"))


@pytest.fixture
def finished(shared_project: Project) -> Iterator[Project]:
    """A project that has run; the next test finds it as it was, but for more on record."""
    shared_project.configure()
    shared_project.write("sales.csv", SALES)
    run_whole(shared_project)
    yield shared_project


def run_whole(project: Project) -> None:
    try:
        if tuple(states(latest(project.workspace))) == STEPS:
            return
    except NothingRecordedError:
        pass
    main(["run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace)])


Again = Callable[..., set[str]]


@pytest.fixture
def again(finished: Project, braid: Braid) -> Again:
    """Runs the project once more and returns the steps that were not taken from the cache."""

    def run(*options: str) -> set[str]:
        outcome = braid("run", str(finished.folder / "sales.yaml"), "--workspace", str(finished.workspace), *options)
        assert outcome.code == 0, outcome.err
        return ran(finished)

    return run


def ran(project: Project) -> set[str]:
    return {step for step, state in states(latest(project.workspace)).items() if state != "CACHED"}


def step_of(project: Project, name: str) -> runs.Step:
    step = latest(project.workspace).step(name)
    assert step is not None
    return step


def store_of(project: Project) -> mlmd.MetadataStore:
    return stores.open_store(Workspace(str(project.workspace)).store, read_only=False)


def uri_of(project: Project, step: str, key: str) -> Path:
    return Path(step_of(project, step).outputs[key][0].uri)


@pytest.fixture
def edited(packages: Path) -> Iterator[Callable[[str, str, str], None]]:
    """Replaces text in a file of the packages until the test ends."""
    originals: dict[Path, bytes] = {}

    def edit(file: str, old: str, new: str) -> None:
        path = packages / file
        originals.setdefault(path, path.read_bytes())
        text = path.read_text()
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1))

    yield edit
    for path, content in originals.items():
        path.write_bytes(content)


Edit = Callable[[str, str, str], None]


def test_nothing_changed(finished: Project, again: Again) -> None:
    assert again() == set()
    assert_nothing_half_written(finished.workspace)
    for name in STEPS:
        step = step_of(finished, name)
        (maker,) = store_of(finished).get_executions_by_id([step.properties["cache_of"]])
        assert (step.properties["cache"], "cache_unusable" in step.properties) == ("hit", False)
        assert maker.last_known_state == pb.Execution.COMPLETE


def test_the_key_is_on_record(finished: Project, again: Again) -> None:
    again()
    step = step_of(finished, "train")
    context = store_of(finished).get_context_by_type_and_name(CONTEXT_TYPE, step.properties["cache_key"])
    assert step.execution in {e.id for e in store_of(finished).get_executions_by_context(context.id)}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (TRAINING, '"""Trains an XGBoost model from', '"""Fits an XGBoost model to'),
        (TRAINING, "    started = time.monotonic()\n", "    # A comment.\n\n    started = time.monotonic()\n"),
        (PARAMETERS, "def resolve_params(", "def resolve_params( "),
    ],
    ids=["docstring", "comment", "layout"],
)
def test_comments_and_layout_do_not_count(file: str, old: str, new: str, again: Again, edited: Edit) -> None:
    edited(file, old, new)
    assert again() == set()


def test_a_function_that_a_step_calls_counts_for_it(again: Again, edited: Edit) -> None:
    """Its outputs being the same, the steps behind it are taken from the cache all the same."""
    edited(TRAINING, "ROUNDS_A_NOTE = 10", "ROUNDS_A_NOTE = 9")
    assert again() == {"train"}


def test_a_function_that_no_step_calls_does_not_count(again: Again, edited: Edit) -> None:
    edited(TRAINING, "def train(", "def _unused() -> int:\n    return 1\n\n\ndef train(")
    assert again() == set()
    edited(TRAINING, "    return 1\n", "    return 2\n")
    assert again() == set()


def test_a_function_that_another_step_calls_counts_for_that_one_alone(again: Again, edited: Edit) -> None:
    edited("components/serving_folder.py", "VERSION_DIGITS = 8", "VERSION_DIGITS = 4 + 4")
    assert again() == {"push"}


def test_code_edited_back_is_in_the_cache(again: Again) -> None:
    assert again() == set()


def test_touching_files_does_not_count(finished: Project, packages: Path, again: Again) -> None:
    for path in (finished.folder / "sales.csv", packages / TRAINING, finished.folder / "sales.schema.pbtxt"):
        os.utime(path, (time.time() + 5, time.time() + 5))
    assert again() == set()


def test_parameters_count_for_their_step(finished: Project, again: Again) -> None:
    finished.configure(("rounds: 10", "rounds: 11"))
    assert again() >= {"train"}
    assert {"sales", "orders", "statistics", "select"}.isdisjoint(ran(finished))


def test_a_source_that_grows(finished: Project, again: Again) -> None:
    finished.write("sales.csv", SALES + "2000,2024-10-26,5.5,north,a,0\n")
    assert {"sales", "orders", "statistics"} <= again()
    finished.write("sales.csv", SALES)
    assert again("--to", "select") == set()


def test_another_lock(finished: Project, again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.run_facts.of_code", lambda: {"code_commit": "", "code_dirty": 0, "lock_digest": "x"})
    assert again("--to", "orders") == {"sales", "orders"}


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (shutil.rmtree, "is gone"),
    "emptied": (lambda folder: next(folder.iterdir()).unlink(), "is not what it was"),
    "truncated": (lambda folder: os.truncate(next(folder.iterdir()), 9), "is not what it was"),
    "one byte altered": (lambda folder: flip(next(folder.iterdir())), "is not what it was"),
    "something added": (lambda folder: (folder / "more").touch(), "is not what it was"),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    state = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(("spoil", "reason"), SPOILED.values(), ids=SPOILED.keys())
def test_outputs_that_are_not_what_they_were(
    spoil: Callable[[Path], None], reason: str, finished: Project, braid: Braid
) -> None:
    """The step runs again and says so; what it writes being the same, the steps behind it do not."""
    folder = uri_of(finished, "select", "importances")
    spoil(folder)
    outcome = braid("run", str(finished.folder / "sales.yaml"), "--workspace", str(finished.workspace))
    assert ran(finished) == {"select"}
    assert f"not taken from the cache: '{folder}' {reason}" in outcome.out.replace("\n", "")
    assert step_of(finished, "select").properties["cache_unusable"] == f"'{folder}' {reason}"
    assert uri_of(finished, "select", "importances") != folder


@pytest.mark.parametrize("state", ["DELETED", "MARKED_FOR_DELETION"])
def test_what_gc_has_marked_is_not_used(state: str, finished: Project, again: Again) -> None:
    store, output = store_of(finished), step_of(finished, "select").outputs["importances"][0]
    (artifact,) = store.get_artifacts_by_id([output.artifact])
    artifact.state = pb.Artifact.State.Value(state)
    store.put_artifacts([artifact])
    assert again() == {"select"}
    assert step_of(finished, "select").properties["cache_unusable"] == f"'{output.uri}' was removed by gc"


def test_of_large_outputs_files_and_sizes_are_compared(
    finished: Project, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "FULLY_READ_BYTES", 10)
    model = uri_of(finished, "train", "model") / "model.ubj"
    assert again() == set()
    flip(model)
    assert again() == set()
    os.truncate(model, model.stat().st_size - 1)
    assert again() == {"train"}


def test_a_lost_model_is_trained_again_and_its_blessing_still_holds(finished: Project, again: Again) -> None:
    shutil.rmtree(uri_of(finished, "train", "model"))
    assert again() == {"train"}
    assert again() == set()


def test_other_artifacts_with_the_same_content(finished: Project, again: Again) -> None:
    before = step_of(finished, "sales").outputs["table"][0]
    assert again("--from", "sales", "--to", "sales") == {"sales"}
    after = step_of(finished, "sales").outputs["table"][0]
    assert (before.artifact != after.artifact, before.uri != after.uri) == (True, True)
    assert again() == set()
    assert step_of(finished, "orders").properties["cache"] == "hit"


def test_a_source_file_under_another_name(finished: Project, again: Again) -> None:
    finished.write("moved/other.csv", SALES)
    finished.configure(("path: sales.csv", "path: moved/other.csv"))
    assert again() == {"sales"}


def test_a_parquet_file_that_is_read_in_place(finished: Project, again: Again) -> None:
    from pyarrow import csv, parquet

    table = csv.read_csv(finished.folder / "sales.csv")
    for name in ("one.parquet", "two.parquet"):
        parquet.write_table(table, finished.folder / name)
    finished.configure(("path: sales.csv", "path: one.parquet"))
    assert {"sales", "orders"} <= again("--to", "orders")
    finished.configure(("path: sales.csv", "path: two.parquet"))
    assert again("--to", "orders") == {"sales"}
    parquet.write_table(table.slice(1), finished.folder / "two.parquet")
    assert again("--to", "orders") == {"sales", "orders"}


def test_code_that_is_edited_while_a_step_runs(
    finished: Project, again: Again, edited: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the old or the new code has run is not known: nobody reuses what came of it."""
    from components.trainer.executor import Executor

    original = Executor.Do

    def edit_and_do(*arguments: object) -> None:
        edited(TRAINING, "ROUNDS_A_NOTE = ", "ROUNDS_A_NOTE = 3 * ")
        original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Executor, "Do", edit_and_do)
        assert again("--from", "train", "--to", "train") == {"train"}
    properties = step_of(finished, "train").properties
    assert properties["code_edited"] == "components.trainer.training.ROUNDS_A_NOTE"
    assert not properties.get("cache_key")
    assert again("--to", "train") == {"train"}
    assert again("--to", "train") == set()


def test_the_code_of_a_run_is_read_as_it_begins(packages: Path, edited: Edit) -> None:
    code, executor = step_code.StepCode(), "components.trainer.executor.Executor"
    before = code.of(executor)
    edited(TRAINING, "ROUNDS_A_NOTE = 10", "ROUNDS_A_NOTE = 8")
    assert code.of(executor) == before
    assert code.edits(executor) == CodeChange((), (), ("components.trainer.training.ROUNDS_A_NOTE",))


def test_what_was_pushed_is_held_against_what_serves(finished: Project, again: Again) -> None:
    serving = finished.workspace / "sales" / "serving"
    (serving / "current").unlink()
    assert again() == {"push"}
    assert "names no version by now" in str(step_of(finished, "push").properties["cache_unusable"])
    flip((serving / "current" / "model.ubj").resolve())
    assert again() == {"push"}
    assert "is not what was pushed" in str(step_of(finished, "push").properties["cache_unusable"])
    assert again() == set()


def test_going_back_to_an_earlier_configuration(finished: Project, again: Again) -> None:
    """The earlier model is judged against the one that serves, before it may take its place."""
    bar = "\nevaluate: {champion: {at_most_worse: 1.0}}\n"
    current = finished.workspace / "sales" / "serving" / "current"
    finished.configure(more=bar)
    again()
    first = (current / "model.ubj").read_bytes()
    finished.configure(("rounds: 10", "rounds: 13"), more=bar)
    assert again() == {"train", "evaluate", "explain", "push"}
    second = (current / "model.ubj").read_bytes()
    assert first != second
    finished.configure(more=bar)
    assert {"evaluate", "push"} <= again() <= {"evaluate", "push"}
    assert (current / "model.ubj").read_bytes() == first
    assert again() == set()


def test_bytes_are_recorded_as_every_store_takes_them(finished: Project) -> None:
    artifacts = store_of(finished).get_artifacts_by_type("Model")
    assert {artifact.custom_properties["bytes"].WhichOneof("value") for artifact in artifacts} == {"double_value"}


def test_two_programs_that_register_the_same_key(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfx.orchestration import metadata

    from pipeline.cache_key import CacheKey

    key = CacheKey("c", {}, {}, {}, {"race": "1"})
    with metadata.Metadata(stores.connection_config(Workspace(str(finished.workspace)).store, read_only=False)) as one:
        made = caching.register(one, key)
        find = one.store.get_context_by_type_and_name
        answers = iter([None])  # the other program's key is not there yet as this one looks
        monkeypatch.setattr(
            one.store, "get_context_by_type_and_name", lambda *names: next(answers, None) or find(*names)
        )
        assert caching.register(one, key).id == made.id
