"""The node that takes the place of a Tuner: the parameters that one found in an earlier run."""

from typing import Any

from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import Channel

from components.tuned_runs import Reuse


def reused_hyperparameters(reuse: Reuse) -> Resolver:
    """A node with the Tuner's id, whose output `hyperparameters` is that of the same step of another run.

    TFX tells of what a resolver lacks in the log alone: ask `Reuse.find_in_pipeline` before the run.
    """
    node: Resolver = Resolver(
        strategy_class=HyperParametersOfRun,
        config=vars(reuse),
        hyperparameters=Channel(type=standard_artifacts.HyperParameters),
    ).with_id(reuse.step)
    return node


class HyperParametersOfRun(ResolverStrategy):
    """Resolves what a step of a run wrote, or took from a run before it."""

    def __init__(self, run: str, step: str, family: str) -> None:
        self.reuse = Reuse(run, step, family)

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Keeps of `hyperparameters` the one.

        Raises:
          StepError: see `Reuse.find`.
        """
        known = {artifact.mlmd_artifact.id: artifact for artifact in input_dict["hyperparameters"]}
        found = self.reuse.find(store, [artifact.mlmd_artifact for artifact in known.values()])
        return {"hyperparameters": [known[found.id]]}
