"""A run that failed or was cut off goes on from its first unfinished step; `--from`, `--to` and `--only`."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from sales_project import Braid, Outcome, Project, assert_nothing_half_written, latest, states

from components.trainer.executor import Executor as Trainer
from pipeline import runs, stores
from pipeline.cli.main import main
from pipeline.lineage.archive import RUN
from pipeline.workspace import Workspace

PLACE = ("--workspace", "ws")
LOW_BAR = "\nevaluate: {champion: {at_most_worse: 1.0}}\n"


class BrokenError(Exception):
    """What the patched Trainer raises."""


@pytest.fixture
def train_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the Trainer fail, after it has written its model; call the fixture to mend it."""
    original = Trainer.Do

    def fail(*arguments: object) -> None:
        original(*arguments)
        raise BrokenError("no answer from https://user:secret@example.org/x")

    monkeypatch.setattr(Trainer, "Do", fail)
    return lambda: monkeypatch.setattr(Trainer, "Do", original)


@pytest.fixture
def resume(braid: Braid) -> Callable[..., Outcome]:
    def command(*options: str, run: str = "latest") -> Outcome:
        return braid("run", "sales.yaml", *PLACE, "--resume", run, *options)

    return command


Resume = Callable[..., Outcome]


def store_of(project: Project) -> object:
    return stores.open_store(Workspace(str(project.workspace)).store, read_only=False)


def names(project: Project) -> list[str]:
    return runs.names(stores.open_store(Workspace(str(project.workspace)).store))


def test_a_failed_run_goes_on(project: Project, braid: Braid, resume: Resume, train_fails: Callable[[], None]) -> None:
    failed = braid()
    run = latest(project.workspace)
    assert (failed.code, run.state) == (1, "FAILED")
    assert failed.err.splitlines()[-2:] == [
        f"Go on:  braid run sales.yaml --workspace ws --resume {run.name}",
        f"Debug:  braid debug {run.name}/train --workspace ws",
    ]
    train_fails()
    mended = braid(*shlex.split(failed.err.splitlines()[-2].removeprefix("Go on:  braid ")))
    assert (mended.code, mended.err) == (0, "")
    assert f"Run {run.name} goes on: 5 of 12 steps of sales.yaml" in mended.out
    assert names(project) == [run.name]
    found = latest(project.workspace)
    assert found.state == "COMPLETE"
    assert [(attempt.name, attempt.state) for attempt in found.attempts] == [("train", "FAILED")]
    before = {step.name: step.execution for step in run.steps if step.ended_well}
    assert before.items() <= {step.name: step.execution for step in found.steps}.items()
    assert (project.folder / "sales.schema.pbtxt").exists(), "the schema that the run has inferred is the user's now"
    assert_nothing_half_written(project.workspace)
    assert braid().code == 0
    assert set(states(latest(project.workspace)).values()) == {"CACHED"}


def test_what_failed_is_kept_and_named(project: Project, braid: Braid, train_fails: Callable[[], None]) -> None:
    braid()
    step = latest(project.workspace).step("train")
    assert step is not None and step.outputs == {}, "nobody takes it for an output"
    traceback = Path(str(step.properties["traceback"])).read_text()
    assert "BrokenError: no answer from https://example.org/x" in traceback
    assert "secret" not in traceback
    store = store_of(project)
    events = store.get_events_by_execution_ids([step.execution])  # type: ignore[attr-defined]
    by_type = {pb.Event.Type.Name(event.type): event for event in events}
    assert set(by_type) == {"INPUT", "PENDING_OUTPUT"}
    (model,) = store.get_artifacts_by_id([by_type["PENDING_OUTPUT"].artifact_id])  # type: ignore[attr-defined]
    assert model.state == pb.Artifact.ABANDONED
    assert {file.name for file in Path(model.uri).iterdir()} == {"model.ubj", "contract.json"}


def test_a_model_of_a_failed_step_is_no_champion(
    project: Project, braid: Braid, train_fails: Callable[[], None]
) -> None:
    braid()
    train_fails()
    project.configure(("rounds: 10", "rounds: 12"))
    assert "There is none yet" in braid().out


