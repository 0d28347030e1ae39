"""The data strand as a plan that stands alone: its steps as parameters of their jobs, and in which order they can run.

A prepare step's job is planned from the tables that it reads, so that they must be there before it is launched; steps
that do not wait for each other share a launch.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs import sources, storage
from pipeline.planning import Plan, PlannedSource, PlannedStep

PARQUET = "parquet"


@dataclass(frozen=True)
class DataStrand:
    """All that its launches need to know.

    Attributes:
      pipeline: its name.
      sources: for each source the fields of its `SourceConfig`, the format settled; its path '' where that is this
        machine's, where no worker finds it.
      prepare: for each prepare step what `PrepareConfig.from_json` takes, and in `reads` the tables that it reads.
      stages: steps in the order of their launches; those of one stage share one. Sources in Parquet are read where
        they lie and have no job.
    """

    pipeline: str
    sources: Mapping[str, Mapping[str, Any]]
    prepare: Mapping[str, Mapping[str, Any]]
    stages: tuple[tuple[str, ...], ...]

    @property
    def steps(self) -> tuple[str, ...]:
        """All that are launched."""
        return tuple(step for stage in self.stages for step in stage)

    @property
    def local_sources(self) -> tuple[str, ...]:
        """Sources that are in no bucket yet."""
        return tuple(name for name, source in self.sources.items() if not source["path"])

    def to_json(self) -> dict[str, Any]:
        """As a launch reads it."""
        return {
            "pipeline": self.pipeline,
            "stages": [list(stage) for stage in self.stages],
            "sources": {name: dict(source) for name, source in self.sources.items()},
            "prepare": {name: dict(step) for name, step in self.prepare.items()},
        }


def of_plan(plan: Plan, alone: Collection[str] = ()) -> DataStrand:
    """The data strand of a checked pipeline.

    Args:
      plan: the pipeline.
      alone: steps that share a launch with no other, for one, as their workers are of another kind.
    """
    found = {name: _source(source) for name, source in plan.sources.items()}
    prepare = {name: _prepare(step) for name, step in plan.steps.items()}
    levels = _levels(found, prepare)
    stages = [stage for level in sorted(set(levels.values())) for stage in _stages(levels, level, alone)]
    return DataStrand(plan.loaded.config.name, found, prepare, tuple(stages))


def _source(source: PlannedSource) -> dict[str, Any]:
    fields = dict(vars(source.config))
    # A source on another path, given at launch, is of the same format.
    fields["format"] = sources.find_files(source.config).format
    fields["path"] = source.config.path if storage.is_remote(source.config.path) else ""
    fields["types"], fields["null_values"] = dict(fields["types"]), list(fields["null_values"])
    fields["columns"] = list(fields["columns"]) if fields["columns"] else None
    return fields


def _prepare(step: PlannedStep) -> dict[str, Any]:
    return {**step.config, "reads": sorted(step.query.tables)}


def _levels(found: Mapping[str, Any], prepare: Mapping[str, Any]) -> dict[str, int]:
    """How many launches come before each step's; a prepare step stands behind those that it reads."""
    levels = {name: 0 for name, source in found.items() if source["format"] != PARQUET}
    for name, step in prepare.items():
        levels[name] = 1 + max((levels.get(table, -1) for table in step["reads"]), default=-1)
    return levels


def _stages(levels: Mapping[str, int], level: int, alone: Collection[str]) -> Iterable[tuple[str, ...]]:
    steps = [name for name, found in levels.items() if found == level]
    together = tuple(name for name in steps if name not in alone)
    if together:
        yield together
    yield from ((name,) for name in steps if name in alone)
