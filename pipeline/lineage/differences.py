"""`diff`: what changed from one run to another, causes before their effects."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.lineage import data_changes, model_changes, origin_changes, run_contents, statistics_changes
from pipeline.lineage.archive import Archive
from pipeline.lineage.changes import KINDS, Change, Comparison
from pipeline.lineage.run_contents import RunContents
from pipeline.lineage.statistics_changes import DEFAULT_BOUND, STATISTICS
from pipeline.lineage.tables import SOURCE_TABLE

_SPOKEN_OF = (
    SOURCE_TABLE,
    data_changes.SCHEMA,
    STATISTICS,
    model_changes.IMPORTANCES,
    model_changes.MODEL,
    model_changes.EVALUATION,
    model_changes.BLESSING,
    model_changes.PUSHED,
)


@dataclass(frozen=True)
class Difference:
    """How the second run differs from the first.

    Attributes:
      before: the first run's name.
      after: the second run's name.
      pipelines: theirs, in this order.
      changes: causes before their effects.
      compared: how many things of each kind were looked at.
      unknown: in sentences, what could not be compared, and why.
    """

    before: str
    after: str
    pipelines: tuple[str, str]
    changes: tuple[Change, ...]
    compared: Mapping[str, int]
    unknown: tuple[str, ...]

    @property
    def first_cause(self) -> Change | None:
        """The change that may have caused all others."""
        return self.changes[0] if self.changes else None

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return dataclasses.asdict(self)


def diff(archive: Archive, before: str, after: str, bound: float = DEFAULT_BOUND) -> Difference:
    """Compares two runs by what the store and their artifacts say.

    Args:
      archive: the store.
      before: a run's name; `latest` is the newest.
      after: another.
      bound: the drift, from 0 to 1, beyond which a column's distribution counts as changed.

    Raises:
      LineageError: there is no run of a name.
    """
    old, new = run_contents.contents(archive, before), run_contents.contents(archive, after)
    found = _compared(old, new, bound)
    told = [change for comparison in found.values() for change in comparison.changes]
    unknown = [sentence for comparison in found.values() for sentence in comparison.unknown]
    if old.pipeline != new.pipeline:
        unknown.insert(
            0, f"The runs are of two pipelines, {old.pipeline} and {new.pipeline}: steps of one name were compared."
        )
    return Difference(
        before=old.name,
        after=new.name,
        pipelines=(old.pipeline, new.pipeline),
        changes=tuple(sorted(told, key=lambda change: KINDS.index(change.kind))),
        compared={kind: comparison.compared for kind, comparison in found.items()},
        unknown=tuple(dict.fromkeys(unknown)),
    )


def _compared(old: RunContents, new: RunContents, bound: float) -> dict[str, Comparison]:
    configuration = origin_changes.configuration(old, new)
    return {
        "source file": origin_changes.source_files(old, new),
        "configuration": configuration,
        "code": origin_changes.code(old, new),
        "step": origin_changes.steps(old, new),
        "parameter": origin_changes.step_parameters(old, new, configuration.changes),
        "schema": data_changes.schemas(old, new),
        "column": data_changes.columns(old, new),
        "rows": data_changes.rows(old, new),
        "content": data_changes.content(old, new),
        "statistics": statistics_changes.statistics(old, new, bound),
        "feature": model_changes.features(old, new),
        "model": model_changes.model(old, new),
        "metric": model_changes.metrics(old, new),
        "artifact": model_changes.others(old, new, _SPOKEN_OF),
        "blessing": model_changes.blessing(old, new),
        "push": model_changes.push(old, new),
        "outcome": _outcomes(old, new),
    }


def _outcomes(before: RunContents, after: RunContents) -> Comparison:
    """Steps that ended well in one run and not in the other, or were not reached."""
    found = []
    for step in dict.fromkeys([*before.steps, *after.steps]):
        ends = [_end(run, step) for run in (before, after)]
        early = (before.ended_early and step not in before.steps) or (after.ended_early and step not in after.steps)
        if ends[0] != ends[1] and (early or None not in ends):
            error = after.steps[step].properties.get("error", "") if step in after.steps else ""
            found.append(Change("outcome", step, ends[0], ends[1], note=str(error)))
    return Comparison(tuple(found), len(before.steps.keys() | after.steps.keys()))


def _end(run: RunContents, step: str) -> str | None:
    state = run.steps[step].state if step in run.steps else None
    return "COMPLETE" if state == "CACHED" else state
