"""The search itself, over a function that costs nothing."""

import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from components.errors import DivergedError, StepError
from components.pruning import PrunedError
from components.tuner.spaces import Choice, Range
from components.tuner.study import STUDY, Outcome, Report, Search, Trial, best_of, require, run

SPACE = {"x": Range(-4.0, 4.0), "n": Range(1, 8, whole=True), "kind": Choice(("plain", "odd"))}
SEARCH = Search(SPACE, trials=14, seed=3, spared_steps=2)
STEPS = 6


class KilledError(BaseException):
    """In place of a kill: nothing catches it."""


def bowl(parameters: dict[str, Any], report: Report) -> Outcome:
    """Has its least value, 0, at x = 1, n = 3, plain; comes nearer to it with each step."""
    target = (parameters["x"] - 1) ** 2 + abs(parameters["n"] - 3) + (parameters["kind"] == "odd")
    for step in range(STEPS):
        if report(step, target + 1 / (step + 1)):
            raise PrunedError
    return Outcome(target, STEPS)


def cut_off(at: int, step: int) -> Callable[[dict[str, Any], Report], Outcome]:
    """The same, but its process ends in a step of the trial that is begun as the so-manieth."""
    begun = iter(range(1_000))

    def objective(parameters: dict[str, Any], report: Report) -> Outcome:
        number = next(begun)

        def reporting(at_step: int, value: float) -> bool:
            pruned = report(at_step, value)
            if (number, at_step) == (at, step):
                raise KilledError
            return pruned

        return bowl(parameters, reporting)

    return objective


def told(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(trial.number, trial.state, trial.parameters, trial.value, trial.rounds) for trial in trials]


def test_it_comes_nearer_and_prunes_what_falls_behind() -> None:
    trials = run(SEARCH, bowl)
    assert [trial.number for trial in trials] == list(range(14))
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    assert all(3 <= trial.rounds < STEPS for trial in trials if trial.state == "pruned")
    best = require(best_of(trials, greater_is_better=False), trials)
    assert best.value == min(trial.value for trial in trials if trial.state == "complete" and trial.value is not None)
    assert best.value < trials[0].value
    assert {trial.state for trial in run(Search(SPACE, 14, seed=3, prune=False), bowl)} == {"complete"}


def test_it_is_the_same_each_time_in_memory_or_in_a_file_and_another_with_another_seed(tmp_path: Path) -> None:
    trials = told(run(SEARCH, bowl))
    assert told(run(SEARCH, bowl, str(tmp_path / "a b?c#d%20"))) == trials
    assert told(run(Search(SPACE, 14, seed=4), bowl)) != trials


def test_the_first_trial_is_the_trainers_own_where_the_space_holds_it() -> None:
    own = {"x": 0.5, "n": 4, "kind": "odd", "other": 1}
    (first,) = run(Search(SPACE, 1, first=own), bowl)
    assert first.parameters == {"x": 0.5, "n": 4, "kind": "odd"}
    (first,) = run(Search(SPACE, 1, first={**own, "x": 9.0}), bowl)
    assert first.parameters["x"] != 9.0


def test_where_more_is_better() -> None:
    def upside_down(parameters: dict[str, Any], report: Report) -> Outcome:
        return Outcome(-bowl(parameters, lambda *_: False).value, STEPS)

    trials = run(Search(SPACE, 14, seed=3, greater_is_better=True), upside_down)
    best = require(best_of(trials, greater_is_better=True), trials)
    assert best.value == max(trial.value for trial in trials if trial.value is not None) > -2


@pytest.mark.parametrize(("at", "step"), [(0, 0), (1, 3), (5, 1), (11, 5)])
def test_cut_off_and_begun_anew_it_ends_with_the_same_trials(at: int, step: int, tmp_path: Path) -> None:
    folder, own = str(tmp_path), {"x": 0.5, "n": 4, "kind": "odd"}
    search = Search(SPACE, 14, seed=3, spared_steps=2, first=own)
    with pytest.raises(KilledError):
        run(search, cut_off(at, step), folder)
    with pytest.raises(KilledError):  # again, in the trial after it
        run(search, cut_off(1, 0), folder)
    tried: list[int] = []
    resumed = run(search, bowl, folder, lambda _, number, step, __: tried.append(number) if step == 0 else None)
    assert tried == list(range(at + 1, 14))
    assert told(resumed) == told(run(search, bowl))


def test_killed_at_any_write(tmp_path: Path) -> None:
    """Also a trial that lies half in the file, or waits there, is tried as if nothing had been."""
    search, moments = (
        replace(SEARCH, first={"x": 0.5, "n": 4, "kind": "odd"}),
        random.Random(0).sample(range(4, 120), 4),
    )
    whole = told(run(search, bowl))
    for moment in moments:
        folder, writes = str(tmp_path / str(moment)), iter(range(1_000))

        def kill(_: Any, moment: int = moment, writes: Iterator[int] = writes) -> None:
            if next(writes) == moment:
                raise KilledError

        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", kill)
        try:
            with pytest.raises(KilledError):
                run(search, bowl, folder)
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "commit", kill)
        assert told(run(search, bowl, folder)) == whole, f"killed at write {moment}"


def test_a_finished_search_runs_nothing(tmp_path: Path) -> None:
    trials = told(run(SEARCH, bowl, str(tmp_path)))

    def never(*_: Any) -> Outcome:
        raise AssertionError

    assert told(run(SEARCH, never, str(tmp_path))) == trials


def test_a_study_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / STUDY).write_bytes(b"no database, but long enough to be taken for one" * 100)
    assert told(run(SEARCH, bowl, str(tmp_path))) == told(run(SEARCH, bowl))


def test_optunas_own_tools_open_the_study(tmp_path: Path) -> None:
    run(SEARCH, bowl, str(tmp_path))
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / STUDY}")
    study = optuna.load_study(study_name=None, storage=storage)
    assert len(study.trials) == 14
    storage.remove_session()
    storage.engine.dispose()


def test_several_trials_at_a_time(tmp_path: Path) -> None:
    """Each waits for the other, so they are under way at once; all places are taken once."""
    meeting = threading.Barrier(2, timeout=60)

    def together(parameters: dict[str, Any], report: Report) -> Outcome:
        meeting.wait()
        return bowl(parameters, report)

    trials = run(Search(SPACE, 8, jobs=2), together, str(tmp_path))
    assert [trial.number for trial in trials] == list(range(8))


def test_one_of_several_that_fails_ends_all() -> None:
    def refused(parameters: dict[str, Any], report: Report) -> Outcome:
        if parameters["n"] > 4:
            raise StepError("no memory")
        return bowl(parameters, report)

    with pytest.raises(StepError, match="no memory"):
        run(Search(SPACE, 100, jobs=3), refused)


def test_what_diverges_is_told_and_the_search_goes_on() -> None:
    def fragile(parameters: dict[str, Any], report: Report) -> Outcome:
        if parameters["x"] > 0:
            report(0, math.inf)
            raise DivergedError("nan")
        return bowl(parameters, report)

    trials = run(SEARCH, fragile)
    diverged = [trial for trial in trials if trial.state == "diverged"]
    assert diverged and all(trial.value is None and trial.parameters["x"] > 0 for trial in diverged)
    assert require(best_of(trials, False), trials).parameters["x"] <= 0


def test_a_search_in_which_nothing_went_through_says_so() -> None:
    def hopeless(*_: Any) -> Outcome:
        raise DivergedError("nan")

    trials = run(Search(SPACE, 5), hopeless)
    with pytest.raises(StepError, match="none of the 5 trials came to a value"):
        require(best_of(trials, False), trials)
