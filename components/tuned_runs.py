"""Finds the parameters that a Tuner found in an earlier run, in a store of ML Metadata. Loads no TFX."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import listed, nearest
from components.errors import StepError
from components.hyperparameters import HYPERPARAMETERS

LATEST = "latest"
ARTIFACT_TYPE = "HyperParameters"
_LIVE = "LIVE"
_WRITTEN = ("OUTPUT", "DECLARED_OUTPUT", "INTERNAL_OUTPUT")
_SEE_RUNS = "`braid runs` lists the runs; without `reuse` the step searches."


@dataclass(frozen=True)
class Reuse:
    """Whose parameters are asked for.

    Attributes:
      run: by its name, or 'latest' for the newest that holds any.
      step: the Tuner's id in that run.
      family: of the trainer that takes them.
    """

    run: str
    step: str
    family: str

    def find_in_pipeline(self, store: Any, pipeline: str) -> Any:
        """The artifact, as the store knows it, among those of a pipeline by its name in the store; see `find`."""
        context = store.get_context_by_type_and_name("pipeline", pipeline)
        artifacts = store.get_artifacts_by_context(context.id) if context is not None else []
        kinds = {kind.id for kind in store.get_artifact_types() if kind.name == ARTIFACT_TYPE}
        return self.find(
            store, [one for one in artifacts if one.type_id in kinds and _name("State", one.state, one) == _LIVE]
        )

    def find(self, store: Any, artifacts: Iterable[Any]) -> Any:
        """The one of these artifacts that is asked for.

        Args:
          store: TFX's or ML Metadata's.
          artifacts: as the store knows them.

        Raises:
          StepError: there is no such run, it has no such step, or what that wrote is of another family or is gone.
        """
        known = {artifact.id: artifact for artifact in artifacts}
        found = self._newest(store, known) if self.run == LATEST else self._of_run(store, known)
        family = found.custom_properties["family"].string_value
        if family != self.family:
            raise StepError(
                f"Step '{self.step}' of run {self.run} searched for parameters of the family '{family}';"
                f" this trainer is of the family '{self.family}'.",
                _SEE_RUNS,
            )
        if not _is_there(found):
            raise self._gone(f" ('{found.uri}')")
        return found

    def _newest(self, store: Any, known: Mapping[int, Any]) -> Any:
        for number in sorted(known, reverse=True):
            events = store.get_events_by_artifact_ids([number])
            makers = {event.execution_id for event in events if _name("Type", event.type, event) == "OUTPUT"}
            if _is_there(known[number]) and any(_step_of(store, maker) == self.step for maker in makers):
                return known[number]
        raise StepError(
            f"No run of this pipeline holds hyperparameters of a step '{self.step}' that could be reused.",
            "Run it once without `reuse`.",
        )

    def _of_run(self, store: Any, known: Mapping[int, Any]) -> Any:
        written = self._written(store)
        if not written:
            raise StepError(
                f"Step '{self.step}' of run {self.run} did not end well, so it found no parameters.",
                f"`braid show {self.run}` tells why; {_SEE_RUNS}",
            )
        if written[-1] not in known:
            raise self._gone("")
        return known[written[-1]]

    def _written(self, store: Any) -> list[int]:
        """The ids of what the step wrote in the run, or took from a run before it."""
        context = store.get_context_by_type_and_name("pipeline_run", self.run)
        if context is None:
            runs = [one.name for one in store.get_contexts_by_type("pipeline_run")]
            raise StepError(f"There is no run '{self.run}' to reuse.{nearest(self.run, runs)}", _SEE_RUNS)
        steps: dict[str, list[int]] = {}
        for execution in store.get_executions_by_context(context.id):
            steps.setdefault(_step_of(store, execution.id), []).append(execution.id)
        if self.step not in steps:
            raise StepError(
                f"Run {self.run} has no step '{self.step}' whose parameters could be reused.{nearest(self.step, steps)}",
                f"Its steps: {listed(sorted(steps), 30)}.",
            )
        events = store.get_events_by_execution_ids(sorted(steps[self.step]))
        return [event.artifact_id for event in events if _name("Type", event.type, event) in _WRITTEN]

    def _gone(self, place: str) -> StepError:
        return StepError(
            f"The hyperparameters that step '{self.step}' of run {self.run} found are gone{place}.",
            "`braid lineage pin RUN` keeps a run from gc. Name another run, or search again without `reuse`.",
        )


def _is_there(artifact: Any) -> bool:
    return storage.exists(f"{artifact.uri}/{HYPERPARAMETERS}")


def _name(kind: str, value: int, message: Any) -> str:
    """The word for a value of an enumeration of a message's."""
    word: str = getattr(type(message), kind).Name(value)
    return word


def _step_of(store: Any, execution: int) -> str:
    """TFX names a node's context `<pipeline>.<node>`."""
    contexts = store.get_contexts_by_execution(execution)
    return next((str(one.name).rpartition(".")[2] for one in contexts if one.type == "node"), "")
