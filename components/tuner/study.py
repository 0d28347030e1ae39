"""A search by Optuna, whose study lies in a file: killed and begun anew, it ends with the same parameters.

Each trial has a place, from 0, and draws from a seed of that place and from the trials that ended before it. So what is
drawn does not depend on the process, and a trial that was cut off is tried again with the same parameters.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from beam_jobs import storage as files
from components.errors import DivergedError, StepError
from components.pruning import PrunedError
from components.tuner.spaces import Choice, Range, Space, decoded, encoded

STUDY = "study.db"
NAME = "tuning"
PLACE, ROUNDS, DIVERGED = "place", "rounds", "diverged"
STARTUP_SHARE, STARTUP_MOST, STARTUP_LEAST = 3, 10, 4
COMPARED_LEAST = 4
"""So many trials must have ended before any is pruned."""
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)

Report = Callable[[int, float], bool]
"""Is told a step and the metric there; True means that the trial is not worth going on."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial that went through.

    Attributes:
      rounds: boosting rounds or epochs that were run.
    """

    value: float
    rounds: int


Objective = Callable[[dict[str, Any], Report], Outcome]
"""Tries parameters; raises PrunedError when the report says so, DivergedError when there is no value."""


@dataclass(frozen=True)
class Search:
    """How to search.

    Attributes:
      first: the parameters of the first trial, those that the trainer has without a search.
      spared_steps: a trial is not pruned before this step.
    """

    space: Space
    trials: int
    jobs: int = 1
    seed: int = 0
    prune: bool = True
    greater_is_better: bool = False
    first: Mapping[str, Any] | None = None
    spared_steps: int = 0


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
      number: from 0.
      state: 'complete', 'pruned' when it fell behind, or 'diverged' when it came to no number.
      value: the metric; of a pruned one the best that it had reported.
    """

    number: int
    state: str
    parameters: dict[str, Any]
    value: float | None
    rounds: int
    seconds: float


Listener = Callable[[Sequence[Trial], int, int, float | None], None]
"""Is told the ended trials, a trial's number, its step and the metric there; step 0 as it begins."""


def run(search: Search, objective: Objective, folder: str = "", listener: Listener | None = None) -> list[Trial]:
    """Runs all trials, those that an earlier process has ended excepted.

    Args:
      search: what and how.
      objective: one trial.
      folder: of the study's file; '' to keep it in memory.
      listener: hears how far it is.

    Returns:
      Every trial by its number.

    Raises:
      StepError: the objective did.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _storage(folder) as storage:
        return _Running(search, objective, storage, listener).all_trials()


def best_of(trials: Sequence[Trial], greater_is_better: bool) -> Trial | None:
    """The first of the best trials that went through."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    sign = -1.0 if greater_is_better else 1.0
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)


@contextmanager
def _storage(folder: str) -> Iterator[Any]:
    if not folder or files.is_remote(folder):
        yield optuna.storages.InMemoryStorage()
        return
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/{STUDY}"
    try:
        opened = _open(path)
    except (sqlalchemy.exc.DatabaseError, RuntimeError, ValueError):  # it was not written to its end: begin anew
        os.remove(path)
        opened = _open(path)
    try:
        yield opened
    finally:
        opened.remove_session()
        opened.engine.dispose()


def _open(path: str) -> Any:
    url = sqlalchemy.engine.URL.create("sqlite", database=path).render_as_string()
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})


