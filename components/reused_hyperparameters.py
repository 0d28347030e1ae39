"""The parameters that a Tuner found in an earlier run, in place of a search."""

from collections.abc import Iterable
from typing import Any

from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import Channel

from beam_jobs import storage
from beam_jobs.errors import listed, nearest
from components.errors import StepError
from components.hyperparameters import HYPERPARAMETERS

LATEST = "latest"
_WRITTEN = ("OUTPUT", "DECLARED_OUTPUT", "INTERNAL_OUTPUT")
_SEE_RUNS = "`braid runs` lists the runs; without `reuse` the step searches."


def reused_hyperparameters(run: str, step: str, family: str) -> Resolver:
    """The node that takes the place of a Tuner: its output `hyperparameters` is that of the same step of another run.

    Args:
      run: of this pipeline; 'latest' for the newest that holds any.
      step: the Tuner's id, in that run and in this one.
      family: of the trainer that takes them.
    """
    node: Resolver = Resolver(
        strategy_class=HyperParametersOfRun,
        config={"run": run, "step": step, "family": family},
        hyperparameters=Channel(type=standard_artifacts.HyperParameters),
    ).with_id(step)
    return node


class HyperParametersOfRun(ResolverStrategy):
    """Resolves what a step of a run wrote, or took from a run before it."""

    def __init__(self, run: str, step: str, family: str) -> None:
        self.run, self.step, self.family = run, step, family

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Keeps of `hyperparameters` the one.

        Raises:
          StepError: there is no such run, it has no such step, or what that wrote is of another family or is gone.
        """
        known = {artifact.id: artifact for artifact in input_dict["hyperparameters"]}
        found = self._newest(store, known.values()) if self.run == LATEST else self._of_run(store, known)
        family = found.get_string_custom_property("family")
        if family != self.family:
            raise StepError(
                f"Step '{self.step}' of run {self.run} searched for parameters of the family '{family}';"
                f" this trainer is of the family '{self.family}'.",
                _SEE_RUNS,
            )
        if not storage.exists(f"{found.uri}/{HYPERPARAMETERS}"):
            raise self._gone(found.uri)
        return {"hyperparameters": [found]}

    def _newest(self, store: Any, known: Iterable[Artifact]) -> Artifact:
        for artifact in sorted(known, key=lambda one: int(one.id), reverse=True):
            events = store.get_events_by_artifact_ids([artifact.id])
            makers = {event.execution_id for event in events if _kind(event) == "OUTPUT"}
            in_reach = storage.exists(f"{artifact.uri}/{HYPERPARAMETERS}")
            if in_reach and any(_step_of(store, execution) == self.step for execution in makers):
                return artifact
        raise StepError(
            f"No run of this pipeline holds hyperparameters of a step '{self.step}' that could be reused.",
            "Run it once without `reuse`.",
        )

    def _of_run(self, store: Any, known: dict[int, Artifact]) -> Artifact:
        context = store.get_context_by_type_and_name("pipeline_run", self.run)
        if context is None:
            runs = [one.name for one in store.get_contexts_by_type("pipeline_run")]
            raise StepError(f"There is no run '{self.run}' to reuse.{nearest(self.run, runs)}", _SEE_RUNS)
        steps: dict[str, list[int]] = {}
        for execution in store.get_executions_by_context(context.id):
            steps.setdefault(_step_of(store, execution.id), []).append(execution.id)
        if self.step not in steps:
            raise StepError(
                f"Run {self.run} has no step '{self.step}' whose parameters could be reused."
                f"{nearest(self.step, steps)}",
                f"Its steps: {listed(sorted(steps), 30)}.",
            )
        events = store.get_events_by_execution_ids(steps[self.step])
        written = [event.artifact_id for event in events if _kind(event) in _WRITTEN]
        if not written:
            raise StepError(
                f"Step '{self.step}' of run {self.run} did not end well, so it found no parameters.",
                f"`braid show {self.run}` tells why; {_SEE_RUNS}",
            )
        if written[-1] not in known:
            raise self._gone("")
        return known[written[-1]]

    def _gone(self, uri: str) -> StepError:
        place = f" ('{uri}')" if uri else ""
        return StepError(
            f"The hyperparameters that step '{self.step}' of run {self.run} found are gone{place}.",
            "`braid lineage pin RUN` keeps a run from gc. Name another run, or search again without `reuse`.",
        )


def _kind(event: Any) -> str:
    name: str = type(event).Type.Name(event.type)
    return name


def _step_of(store: Any, execution: int) -> str:
    """TFX names a node's context `<pipeline>.<node>`."""
    contexts = store.get_contexts_by_execution(execution)
    return next((str(one.name).rpartition(".")[2] for one in contexts if one.type == "node"), "")
