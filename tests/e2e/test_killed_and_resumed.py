"""`kill -9` at any moment of a run: `--resume` finishes it, and what comes out is what an undisturbed run writes."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from forked_runs import Ended, ForkedRuns
from sales_project import Project, assert_nothing_half_written, contents, latest, sales_lines

from beam_jobs.folder_digest import folder_digest
from pipeline import collecting, stores
from pipeline.errors import NothingRecordedError
from pipeline.lineage import retention
from pipeline.lineage.archive import Archive
from pipeline.lineage.keeping import Policy
from pipeline.lineage.output_folders import output_folders
from pipeline.workspace import Workspace

RUN = ("run", "sales.yaml", "--workspace", "ws", "--workers", "1")
RESUME = (*RUN, "--resume", "latest")
MOMENTS = 50


@dataclass(frozen=True)
class Results:
    """All that a run leaves: the digest of every output, what serves, the schema file that it inferred."""

    outputs: dict[str, str]
    serving: str
    schema: str


@dataclass(frozen=True)
class Trial:
    """A project and a process that runs `braid` in its folder."""

    project: Project
    runs: ForkedRuns

    def braid(self, *arguments: str, kill_after: float | None = None) -> Ended:
        return self.runs.braid(*arguments, cwd=self.project.folder, kill_after=kill_after)

    def begin_anew(self) -> None:
        shutil.rmtree(self.project.workspace, ignore_errors=True)
        (self.project.folder / "sales.schema.pbtxt").unlink(missing_ok=True)

    def results(self) -> Results:
        schema = (self.project.folder / "sales.schema.pbtxt").read_text()
        serving = folder_digest(str(self.project.workspace / "sales" / "serving"))
        return Results(contents(latest(self.project.workspace)), serving.digest, schema.partition("feature")[2])

    def finished(self) -> dict[str, int]:
        """The execution of each step that ended well in the only run; nothing where the store has no run."""
        try:
            found = latest(self.project.workspace)
        except NothingRecordedError:
            return {}
        return {step.name: step.execution for step in found.steps if step.ended_well}

    def is_recorded(self) -> bool:
        try:
            return bool(Archive(self.store()).runs())
        except NothingRecordedError:
            return False

    def store(self) -> object:
        return stores.open_store(Workspace(str(self.project.workspace)).store)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    project = Project(tmp_path_factory.mktemp("killed"))
    project.configure(("rounds: 10", "rounds: 5\n  threads: 1"))
    project.write("sales.csv", "\n".join(sales_lines(500)) + "\n")
    with ForkedRuns(project.folder / "log") as runs:
        yield Trial(project, runs)


@pytest.fixture(scope="module")
def undisturbed(trial: Trial) -> tuple[Results, float]:
    """What comes of a run that nobody kills, and how long it takes."""
    found = []
    for _ in range(2):
        trial.begin_anew()
        ended = trial.braid(*RUN)
        assert ended.code == 0, ended.told
        found.append((trial.results(), ended.seconds))
    assert found[0][0] == found[1][0]
    return found[0][0], min(seconds for _, seconds in found)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tenth", range(10))
def test_killed_at_random_moments(tenth: int, trial: Trial, undisturbed: tuple[Results, float]) -> None:
    expected, seconds = undisturbed
    chance = random.Random(tenth)
    for _ in range(MOMENTS // 10):
        moment = chance.uniform(tenth, tenth + 1) / 10 * seconds
        trial.begin_anew()
        trial.braid(*RUN, kill_after=moment)
        assert_finished_by_resume(trial, f"killed after {moment:.3f} of {seconds:.2f} s")
        assert trial.results() == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_again_while_it_is_resumed(trial: Trial, undisturbed: tuple[Results, float]) -> None:
    expected, seconds = undisturbed
    chance = random.Random(0)
    trial.begin_anew()
    trial.braid(*RUN, kill_after=seconds / 3)
    for _ in range(3):
        trial.braid(*(RESUME if trial.is_recorded() else RUN), kill_after=chance.uniform(0.3, 0.6) * seconds)
    assert_finished_by_resume(trial, "killed four times")
    assert trial.results() == expected


def assert_finished_by_resume(trial: Trial, when: str) -> None:
    before = trial.finished()
    ended = trial.braid(*(RESUME if trial.is_recorded() else RUN))
    assert ended.code == 0, f"{when}\n{ended.told}"
    assert "cannot go on" not in ended.told, f"{when}\n{ended.told}"
    after = trial.finished()
    assert before.items() <= after.items(), f"{when}: finished steps ran again"
    assert_each_step_ended_once(trial)
    assert_nothing_half_written(trial.project.workspace)
    assert_gc_finds_all_that_is_left(trial)


def assert_each_step_ended_once(trial: Trial) -> None:
    archive = Archive(trial.store())
    (run,) = archive.runs()
    executions = archive.executions_of(run)
    counts = Counter(one.step for one in executions if one.state in ("COMPLETE", "CACHED"))
    assert set(counts.values()) == {1}, counts
    assert {one.state for one in executions} <= {"COMPLETE", "CANCELED"}


def assert_gc_finds_all_that_is_left(trial: Trial) -> None:
    """What a killed attempt leaves is swept by the next run; should anything stay, it is for gc to see."""
    archive, workspace = Archive(trial.store()), Workspace(str(trial.project.workspace))
    roots = collecting.roots(archive, workspace)
    planned = {one.path for one in retention.plan(archive, roots, Policy(failed_days=0, now=4e9)).removals}
    artifacts = archive.artifacts([proto.id for proto in archive.store.get_artifacts()])
    others = [one for one in output_folders(archive, roots, artifacts) if one.owner not in ("artifact", "execution")]
    assert [one.path for one in others if one.path not in planned] == []
    hidden = [path for path in (trial.project.workspace / "sales").rglob(".*") if path.name != ".system"]
    assert hidden == []