class _Running:
    """A search under way; Optuna's study is touched by one thread at a time."""

    def __init__(self, search: Search, objective: Objective, storage: Any, listener: Listener | None) -> None:
        self.search, self.objective, self.listener = search, objective, listener
        self.distributions = {name: _distribution(part) for name, part in search.space.items()}
        direction = StudyDirection.MAXIMIZE if search.greater_is_better else StudyDirection.MINIMIZE
        pruner = optuna.pruners.MedianPruner(COMPARED_LEAST, search.spared_steps) if search.prune else None
        self.study = optuna.create_study(
            storage=storage,
            study_name=NAME,
            direction=direction,
            load_if_exists=True,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        self.lock, self.stopped = threading.RLock(), threading.Event()
        self.cut_off = self._retired()
        ended = {trial.number for trial in self.ended()}
        self.places = iter([place for place in range(search.trials) if place not in ended])

    def all_trials(self) -> list[Trial]:
        """Runs what is left to run."""
        if self.search.jobs == 1:
            self._work()
        else:
            with ThreadPoolExecutor(self.search.jobs, "trial") as pool:
                self._wait([pool.submit(self._work) for _ in range(self.search.jobs)])
        return self.ended()

    def _wait(self, workers: list[Future[None]]) -> None:
        try:
            done, _ = wait(workers, return_when=FIRST_EXCEPTION)
        finally:
            self.stopped.set()  # a trial that still runs ends at its next report
        for worker in done:
            worker.result()

    def _work(self) -> None:
        while not self.stopped.is_set():
            with self.lock:
                place = next(self.places, None)
                if place is None:
                    return
                trial = self._begun(place)
            self._try(trial, place)

    def _begun(self, place: int) -> Any:
        """Draws a trial's parameters."""
        startup = max(STARTUP_LEAST, min(STARTUP_MOST, self.search.trials // STARTUP_SHARE))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=startup,
                multivariate=True,
                constant_liar=self.search.jobs > 1,
                seed=(self.search.seed * 1_000_003 + place) % 2**32,
            )
        given = self.cut_off.get(place) or (self._first() if place == 0 else None)
        if given:
            self.study.enqueue_trial(given)
        trial = self.study.ask(self.distributions)
        trial.set_user_attr(PLACE, place)
        return trial

    def _first(self) -> dict[str, Any] | None:
        return encoded(self.search.space, self.search.first or {})

    def _try(self, trial: Any, place: int) -> None:
        steps = [0]

        def report(step: int, value: float) -> bool:
            steps[0] = step + 1
            with self.lock:
                trial.report(value, step)
                self._tell(place, step + 1, value)
                return self.stopped.is_set() or bool(trial.should_prune())

        with self.lock:
            self._tell(place, 0, None)
        try:
            outcome = self.objective(decoded(self.search.space, trial.params), report)
        except (PrunedError, DivergedError) as given_up:
            if self.stopped.is_set():
                return  # not by its own fault
            with self.lock:
                trial.set_user_attr(DIVERGED, isinstance(given_up, DivergedError))
                trial.set_user_attr(ROUNDS, steps[0])
                self.study.tell(trial, state=TrialState.PRUNED)
            return
        with self.lock:
            trial.set_user_attr(ROUNDS, outcome.rounds)
            self.study.tell(trial, outcome.value)

    def _tell(self, place: int, step: int, value: float | None) -> None:
        if self.listener is not None:
            self.listener(self.ended(), place, step, value)

    def ended(self) -> list[Trial]:
        """Those that have ended, by number."""
        found = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state in _ENDED]
        return sorted((self._record(trial) for trial in found), key=lambda trial: trial.number)

    def _record(self, trial: FrozenTrial) -> Trial:
        attributes, duration = trial.user_attrs, trial.duration
        state = "complete" if trial.state is TrialState.COMPLETE else "pruned"
        reported = list(trial.intermediate_values.values())
        value = trial.value if state == "complete" else self._best(reported)
        diverged = bool(attributes.get(DIVERGED))
        return Trial(
            number=int(attributes[PLACE]),
            state="diverged" if diverged else state,
            parameters=decoded(self.search.space, {name: trial.params[name] for name in self.search.space}),
            value=None if diverged else value,
            rounds=int(attributes.get(ROUNDS, 0)),
            seconds=round(duration.total_seconds(), 3) if duration else 0.0,
        )

    def _best(self, values: list[float]) -> float | None:
        return (max if self.search.greater_is_better else min)(values, default=None)

    def _retired(self) -> dict[int, dict[str, Any]]:
        """Marks trials that another process has begun as failed; returns the parameters of each place's last one."""
        while any(trial.state is TrialState.WAITING for trial in self.study.get_trials(deepcopy=False)):
            self.study.tell(self.study.ask(), state=TrialState.FAIL)
        found: dict[int, dict[str, Any]] = {}
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state is TrialState.RUNNING:
                self.study.tell(trial.number, state=TrialState.FAIL)
            if trial.state not in _ENDED and PLACE in trial.user_attrs and set(trial.params) == set(self.search.space):
                found[int(trial.user_attrs[PLACE])] = dict(trial.params)
        return found


def _distribution(part: Range | Choice) -> BaseDistribution:
    if isinstance(part, Choice):
        return CategoricalDistribution(part.labels)
    if part.whole:
        return IntDistribution(int(part.low), int(part.high), log=part.log)
    return FloatDistribution(part.low, part.high, log=part.log)


def require(best: Trial | None, trials: Sequence[Trial]) -> Trial:
    """The best trial.

    Raises:
      StepError: none went through.
    """
    if best is None:
        raise StepError(
            f"Tuner: none of the {len(trials)} trials came to a value: all diverged or were pruned.",
            "Narrow the space, the learning rate first.",
        )
    return best
