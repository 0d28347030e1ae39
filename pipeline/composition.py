"""What the runner runs: a TFX pipeline to be composed, and what is recorded of the run and its steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tfx.orchestration.pipeline import Pipeline

from pipeline import graph, run_facts
from pipeline.planning import Plan
from pipeline.run_facts import Facts
from pipeline.store_address import StoreAddress


@dataclass(frozen=True)
class Composition:
    """One pipeline.

    Attributes:
      name: the pipeline's, which its runs are named after.
      compose: builds it, from the folder of all outputs, the metadata store and Beam's options.
      facts: become properties of the run's record.
      spellings: of each step that reads a source, its path as the user spells it.
      schema_file: where the user keeps the schema that a first run infers; '' for a pipeline that infers none.
    """

    name: str
    compose: Callable[[str, StoreAddress, Sequence[str]], Pipeline]
    facts: Facts
    spellings: Mapping[str, str] = field(default_factory=dict)
    schema_file: str = ""


def of_plan(plan: Plan, command: str = "") -> Composition:
    """The pipeline of a checked configuration; `command` is what asks for it again."""
    config = plan.loaded.config
    return Composition(
        name=config.name,
        compose=lambda root, store, beam_args: graph.compose(plan, root, store, beam_args),
        facts={**run_facts.of_configuration(plan.loaded), "command": run_facts.without_credentials(command)},
        spellings={name: run_facts.without_credentials(source.path) for name, source in config.sources.items()},
        schema_file=plan.schema_file,
    )