def test_a_run_that_was_mended_is_a_new_run_that_says_why(project: Project, braid: Braid, resume: Resume) -> None:
    project.configure(("late = 1 AS late", "true AS late, amount AS of_old"))
    assert braid().code == 1
    failed = names(project)
    project.configure()
    mended = resume()
    assert (mended.code, mended.err) == (0, "")
    told = f"Run {failed[0]} cannot go on as it was: step 'orders' has changed: parameter 'config'. This is a new run"
    assert told in mended.out
    assert len(names(project)) == 2
    assert states(latest(project.workspace))["sales"] == "CACHED"
    schema = (project.folder / "sales.schema.pbtxt").read_text()
    assert 'name: "late"' in schema and "of_old" not in schema, "it was inferred anew"
    assert_nothing_half_written(project.workspace)


CHANGES: dict[str, tuple[Callable[[Project], None], str]] = {
    "a parameter of a finished step": (
        lambda project: project.configure(("exclude: [id, day]", "exclude: [id]")),
        "step 'validate' has changed: parameter 'config'",
    ),
    "a source": (
        lambda project: (
            project.write("sales.csv", (project.folder / "sales.csv").read_text() + "9,2024-10-26,5,x,a,0\n") and None
        ),
        "step 'sales' has changed: parameter 'files', parameter 'fingerprint'",
    ),
    "outputs that are gone": (
        lambda project: shutil.rmtree(output_of(project, "statistics", "statistics")),
        "step 'statistics' cannot be used any more: '",
    ),
    "outputs that were altered": (
        lambda project: Path(output_of(project, "select", "importances"), "importances.json").write_text("{}") and None,
        "step 'select' cannot be used any more: '",
    ),
    "a step that is no more": (
        lambda project: project.configure(
            ("  orders:\n", "  others:\n"), ("table: orders", "table: others"), ("FROM sales", "FROM sales WHERE true")
        ),
        "the pipeline has no step 'orders' any more",
    ),
}


def output_of(project: Project, step: str, key: str) -> str:
    found = latest(project.workspace).step(step)
    assert found is not None
    return found.outputs[key][0].uri


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_what_has_changed_since_makes_a_new_run(
    change: Callable[[Project], None],
    reason: str,
    project: Project,
    braid: Braid,
    resume: Resume,
    train_fails: Callable[[], None],
) -> None:
    braid()
    (failed,) = names(project)
    train_fails()
    change(project)
    outcome = resume("--to", "select")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"Run {failed} cannot go on as it was: {reason}")
    assert len(names(project)) == 2


def test_another_lock_makes_a_new_run(
    project: Project, braid: Braid, resume: Resume, train_fails: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    braid()
    monkeypatch.setattr("pipeline.run_facts.of_code", lambda: {"code_commit": "", "code_dirty": 0, "lock_digest": "x"})
    assert "step 'sales' has changed: environment 'lock'" in resume("--to", "sales").out


def test_a_champion_that_was_blessed_meanwhile_makes_a_new_run(
    project: Project, braid: Braid, resume: Resume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The candidate must be judged against the model that serves, not against the one that served when it was trained."""
    from components.pusher.executor import Executor as Pusher

    original = Pusher.Do
    assert braid("run", "sales.yaml", *PLACE, "--to", "schema").code == 0
    project.configure(("rounds: 10", "rounds: 11"), more=LOW_BAR)
    with monkeypatch.context() as patched:
        patched.setattr(Pusher, "Do", lambda *_: shutil.rmtree("nowhere"))
        assert braid().code == 1
    cut_off = names(project)[0]
    assert Pusher.Do is original
    project.configure(more=LOW_BAR)
    assert braid().code == 0
    project.configure(("rounds: 10", "rounds: 11"), more=LOW_BAR)
    outcome = resume(run=cut_off)
    assert outcome.code == 0, outcome.err
    assert "step 'champion' looks up other artifacts of earlier runs by now" in outcome.out
    found = latest(project.workspace)
    assert (found.name != cut_off, states(found)["train"], states(found)["evaluate"]) == (True, "CACHED", "COMPLETE")


def test_a_finished_run_has_nothing_left_to_do(project: Project, braid: Braid, resume: Resume) -> None:
    braid()
    run = latest(project.workspace)
    outcome = resume()
    assert outcome.code == 0
    told = f"Run {run.name} is finished, and nothing has changed since: there is nothing to do."
    assert told in outcome.out
    assert latest(project.workspace) == run


def test_a_run_that_is_not_there(project: Project, braid: Braid, resume: Resume) -> None:
    assert "nothing has been recorded" in resume().err
    braid("run", "sales.yaml", *PLACE, "--to", "sales")
    (name,) = names(project)
    outcome = resume(run=f"{name[:-1]}x")
    assert outcome.code == 1
    assert f"There is no run '{name[:-1]}x'. Did you mean '{name}'?" in outcome.err
    assert names(project) == [name]


def test_runs_of_other_pipelines(project: Project, braid: Braid, resume: Resume) -> None:
    braid("run", "sales.yaml", *PLACE, "--to", "sales")
    (mine,) = names(project)
    project.write("other.yaml", (project.folder / "sales.yaml").read_text().replace("name: sales", "name: sales_eu"))
    braid("run", "other.yaml", *PLACE, "--to", "sales")
    others = names(project)[0]
    outcome = resume(run=others)
    assert outcome.code == 1
    assert f"Run '{others}' is one of pipeline 'sales_eu', not of 'sales'." in outcome.err
    assert f"Run {mine} goes on: 1 of 2 steps" in resume("--to", "orders").out, "'latest' is the pipeline's own"


def test_a_pipeline_that_has_not_run(project: Project, braid: Braid) -> None:
    braid("run", "sales.yaml", *PLACE, "--to", "sales")
    project.write("other.yaml", (project.folder / "sales.yaml").read_text().replace("name: sales", "name: sales_eu"))
    outcome = braid("run", "other.yaml", *PLACE, "--resume", "latest")
    assert (outcome.code, outcome.err) == (1, "Error: Pipeline 'sales_eu' has not run here yet.\nLeave --resume out.\n")


def test_a_run_that_was_cut_off_before_its_first_step(project: Project, braid: Braid, resume: Resume) -> None:
    braid("run", "sales.yaml", *PLACE, "--to", "sales")
    store = store_of(project)
    kind = store.get_context_type(RUN).id  # type: ignore[attr-defined]
    empty = "sales-20990101-000000-000"
    store.put_contexts([pb.Context(type_id=kind, name=empty)])  # type: ignore[attr-defined]
    assert resume("--to", "sales").code == 0
    found = latest(project.workspace)
    assert (found.name, states(found)) == (empty, {"sales": "CACHED"})


def test_a_run_of_another_workspace_of_the_same_store(project: Project, braid: Braid) -> None:
    shared = ("--store", "shared.sqlite")
    for workspace in ("one", "two"):
        assert braid("run", "sales.yaml", "--workspace", workspace, *shared, "--to", "sales").code == 0
    second, first = runs.names(stores.open_store(Workspace(str(project.folder / "one")).store))
    outcome = braid("run", "sales.yaml", "--workspace", "one", *shared, "--resume", second)
    assert outcome.code == 1
    assert f"Run '{second}' was recorded by another workspace of this metadata store." in outcome.err
    latest_of_one = braid("run", "sales.yaml", "--workspace", "one", *shared, "--resume", "latest", "--to", "orders")
    assert f"Run {first} goes on: 1 of 2 steps" in latest_of_one.out


def test_only_a_step(project: Project, braid: Braid) -> None:
    braid()
    outcome = braid("run", "sales.yaml", *PLACE, "--only", "select")
    assert outcome.code == 0
    found = latest(project.workspace)
    before = ("sales", "orders", "statistics", "schema", "validate")
    assert states(found) == {**dict.fromkeys(before, "CACHED"), "select": "COMPLETE"}
    select = found.step("select")
    assert select is not None and (select.properties["forced"], select.properties["cache"]) == ("--only select", "miss")


def test_only_a_step_with_nothing_to_take_the_others_from(project: Project, braid: Braid) -> None:
    outcome = braid("run", "sales.yaml", *PLACE, "--only", "select")
    found = latest(project.workspace)
    assert (outcome.code, found.state, states(found)) == (1, "FAILED", {"sales": "FAILED"})
    assert outcome.err.startswith("Error: Step 'sales' would have to run: as it is now, it is not in the cache.")
    assert f"`braid explain {found.name}/sales`" in outcome.err
    assert "Go on:" not in outcome.err
    step = found.step("sales")
    assert step is not None and step.properties["error_type"] == "NotReusableError"
    assert_nothing_half_written(project.workspace)
    assert braid().code == 0


def test_only_a_step_when_an_input_is_gone(project: Project, braid: Braid) -> None:
    braid()
    folder = output_of(project, "orders", "examples")
    shutil.rmtree(folder)
    outcome = braid("run", "sales.yaml", *PLACE, "--only", "select")
    assert outcome.code == 1
    assert f"Step 'orders' would have to run: '{folder}' is gone." in outcome.err


def test_from_a_step_and_to_another(project: Project, braid: Braid) -> None:
    braid()
    assert braid("run", "sales.yaml", *PLACE, "--from", "statistics", "--to", "validate").code == 0
    found = latest(project.workspace)
    forced = dict.fromkeys(("statistics", "schema", "validate"), "COMPLETE")
    assert states(found) == {"sales": "CACHED", "orders": "CACHED", **forced}
    assert {step.properties.get("forced") for step in found.steps} == {None, "--from statistics"}


def test_a_forced_run_that_failed_goes_on(project: Project, braid: Braid, train_fails: Callable[[], None]) -> None:
    failed = braid("run", "sales.yaml", *PLACE, "--from", "select", "--set", "train.rounds=7", "--workers", "1")
    run = latest(project.workspace)
    again = f"braid run sales.yaml --set train.rounds=7 --workspace ws --resume {run.name} --from select"
    assert f"Go on:  {again}\n" in failed.err
    train_fails()
    assert braid(*shlex.split(again)[1:]).code == 0
    found = latest(project.workspace)
    assert (found.name, found.state) == (run.name, "COMPLETE")
    assert found.step("select") == run.step("select"), "what had been forced and finished is not forced again"
    assert braid(*shlex.split(again)[1:]).code == 0
    assert latest(project.workspace) == found


def test_a_finished_step_that_is_to_run_again_makes_a_new_run(
    project: Project, resume: Resume, braid: Braid, train_fails: Callable[[], None]
) -> None:
    braid()
    train_fails()
    outcome = resume("--from", "select")
    assert outcome.code == 0
    assert "'select' had finished and is to run again" in outcome.out
    assert len(names(project)) == 2


def test_unknown_steps(project: Project, braid: Braid, resume: Resume) -> None:
    braid("run", "sales.yaml", *PLACE, "--to", "sales")
    outcome = resume("--to", "order")
    assert (outcome.code, outcome.err.splitlines()[0]) == (
        1,
        "Error: --to: the pipeline has no step 'order'. Did you mean 'orders'?",
    )
    assert len(names(project)) == 1


def test_the_commands_to_go_on_can_be_pasted(
    project: Project, capsys: pytest.CaptureFixture[str], train_fails: Callable[[], None]
) -> None:
    os.rename("sales.yaml", "my sales.yaml")
    project.write("more.yaml", "train: {rounds: 8}\n")
    with pytest.raises(SystemExit):
        main(["run", "my sales.yaml", "--workspace", "my place", "--overlay", "more.yaml", "--set", "train.seed=3"])
    *_, again, debug = capsys.readouterr().err.splitlines()
    train_fails()
    main(shlex.split(again.removeprefix("Go on:  braid ")))
    assert states(latest(project.folder / "my place"))["push"] == "COMPLETE"
    assert shlex.split(debug)[-2:] == ["--workspace", "my place"]


def test_an_executor_that_answers_with_an_error_code(
    project: Project, braid: Braid, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfx.proto.orchestration import execution_result_pb2

    def answer(*_: object) -> execution_result_pb2.ExecutorOutput:
        result = execution_result_pb2.ExecutionResult(code=3, result_message="out of luck")
        return execution_result_pb2.ExecutorOutput(execution_result=result)

    monkeypatch.setattr(Trainer, "Do", answer)
    outcome = braid()
    assert outcome.code == 1
    assert "out of luck" in outcome.err and "Go on:" in outcome.err


def test_the_resumed_run_counts_how_often(
    project: Project, braid: Braid, resume: Resume, train_fails: Callable[[], None]
) -> None:
    braid()
    resume()
    train_fails()
    resume()
    context = store_of(project).get_context_by_type_and_name(RUN, names(project)[0])  # type: ignore[attr-defined]
    assert context.custom_properties["resumed"].int_value == 2
